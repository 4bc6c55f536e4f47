"""Tutorials: the code that they show runs; the site is built without a warning."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
NEEDS = {"convert": ["torch", "onnxscript"]}
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


MORE = [ROOT / "docs" / name for name in ("clusters.md", "index.md", "reports.md")]


@pytest.mark.parametrize("page", [*MORE, *PAGES], ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page, tmp_path):
    for package in NEEDS.get(page.stem, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed, which the page is about")
    blocks = BLOCK.findall(page.read_text())
    assert blocks
    script = tmp_path / "page.py"
    script.write_text("\n".join(blocks))
    path = os.pathsep.join(filter(None, sys.path))
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert not done.returncode, done.stderr


def test_every_page_is_on_the_site():
    text = (ROOT / ".site" / "mkdocs.yml").read_text()
    pages = [path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")]
    assert [page for page in pages if f"- {page}\n" not in text] == []


def test_the_site_is_built_without_a_warning(tmp_path):
    for package in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed (extra docs)")
    links = tmp_path / "build" / "types" / "sardonyx"
    links.parent.mkdir(parents=True)
    links.symlink_to(ROOT)
    for name in ("docs", ".site", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--config-file",
         str(tmp_path / ".site" / "mkdocs.yml"), "--site-dir", str(tmp_path / "site")],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert not done.returncode, done.stdout + done.stderr
    reference = (tmp_path / "site" / "reference" / "index.html").read_text()
    for name in ("Session.run", "convert", "quantize", "errors.KernelError", "operator"):
        assert f'id="sardonyx.{name}"' in reference
