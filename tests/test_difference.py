import numpy as np
import pytest
from sardonyx.difference import difference, largest_error


def test_equal_values_agree_with_zero_error():
    found = difference("y", np.arange(6.0), np.arange(6.0))
    assert found.agrees and found.max_abs == 0 and found.where == ()


def test_worst_element_is_named():
    expected = np.array([[1.0, 2.0], [4.0, -8.0]], np.float32)
    actual = expected.copy()
    actual[1, 0] += 0.5
    found = difference("y", actual, expected)
    assert not found.agrees
    assert found.where == (1, 0)
    assert found.max_abs == 0.5
    assert found.max_rel == pytest.approx(0.5 / 8)
    assert "1 of 4 elements" in found.reason and "[1, 0]" in found.reason


def test_tolerance_is_relative_and_absolute():
    expected = np.array([1000.0, 0.0])
    assert difference("y", expected + np.array([0.09, 0.9e-5]), expected).agrees
    assert not difference("y", expected + np.array([0.11, 0]), expected).agrees
    assert not difference("y", expected + np.array([0, 1.1e-5]), expected).agrees


@pytest.mark.parametrize(
    ("actual", "expected", "agrees"),
    [
        (np.nan, np.nan, True),
        (np.inf, np.inf, True),
        (np.inf, -np.inf, False),
        (np.nan, 1.0, False),
        (1.0, np.nan, False),
        (1.0, np.inf, False),
    ],
)
def test_special_values(actual, expected, agrees):
    found = difference("y", np.array([0.0, actual]), np.array([0.0, expected]))
    assert found.agrees is agrees
    assert agrees or found.max_abs == np.inf


def test_tolerance_may_be_a_part_of_the_largest_value():
    expected = np.array([1000.0, 0.0])
    assert difference("y", expected + 0.1, expected, 0, 0, scaled=1e-3).agrees
    assert not difference("y", expected + 0.1, expected, 0, 0, scaled=0.9e-4).agrees
    parts = [expected, expected / 1000]
    assert not difference("y", [part + 0.1 for part in parts], parts, 0, 0, scaled=1e-3).agrees


def test_the_largest_error_is_that_of_floats_relative_to_the_largest_value():
    expected = [np.array([0.0, -4.0], np.float32), np.zeros(3, np.int64), np.zeros((0, 2))]
    actual = [np.array([0.5, -4.0], np.float32), np.ones(3, np.int64), np.zeros((0, 2))]
    assert largest_error(actual, expected) == 0.125
    assert largest_error([], []) is None
    assert largest_error([np.array([np.nan, 1.0])], [np.ones(2)]) == np.inf
    assert largest_error([np.ones(3)], [np.ones(2)]) == np.inf


def test_integers_must_be_equal():
    big = np.array([10**9], np.int64)
    assert not difference("y", big + 1, big).agrees
    assert difference("y", big, big).agrees


def test_shape_and_dtype_must_be_equal():
    assert "shape" in difference("y", np.zeros((2, 1)), np.zeros((1, 2))).reason
    assert "dtype" in difference("y", np.zeros(2), np.zeros(2, np.float32)).reason


def test_strings_and_sequences():
    words = np.array(["a", "b"], object)
    assert difference("y", words, words).agrees
    found = difference("y", np.array(["a", "c"], object), words)
    assert found.where == (1,) and "'c'" in found.reason
    one, two = np.zeros(2), np.ones(2)
    assert difference("y", [one, two], [one, two]).agrees
    assert difference("y", [one, one], [one, two]).name == "y[1]"
    assert not difference("y", [one], [one, two]).agrees


def test_empty_arrays_agree():
    assert difference("y", np.zeros((0, 3)), np.zeros((0, 3))).agrees


def test_bfloat16_is_compared_as_numbers():
    bfloat16 = pytest.importorskip("ml_dtypes").bfloat16
    expected = np.array([1.0, 2.0], bfloat16)
    assert difference("y", expected, expected).agrees
    assert difference("y", np.array([1.0, 3.0], bfloat16), expected).max_abs == 1
