"""Initial states of zeros of recurrent layers, whatever makes them, and those that stay."""

from __future__ import annotations

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest
import sardonyx
from sardonyx.importers import load

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
UNITS = 4
ZEROS = {
    "ConstantOfShape": "zeros = ConstantOfShape(sizes)",
    "Expand": "zeros = Expand(zero, sizes)",
    "a part": "all = ConstantOfShape(twice) zeros = Slice(all, one, two, none)",
    "turned": "all = ConstantOfShape(turned) zeros = Transpose<perm=[1,0,2]>(all)",
    "joined": """a = Expand(zero, sizes) b = Squeeze(a, none) c = Unsqueeze(b, none)
        d = Identity(c) e = Concat<axis=0>(c, d) zeros, rest = Split<num_outputs=2>(e)""",
}


def model(cell: str, states: str, value: float = 0.0) -> ir.Model:
    """Make a layer with states for an open batch size."""
    rng, rows = np.random.default_rng(11), GATES[cell] * UNITS
    given = "zeros, zeros" if cell == "LSTM" else "zeros"
    text = f"""<ir_version: 10, opset_import: ["" : 21]>
    g (float[t,n,3] x) => (float[t,1,n,{UNITS}] y) {{
        shape = Shape(x) batch = Gather(shape, one) units = Constant<value_ints=[{UNITS}]>()
        sizes = Concat<axis=0>(one, batch, units) twice = Concat<axis=0>(two, batch, units)
        turned = Concat<axis=0>(batch, one, units) {states}
        y = {cell}<hidden_size={UNITS}>(x, W, R, B, , {given})
    }}"""
    proto = onnx.parser.parse_model(text)
    arrays = {
        "W": rng.standard_normal((1, rows, 3)), "R": rng.standard_normal((1, rows, UNITS)),
        "B": rng.standard_normal((1, 2 * rows)), "zero": np.array(value),
        "none": [0], "one": [1], "two": [2],
    }  # fmt: skip
    for name, each in arrays.items():
        array = np.asarray(each, np.int64 if isinstance(each, list) else np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return load(proto)


@pytest.mark.parametrize("cell", GATES)
@pytest.mark.parametrize("made", ZEROS)
def test_states_of_zeros_are_left_out(optimized, cell, made):
    left, _ = optimized(model(cell, ZEROS[made]), t=3, n=2)
    assert left == [cell]


@pytest.mark.parametrize("cell", GATES)
def test_other_states_stay(optimized, cell):
    left, _ = optimized(model(cell, ZEROS["Expand"], value=0.5), t=3, n=2)
    assert "Expand" in left


@pytest.mark.parametrize("sizes", ["twice", "turned"])
def test_zeros_of_other_sizes_stay_and_are_refused(sizes):
    """Also where only a run shows that they do not fit."""
    source = model("GRU", f"zeros = ConstantOfShape({sizes})")
    with pytest.raises(sardonyx.SardonyxError, match="GRU"):
        sardonyx.Session(source, threads=1).run(None, {"x": np.ones((2, 3, 3), np.float32)})
