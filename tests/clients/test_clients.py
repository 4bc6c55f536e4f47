"""Clients of onnxruntime give under sardonyx what they give under onnxruntime."""

import pytest

from .client import client, names
from .engine_process import EngineProcess
from .results import differences


@pytest.mark.parametrize("name", names())
def test_a_client_gives_equal_results(name):
    found = client(name)
    if reason := found.missing():
        pytest.skip(reason)
    results = {}
    for engine in ("onnxruntime", "sardonyx"):
        with EngineProcess(name, engine) as process:
            results[engine] = process.result
            assert process.engines and set(process.engines) == {engine}
    assert results["onnxruntime"]
    assert not list(differences(results["sardonyx"], results["onnxruntime"], found.tolerance))
