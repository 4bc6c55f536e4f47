"""Distributions: what is built holds the package, and runs from where it is installed."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OUTSIDE = ("tests", "docs", "examples", ".ci", ".site")
"""Folders that are no part of the package."""


def tracked():
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    return [name for name in done.stdout.split("\0") if name]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    if shutil.which("git") is None or not tracked():
        pytest.skip("the sources are no checkout of git, whose files a distribution is made of")
    folder = tmp_path_factory.mktemp("distribution")
    for name in tracked():
        if (ROOT / name).exists():
            (folder / "source" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / "source" / name)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", str(folder)]
    done = subprocess.run([*command, str(folder / "source")], capture_output=True, text=True)
    if done.returncode and "Could not find a version that satisfies the requirement" in done.stderr:
        pytest.skip("no network, from which pip takes setuptools")
    assert not done.returncode, done.stderr
    return next(folder.glob("*.whl"))


def test_a_wheel_holds_every_module_and_all_data(wheel):
    expected = {
        f"sardonyx/{name}"
        for name in tracked()
        if name.partition("/")[0] not in OUTSIDE
        and (name.endswith(".py") or name.startswith(("tools/data/", "tools/html_report/")))
        and (ROOT / name).exists()
    }
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("sardonyx/")}
    assert held == expected


def test_a_wheel_runs_where_it_is_installed(wheel, tmp_path):
    target = tmp_path / "installed"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)
    environment = {**os.environ, "PYTHONPATH": str(target)}
    code = "import sardonyx; print(sardonyx.__file__); from sardonyx.tools.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", str(target / "sardonyx/tools/data/digits.onnx")],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
    )
    assert not done.returncode, done.stderr
    assert done.stdout.startswith(str(target)) and "probabilities" in done.stdout
