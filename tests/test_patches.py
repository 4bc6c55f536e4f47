"""Patches of other packages: put back whatever happens, and missed by name when they are gone."""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import sys
import threading
import tomllib
import types
from pathlib import Path

import pytest
import sardonyx
from packaging.requirements import Requirement
from packaging.version import Version
from sardonyx.importers.keras import patches as keras_patches
from sardonyx.importers.sklearn import boosted
from sardonyx.importers.tensorflow import patches as tensorflow_patches
from sardonyx.importers.torch import patches as torch_patches
from sardonyx.kernels.numba_compiler import PATCHES as NUMBA
from sardonyx.logs import silenced
from sardonyx.patches import Patch, applied

ALL = (
    *keras_patches.ALL_BACKENDS,
    *keras_patches.RECURRENT,
    *keras_patches.TORCH,
    *keras_patches.JAX,
    tensorflow_patches.OPTIMIZERS,
    torch_patches.GRAPHS,
    *boosted.PATCHES["xgboost"],
    *boosted.PATCHES["lightgbm"],
    *NUMBA,
)
PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


@pytest.fixture
def library(monkeypatch):
    """A package with a function ``tools.area`` and a class ``Layer`` with a method ``call``."""
    package, tools = types.ModuleType("somelib"), types.ModuleType("somelib.tools")
    tools.area = lambda side: side * side

    class Layer:
        def call(self):
            return "layer"

    class Inheriting(Layer):
        pass

    package.tools, package.Layer, package.Inheriting = tools, Layer, Inheriting
    monkeypatch.setitem(sys.modules, "somelib", package)
    monkeypatch.setitem(sys.modules, "somelib.tools", tools)
    return package


def patch_of(target, replacement=lambda original: lambda *args: ("new", original(*args))):
    return Patch("somelib", target, replacement, "it is slow", tested="1.2")


def test_functions_and_methods_are_replaced_and_put_back(library):
    area, call = library.tools.area, vars(library.Layer)["call"]
    with applied([patch_of("somelib.tools.area"), patch_of("somelib.Layer.call")]):
        assert library.tools.area(3) == ("new", 9)
        assert library.Inheriting().call() == ("new", "layer")
    assert library.tools.area is area and vars(library.Layer)["call"] is call


def test_originals_are_put_back_after_an_exception(library):
    area = library.tools.area
    with pytest.raises(ZeroDivisionError), applied([patch_of("somelib.tools.area")]):
        1 / 0  # noqa: B018
    assert library.tools.area is area


@pytest.mark.parametrize(
    "target", ["somelib.tools.volume", "somelib.gone.area", "somelib.Inheriting.call"]
)
def test_a_missing_target_is_named_with_versions_and_reason(library, target, monkeypatch):
    area = library.tools.area
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "3.4")
    message = rf"somelib 3\.4 has no {target}, .*\(it is slow\); tested with somelib 1\.2"
    with (
        pytest.raises(sardonyx.ImportFailed, match=message),
        applied([patch_of("somelib.tools.area"), patch_of(target)]),
    ):
        pass
    assert library.tools.area is area


def test_the_error_and_the_lock_may_be_other_ones(library):
    gone = Patch(
        "somelib", "somelib.gone", id, "it is slow", "1.2", "a kernel is compiled", KeyError
    )
    with pytest.raises(KeyError, match="replaced while a kernel is compiled"), applied([gone]):
        pass
    lock = threading.Lock()
    with applied([patch_of("somelib.tools.area")], lock):
        assert lock.locked()
    assert not lock.locked()


def test_two_threads_replace_one_after_the_other(library):
    """The second waits until the first has put the original back, and so never wraps its patch."""
    inside, leave, results = threading.Event(), threading.Event(), []

    def first():
        with applied([patch_of("somelib.tools.area")]):
            inside.set()
            leave.wait(10)
            results.append(library.tools.area(2))

    def second():
        inside.wait(10)
        with applied([patch_of("somelib.tools.area")]):
            results.append(library.tools.area(3))

    threads = [threading.Thread(target=each) for each in (first, second)]
    for thread in threads:
        thread.start()
    inside.wait(10)
    threads[1].join(0.1)
    assert not results
    leave.set()
    for thread in threads:
        thread.join(10)
    assert results == [("new", 4), ("new", 9)]
    assert library.tools.area(2) == 4


@pytest.mark.parametrize("patch", ALL, ids=lambda patch: patch.target)
def test_targets_are_in_the_installed_versions(patch):
    pytest.importorskip(patch.package, reason=f"{patch.package} is not installed")
    assert patch.target.rpartition(".")[2] in vars(patch.owner())


@pytest.mark.parametrize("patch", ALL, ids=lambda patch: patch.target)
def test_versions_after_the_tested_one_are_excluded(patch):
    project = tomllib.loads(PYPROJECT.read_text())["project"]
    major, minor = Version(patch.tested).release
    bounds = [
        requirement.specifier
        for packages in (project["dependencies"], *project["optional-dependencies"].values())
        for requirement in map(Requirement, packages)
        if requirement.name == patch.package
    ]
    assert bounds
    for bound in bounds:
        assert bound.contains(patch.tested) and not bound.contains(f"{major}.{minor + 1}")


def test_loggers_are_silenced_and_restored():
    logger = logging.getLogger("somelib.progress")
    logger.setLevel(logging.INFO)
    records = []
    handler = logging.Handler()
    handler.emit = records.append
    with (
        pytest.raises(ZeroDivisionError),
        silenced(logger.name, level=logging.ERROR, handler=handler),
    ):
        logger.warning("slow")
        logger.error("broken")
        1 / 0  # noqa: B018
    assert [record.getMessage() for record in records] == ["broken"]
    assert logger.level == logging.INFO and logger.propagate and not logger.handlers
