"""Onnxruntime's own tests of its Python interface, run under it and under sardonyx.

``python -m sardonyx.tools.interface_check`` prints the share that passes here of what passes there,
and why the others do not. The tests are fetched as Debian's source package, through apt, and kept
in the cache folder; `interface_models` has the models that they open.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ..errors import SardonyxError
from ..kernels.storage import make_folder
from . import interface_models
from .zoo import cache_folder

ARCHIVE = "onnxruntime_1.21.0+dfsg.orig.tar.xz"
SHA256 = "32df1f82bd6b07b18372c0f387133214905cbde7a586b3ad83f0ed0075f80273"
"""Of the archive, as Debian's index of sources states it."""

_TESTS = "onnxruntime/test/python"
FILES = (
    "onnxruntime_test_python.py",
    "onnxruntime_test_python_backend.py",
    "onnxruntime_test_python_backend_mlops.py",
    "onnxruntime_test_python_iobinding.py",
    "onnxruntime_test_python_mlops.py",
    "onnxruntime_test_python_nested_control_flow_op.py",
    "onnxruntime_test_python_sparse_matmul.py",
)
"""Those about sessions on the CPU."""

ELSEWHERE = {
    "test_model_serialization_with_": "writes weights of what is optimized beside its file",
    "test_run_with_adapter": "a LoRA adapter, a file of onnxruntime's own format",
    "test_adater_export_read": "writes a LoRA adapter, a file of onnxruntime's own format",
    "test_sparse": "sparse tensors as values of runs",
    "test_run_sparse": "sparse tensors as outputs, which no operator of the standard computes",
    "test_run_contrib_sparse": "a contrib operator on sparse tensors",
    "test_run_model_symbolic_input": "a dimension called None counts as one without a name",
    "test_loading_session_options_from_model": "options inside of a model",
}
"""Why tests fail that are about what sardonyx has not, by the beginning of their names."""

# The tests are older than onnx is here: they import a module that it has no more.
_CONFTEST = """
import sys, types
import onnx
kinds = onnx.TensorProto.DataType.values()
dtype = onnx.helper.tensor_dtype_to_np_dtype
table = {k: types.SimpleNamespace(np_dtype=dtype(k)) for k in kinds if k}
sys.modules.setdefault("onnx.mapping", types.ModuleType("onnx.mapping")).TENSOR_TYPE_MAP = table
"""
_SECONDS = 300


class Unavailable(SardonyxError):
    """The tests cannot be had or run here; the message says why."""


@dataclass(frozen=True)
class Check:
    """What became of onnxruntime's tests.

    Attributes
    ----------
    expected : frozenset of str
        Tests that pass under onnxruntime.
    failures : dict of str to str
        Those of them that fail under sardonyx, and how.
    """

    expected: frozenset[str]
    failures: Mapping[str, str]

    @property
    def share(self) -> float:
        """Part of the tests that pass here, of those that pass there."""
        return 1 - len(self.failures) / max(1, len(self.expected))

    def __str__(self) -> str:
        passed = len(self.expected) - len(self.failures)
        lines = [
            f"{passed} of {len(self.expected)} tests that pass under onnxruntime pass under "
            f"sardonyx ({self.share:.1%})"
        ]
        lines += [f"- {name}: {reason(name) or why}" for name, why in self.failures.items()]
        return "\n".join(lines)


def reason(test: str) -> str:
    """Return why a test that fails is about what sardonyx has not; empty where it is not."""
    name = test.rpartition("::")[2]
    return next((why for start, why in ELSEWHERE.items() if name.startswith(start)), "")


def check(archive: Path | None = None) -> Check:
    """Run the tests under both.

    Raises
    ------
    Unavailable
        They cannot be fetched, or onnxruntime or pytest is not installed.
    """
    folder = unpacked(archive)
    expected = {name for name, why in _run(folder, []).items() if not why}
    own = _run(folder, ["-m", "sardonyx.compat"])
    failures = {name: own.get(name, "not collected") for name in sorted(expected)}
    return Check(frozenset(expected), {name: why for name, why in failures.items() if why})


def unpacked(archive: Path | None = None) -> Path:
    """Return a folder with the tests and their models, which is made on the first call."""
    folder = cache_folder() / "interface_tests" / SHA256[:16]
    if not folder.is_dir():
        make_folder(str(folder.parent))
        with tempfile.TemporaryDirectory(dir=folder.parent) as work:
            _unpack(archive or _fetched(Path(work)), Path(work) / "tests")
            os.replace(Path(work) / "tests", folder)
    interface_models.write(folder / "onnxruntime/test/testdata")
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    if digest != SHA256:
        raise Unavailable(f"{archive} has the digest {digest}, not {SHA256}")
    wanted = tuple(f"{_TESTS}/{name}" for name in (*FILES, "helper.py"))
    with tarfile.open(archive) as tar:
        for member in tar:
            inner = member.name.partition("/")[2]
            if inner in wanted or inner.endswith("two_params_lora_model.onnx_adapter"):
                member.name = inner
                tar.extract(member, folder, filter="data")


def _fetched(folder: Path) -> Path:
    """Fetch the archive from where apt has its packages."""
    helper = "/usr/lib/apt/apt-helper"
    targets = ["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"]
    if not os.path.exists(helper) or shutil.which("apt-get") is None:
        raise Unavailable("the tests are a source package of Debian, and there is no apt here")
    listed = subprocess.run(targets, capture_output=True, text=True, check=False).stdout
    path = folder / ARCHIVE
    why = "apt knows no site"
    for site in sorted(set(listed.split())):
        url = f"{site}/pool/main/o/onnxruntime/{ARCHIVE}"
        command = [helper, "download-file", url, str(path), f"SHA256:{SHA256}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if not done.returncode:
            return path
        why = (done.stderr.strip().splitlines() or ["failed"])[-1]
    raise Unavailable(f"apt cannot fetch {ARCHIVE}: {why}")


def _run(folder: Path, before: Sequence[str]) -> dict[str, str]:
    """Return what became of each test: an empty text for one that passed, else why it did not."""
    with tempfile.TemporaryDirectory() as work:
        report = Path(work) / "report.xml"
        # What tests write comes beside the models: each run has a copy.
        tests = Path(work) / "test"
        shutil.copytree(folder / "onnxruntime/test", tests)
        (tests / "python" / "conftest.py").write_text(_CONFTEST)
        command = [sys.executable, *before, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        command += ["-c", os.devnull, "--rootdir", work, f"--junitxml={report}"]
        command += ["--continue-on-collection-errors"]
        command += [f"python/{name}" for name in FILES]
        environment = {**os.environ, "SARDONYX_COMPAT": "strict"}
        environment.pop("PYTEST_ADDOPTS", None)
        try:
            done = subprocess.run(
                command, cwd=tests, env=environment, capture_output=True, text=True,
                timeout=_SECONDS, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"the tests took more than {_SECONDS} s") from error
        if not report.exists():
            raise Unavailable(f"pytest failed: {(done.stdout + done.stderr)[-500:]}")
        return dict(_outcomes(report))


def _outcomes(report: Path) -> Iterator[tuple[str, str]]:
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname')}::{case.get('name')}"
        bad = [each for each in case if each.tag in ("failure", "error", "skipped")]
        yield name, " ".join((bad[0].get("message") or bad[0].tag).split())[:200] if bad else ""


def main() -> None:
    """Print what became of the tests."""
    parser = argparse.ArgumentParser(
        prog="python -m sardonyx.tools.interface_check", description=__doc__
    )
    parser.add_argument("--archive", type=Path, help=f"{ARCHIVE}, where it is at hand")
    try:
        print(check(parser.parse_args().archive))
    except Unavailable as why:
        sys.exit(str(why))


if __name__ == "__main__":
    main()
