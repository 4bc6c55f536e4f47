"""Onnxruntime's own tests of its interface, of which a share passes under sardonyx."""

import pytest
from sardonyx.tools import interface_check

FLOOR = 0.76


def test_most_of_onnxruntimes_tests_pass():
    pytest.importorskip("onnxruntime")
    try:
        check = interface_check.check()
    except interface_check.Unavailable as reason:
        pytest.skip(str(reason))
    print(check)
    assert len(check.expected) >= 70
    assert check.share >= FLOOR, check
