"""Elements of sequences read where they come from."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnxruntime
import pytest
import sardonyx

X = np.arange(30, dtype=np.float32).reshape(2, 5, 3)


def operators(text: str) -> set[str]:
    """Optimize a model, compare it with the original; returns the operators left."""
    source = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    optimized = sardonyx.optimize(sardonyx.load(source))
    (want,) = onnxruntime.InferenceSession(source.SerializeToString()).run(None, {"x": X})
    (got,) = sardonyx.Session(optimized, optimize="none").run(None, {"x": X})
    np.testing.assert_array_equal(got, want)
    return {node.op_type for node in optimized.graph}


def split(sizes: str, index: int, axis: int = 1) -> str:
    return f"""g (float[N,5,3] x) => (float[A,B,C] y) {{
        sizes = Constant<{sizes}>() i = Constant<value_int={index}>()
        parts = SplitToSequence<axis={axis}>(x, sizes) y = SequenceAt(parts, i)
    }}"""


@pytest.mark.parametrize("index", [0, 1, 2, -1, -3])
@pytest.mark.parametrize("sizes", ["value_int=2", "value_ints=[1,3,1]"])
def test_parts_are_slices(sizes: str, index: int) -> None:
    assert operators(split(sizes, index)) == {"Slice"}
    assert operators(split(sizes, index, -2)) == {"Slice"}


def test_parts_of_one() -> None:
    text = """g (float[N,5,3] x) => (float[A,B] y) { i = Constant<value_int=-2>()
        parts = SplitToSequence<axis=1, keepdims=0>(x) y = SequenceAt(parts, i) }"""
    assert "SequenceAt" not in operators(text)
    assert "SequenceAt" not in operators(
        text.replace("keepdims=0", "keepdims=1").replace("B] y", "B,C] y")
    )


def test_what_is_not_known_is_split_when_the_model_runs() -> None:
    assert "SequenceAt" in operators(split("value_int=1", 0, 0))


def test_elements_of_a_list() -> None:
    text = """g (float[N,5,3] x) => (float[N,5,3] y) { i = Constant<value_int=-1>()
        a = Exp(x) b = Neg(x) all = SequenceConstruct(a, b) y = SequenceAt(all, i) }"""
    assert operators(text) == {"Neg"}


@pytest.mark.parametrize("new", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_lists_joined(axis: int, new: int) -> None:
    dims = "A,B,C,D" if new else "A,B,C"
    text = f"""g (float[N,5,3] x) => (float[{dims}] y) {{
        a = Abs(x) b = Neg(x) all = SequenceConstruct(a, b, a)
        y = ConcatFromSequence<axis={axis}, new_axis={new}>(all) }}"""
    assert operators(text) <= {"Abs", "Neg", "Unsqueeze", "Concat"}


@pytest.mark.parametrize("index", [3, -4])
def test_what_is_beyond_the_sequence_stays(index: int) -> None:
    text = split("value_int=2", index)
    source = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    assert "SequenceAt" in {node.op_type for node in sardonyx.optimize(sardonyx.load(source)).graph}
