"""onnx's own conformance tests, run through `sardonyx.backend`.

`known_failures.txt` lists the cases that fail, each with its reason. A listed case that passes,
or another one that fails, fails the test: the list is always true.
"""

import unittest
import warnings
from pathlib import Path

import pytest
import sardonyx

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import onnx.backend.test

    CASES = onnx.backend.test.BackendTest(sardonyx.backend, __name__).test_cases

LIST = Path(__file__).with_name("known_failures.txt")
KNOWN = dict(
    line.split(" | ", 1) for line in LIST.read_text().splitlines() if not line.startswith("#")
)
LOADER = unittest.defaultTestLoader
CPU = {
    test.id().rpartition(".")[2]: test
    for case in CASES.values()
    for test in LOADER.loadTestsFromTestCase(case)
    if test.id().endswith("_cpu")
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CPU)
def test_case(name):
    result = unittest.TestResult()
    CPU[name].run(result)
    if result.skipped:
        pytest.skip(result.skipped[0][1])
    problems = [text for _, text in result.errors + result.failures]
    if KNOWN.get(name, "").startswith("either way"):
        if problems:
            pytest.xfail(KNOWN[name])
    elif name in KNOWN:
        assert problems, f"{name} passes now: take it off {LIST.name}"
    else:
        assert not problems, problems[0]


def test_enough_cases_pass():
    assert len(CPU) >= 2024
    assert len(CPU) - len(KNOWN) >= 1900
    assert set(KNOWN) <= set(CPU)
