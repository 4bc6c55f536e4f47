"""Engines of the interface's tests: the real onnxruntime says what is expected of ours."""

import numpy as np
import pytest


@pytest.fixture(params=["sardonyx", "onnxruntime"])
def ort(request, monkeypatch):
    """The interface, of both: what a test says holds for the real one, too."""
    monkeypatch.setenv("SARDONYX_COMPAT", "strict")
    if request.param == "onnxruntime":
        return pytest.importorskip("onnxruntime")
    import sardonyx.compat.onnxruntime

    return sardonyx.compat.onnxruntime


@pytest.fixture
def state(ort):
    """The module with the exceptions."""
    import importlib

    return importlib.import_module(f"{ort.__name__}.capi.onnxruntime_pybind11_state")


@pytest.fixture
def ours(monkeypatch):
    """The interface here, which may not use the real one."""
    monkeypatch.setenv("SARDONYX_COMPAT", "strict")
    import sardonyx.compat.onnxruntime

    return sardonyx.compat.onnxruntime


@pytest.fixture
def feeds():
    rng = np.random.default_rng(3)
    return {
        "x": rng.standard_normal((2, 3), np.float32),
        "b": rng.standard_normal(3, np.float32),
    }
