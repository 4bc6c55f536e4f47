"""Examination of an installation: processor, packages, cache folder, GPU, and what is amiss."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from .. import __version__
from . import text

if TYPE_CHECKING:
    from rich.console import Console

State = Literal["good", "note", "fault"]

_VARIABLES = {
    "SARDONYX_CACHE": "folder of compiled code and programs, or off",
    "SARDONYX_CACHE_LIMIT": "most bytes of it",
    "SARDONYX_THREADS": "threads of a run",
    "SARDONYX_VECTOR_BITS": "bits of vectors, 256 or 512",
    "SARDONYX_AMX": "off keeps from AMX",
    "SARDONYX_EMULATE": "instructions that are emulated, for tests",
    "SARDONYX_COMPAT": "strict keeps from the real onnxruntime",
    "SARDONYX_TEST_MODELS": "folder of models, for tests",
}
_NEEDED = ("numpy", "numba", "llvmlite", "onnx", "onnx-ir", "typer", "rich")
# Extra, package, and what it is for; a package's module is imported by nobody here.
_OPTIONAL = (
    ("torch", "torch", "models of PyTorch"),
    ("torch", "onnxscript", "models of PyTorch"),
    ("tensorflow", "tensorflow-cpu", "models of TensorFlow"),
    ("tensorflow", "tf2onnx", "models of TensorFlow and Keras"),
    ("keras", "keras", "models of Keras"),
    ("jax", "jax2onnx", "models of Keras on JAX"),
    ("sklearn", "skl2onnx", "estimators of scikit-learn"),
    ("generate", "tokenizers", "text, in `sardonyx generate`"),
    ("images", "pillow", "images for calibration"),
    ("cuda", "numba-cuda", "NVIDIA's GPUs"),
    ("bench", "onnxruntime", "comparisons"),
    ("bench", "openvino", "comparisons"),
)
_LEAST_FREE = 1 << 30
"""Bytes of a disk below which caching ends soon."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    part : str
        ``"processor"``, ``"packages"``, ``"cache"``, ``"gpu"`` or ``"environment"``.
    name, value : str
    state : {"good", "note", "fault"}
    advice : str
        What to do; empty where nothing is to be done.
    """

    part: str
    name: str
    value: str
    state: State = "good"
    advice: str = ""


def examine() -> list[Finding]:
    """Look at everything; what fails itself is a fault with its error."""
    findings: list[Finding] = []
    for part, look in _PARTS.items():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                findings += look()
            except Exception as error:
                findings.append(Finding(part, "error", f"{type(error).__name__}: {error}", "fault"))
        findings += [Finding(part, "warning", str(each.message), "note") for each in caught]
    return findings


def _processor() -> Iterator[Finding]:
    from ..kernels.machine_costs import measured_costs
    from ..kernels.target import cache_sizes, has_feature, target
    from ..runtime.processors import available_processors

    found = target()
    yield Finding("processor", "name", f"{found.cpu}, {platform.machine()}")
    units = [
        name
        for name in (
            "avx2",
            "avx512f",
            "avx512vnni",
            "avxvnni",
            "avx512bf16",
            "amx-bf16",
            "amx-int8",
            "neon",
        )
        if has_feature(name)
    ]
    state: State = "good" if units else "note"
    advice = "" if units else "kernels are written for AVX2, AVX-512 and NEON; others are slow"
    yield Finding("processor", "units", ", ".join(units) or "none known", state, advice)
    yield Finding("processor", "vectors", f"{found.lanes} float32")
    sizes = cache_sizes()
    caches = [
        f"L{level} {text.size(size)}"
        for level, size in enumerate((found.l1, found.l2, found.l3), 1)
    ]
    advice = (
        ""
        if len(sizes) == 3
        else "the system hides caches (a virtual machine?); usual sizes are assumed"
    )
    yield Finding(
        "processor", "caches", ", ".join(caches), "good" if len(sizes) == 3 else "note", advice
    )
    yield Finding(
        "processor", "threads", f"{available_processors()} of {os.cpu_count()} processors"
    )
    if measured_costs() is None:
        advice = "`sardonyx machine` measures in 20 seconds what forms of steps are chosen by"
        yield Finding("processor", "cost model", "of the processor's family", "note", advice)
    else:
        yield Finding("processor", "cost model", "measured on this machine")


def _packages() -> Iterator[Finding]:
    yield Finding("packages", "sardonyx", f"{__version__}, Python {platform.python_version()}")
    required = _requirements()
    for name in _NEEDED:
        yield _package(name, required.get(name, ""))
    for extra, name, purpose in _OPTIONAL:
        version = _version(name)
        if version is None:
            advice = f"for {purpose}: pip install 'sardonyx[{extra}]'"
            yield Finding("packages", name, "not installed", "good", advice)
        else:
            yield Finding("packages", name, version)


def _package(name: str, required: str) -> Finding:
    version = _version(name)
    if version is None:
        return Finding(
            "packages", name, "not installed", "fault", f"pip install '{name}{required}'"
        )
    if required and not _satisfies(version, required):
        return Finding(
            "packages",
            name,
            version,
            "fault",
            f"sardonyx needs {name}{required}: pip install '{name}{required}'",
        )
    return Finding("packages", name, version)


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _requirements() -> dict[str, str]:
    """Return what this installation asks for, by package: ``">=2.0,<3"``."""
    try:
        lines = importlib.metadata.requires("sardonyx") or []
    except importlib.metadata.PackageNotFoundError:
        return {}
    found = {}
    for line in lines:
        text_part, _, marker = line.partition(";")
        if "extra" not in marker:
            name = text_part.strip()
            at = min((i for i, c in enumerate(name) if c in "<>=!~ ["), default=len(name))
            found[name[:at]] = name[at:].strip()
    return found


def _satisfies(version: str, required: str) -> bool:
    if importlib.util.find_spec("packaging") is None:
        return True
    from packaging.specifiers import SpecifierSet

    return SpecifierSet(required).contains(version, prereleases=True)


def _cache() -> Iterator[Finding]:
    from ..kernels.eviction import held_bytes, limit
    from ..kernels.storage import cache_folder

    if os.environ.get("SARDONYX_CACHE") == "off":
        advice = "kernels are compiled anew in each process; unset SARDONYX_CACHE"
        yield Finding("cache", "folder", "off", "note", advice)
        return
    folder = cache_folder()
    if folder is None:
        advice = "kernels are compiled anew in each process; SARDONYX_CACHE names another folder"
        yield Finding("cache", "folder", "none can be used", "fault", advice)
        return
    writable = os.access(folder, os.W_OK)
    advice = "" if writable else "what is there is used, and nothing added"
    yield Finding("cache", "folder", str(folder), "good" if writable else "note", advice)
    for name, size in held_bytes(folder).items():
        yield Finding("cache", name, text.size(size))
    free = shutil.disk_usage(folder).free
    yield Finding("cache", "limit", text.size(limit()))
    few = free < _LEAST_FREE
    advice = "the cache is kept below half of what is free" if few else ""
    yield Finding("cache", "free on the disk", text.size(free), "note" if few else "good", advice)


def _gpu() -> Iterator[Finding]:
    from ..errors import InvalidArgument
    from ..runtime.devices.find import full_name

    try:
        yield Finding("gpu", "device", full_name("cuda"))
    except InvalidArgument as error:
        yield Finding("gpu", "device", "none", "good", str(error))


def _environment() -> Iterator[Finding]:
    for name in sorted(name for name in os.environ if name.startswith("SARDONYX_")):
        if name in _VARIABLES:
            yield Finding("environment", name, f"{os.environ[name]} ({_VARIABLES[name]})")
        else:
            known = ", ".join(_VARIABLES)
            yield Finding(
                "environment", name, os.environ[name], "fault", f"not known; there are {known}"
            )
    if not sys.stdout.encoding.lower().startswith("utf"):
        advice = "PYTHONUTF8=1 shows all signs of tables"
        yield Finding("environment", "encoding", sys.stdout.encoding, "note", advice)


_PARTS: dict[str, Callable[[], Iterator[Finding]]] = {
    "processor": _processor,
    "packages": _packages,
    "cache": _cache,
    "gpu": _gpu,
    "environment": _environment,
}
_SIGNS = {"good": "", "note": "note", "fault": "FAULT"}


def print_findings(findings: list[Finding], console: Console) -> None:
    """Print what was looked at, a table for each part, and what is to be done."""
    from rich.text import Text  # which takes brackets for no markup

    for part in _PARTS:
        rows = [each for each in findings if each.part == part]
        if not rows:
            continue
        table = text.table(part, "", "", "", "")
        for each in rows:
            table.add_row(*map(Text, (each.name, each.value, _SIGNS[each.state], each.advice)))
        text.show(console, table)
    counts = [
        f"{count} {state}{'s' if count > 1 else ''}"
        for state in ("fault", "note")
        if (count := sum(each.state == state for each in findings))
    ]
    console.print(", ".join(counts) or "all is well", highlight=False)
