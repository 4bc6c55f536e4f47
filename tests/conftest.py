from __future__ import annotations

import gc
import os
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sardonyx.tools import zoo

# What commands print must not depend on the terminal, or the lack of one, that tests run in; the
# command line looks at it when it is imported.
os.environ["COLUMNS"] = "160"
for _name in ("LINES", "FORCE_COLOR", "TTY_COMPATIBLE"):
    os.environ.pop(_name, None)

# Forms of steps are chosen by what `sardonyx machine` measured, which tests must not depend on:
# their cache is apart from the user's.
os.environ.setdefault("SARDONYX_CACHE", str(Path(__file__).parents[1] / "build" / "cache"))

# What JAX and TensorFlow compile runs once or twice.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)

if "PYTEST_XDIST_WORKER" in os.environ:
    # Other tests run on the other processors: threads that wait there only take time from them.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


gc.disable()  # until all tests are collected


def pytest_sessionstart() -> None:
    """Let it be said before all tests, to nobody, that costs of this processor are not measured."""
    from sardonyx.kernels.machine_costs import machine_costs

    with warnings.catch_warnings(action="ignore"):
        machine_costs()


def pytest_collection_finish() -> None:
    """Let collections of garbage pass over the tests and all frameworks, which stay."""
    gc.freeze()
    gc.enable()
    # What tests leave, such as numba's types, is walked rarely: it took a twentieth of their time.
    gc.set_threshold(50_000, 10, 10)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def zoo_model() -> Callable[[str], Path]:
    """Give the file of a model of the zoo, or skip where it cannot be fetched."""

    def fetch(name: str) -> Path:
        try:
            return zoo.model(name)
        except zoo.Unavailable as reason:
            pytest.skip(str(reason))

    return fetch


@pytest.fixture
def lowered_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each session lower its model: a test that changes how may not find programs of others."""
    from sardonyx.runtime.sources import Source

    monkeypatch.setattr(Source, "key", lambda _: None)


@pytest.fixture
def by_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep float32 from AMX, so that forms by vectors are taken on all processors."""
    for module in ("term_products", "term_attention"):
        monkeypatch.setattr(f"sardonyx.runtime.ops.{module}.has_amx", lambda: False)


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a cache of its own that begins with compiled kernels, and with what was measured."""
    from sardonyx.kernels.compiler import kernel_folder

    folder = tmp_path / "cache"
    folder.mkdir(mode=0o700)
    shared = kernel_folder()
    if shared is not None:
        with shared:
            own = folder / "kernels" / shared.path.name
            own.parent.mkdir(mode=0o700)
            shutil.copytree(shared.path, own, copy_function=_link)
            root = shared.path.parents[1]
            shutil.copytree(root / "answers", folder / "answers", copy_function=_link)
            shutil.copy2(root / "secret", folder)
    monkeypatch.setenv("SARDONYX_CACHE", str(folder))
    return folder


def _link(source: str, target: str) -> None:
    """Give a file, which is replaced and never changed, a second name, or copy it."""
    try:
        os.link(source, target)
    except OSError:  # on another disk
        shutil.copy2(source, target)
