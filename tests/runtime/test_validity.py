"""Invalid nodes are refused by name before anything is lowered.

The models do not go through the importer, whose inference finds some of this earlier; where it
does not know a shape it cannot.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
import sardonyx
from onnx import numpy_helper, parser
from sardonyx.runtime.lowering import lower

HEAD = '<ir_version: 10, opset_import: ["": 24]> g '


def floats(*shape):
    return np.zeros(shape, np.float32)


W = floats(4, 4, 3, 3)
# node, shape of x, constants, message
BAD = [
    ("Conv <strides = [0, 1]> (x, w)", "1,4,6,6", {"w": W},
     r"'strides' is \[0, 1\], expected numbers from 1 on"),
    ("Conv <strides = [1]> (x, w)", "1,4,6,6", {"w": W}, r"'strides' is \[1\], expected 2 numbers"),
    ("Conv <dilations = [1, -1]> (x, w)", "1,4,6,6", {"w": W}, "'dilations'.*from 1 on"),
    ("Conv <pads = [0, 0, -1, 0]> (x, w)", "1,4,6,6", {"w": W}, "'pads'.*from 0 on"),
    ("Conv <pads = [0, 0]> (x, w)", "1,4,6,6", {"w": W}, "'pads'.*4 numbers"),
    ("Conv <group = 0> (x, w)", "1,4,6,6", {"w": W}, "'group' is 0"),
    ("Conv <group = 3> (x, w)", "1,12,6,6", {"w": W}, "'group' is 3, expected a divisor"),
    ("Conv <kernel_shape = [5, 3]> (x, w)", "1,4,6,6", {"w": W}, "'kernel_shape'.*sizes of 'w'"),
    ("Conv <auto_pad = \"SOME\"> (x, w)", "1,4,6,6", {"w": W}, "'auto_pad' is 'SOME'"),
    ("Conv(x, w)", "1,3,6,6", {"w": W}, r"shape of 'x' is \[1, 3, 6, 6\], expected 4 channels"),
    ("Conv(x, w)", "1,4,6", {"w": W}, "rank of the weights 'w' is 4, expected 3"),
    ("Conv(x, w, b)", "1,4,6,6", {"w": W, "b": floats(3)}, r"bias 'b' is \[3\], expected \[4\]"),
    ("Conv(x, w)", "1,4,6,6", {"w": floats(4, 4, 0, 3)}, "weights 'w'.*sizes from 1 on"),
    ("Conv(x, w)", "1,4,2,1", {"w": floats(4, 4, 3, 9)}, "shape of its result 'y'"),
    ("ConvTranspose(x, w)", "1,5,6,6", {"w": W}, "expected 4 channels"),
    ("ConvTranspose <output_padding = [-1, 0]> (x, w)", "1,4,6,6", {"w": W}, "'output_padding'"),
    ("MaxPool <kernel_shape = [0, 2]> (x)", "1,4,6,6", {}, "'kernel_shape'.*from 1 on"),
    ("AveragePool <kernel_shape = [2, 2], strides = [9223372036854775807, 1]> (x)", "1,4,6,6", {},
     "'strides' is .9223372036854775807"),
    ("MaxPool <kernel_shape = [2]> (x)", "4,6", {}, "rank of 'x' is 2, expected at least 3"),
    ("LRN <size = 0> (x)", "1,4,6,6", {}, "'size' is 0"),
    ("Transpose <perm = [0, 0]> (x)", "2,3", {}, r"'perm' is \[0, 0\], expected each axis of 'x'"),
    ("Softmax <axis = 2> (x)", "2,3", {}, "'axis' is 2, expected a number from -2 to 1"),
    ("ArgMax <axis = -3> (x)", "2,3", {}, "'axis' is -3"),
    ("Softmax <axis = 1> (x)", "", {}, "'axis' is 1, expected a number from -1 to 0"),
    ("Split <num_outputs = 1> (x)", "", {}, "rank of 'x' is 0, expected at least 1"),
    ("Flatten <axis = 3> (x)", "2,3", {}, "'axis' is 3, expected a number from -2 to 2"),
    ("Concat <axis = 4> (x, x)", "2,3", {}, "'axis' is 4"),
    ("Concat <axis = 0> (x, c)", "2,3", {"c": floats(2)}, "rank of 'c' is 1, expected 2"),
    ("Gather <axis = 0> (x, i)", "", {"i": np.array([0])}, "rank of 'x' is 0"),
    ("GatherND <batch_dims = -1> (x, i)", "2,3", {"i": np.array([[0]])}, "'batch_dims' is -1"),
    ("ReduceSum(x, i)", "2,3", {"i": np.array([2])}, "one of the axes is 2, expected a number"),
    ("ReduceSum(x, i)", "2,3", {"i": np.array([1, -1])}, "expected each axis once"),
    ("ReduceSum <keepdims = 2> (x)", "2,3", {}, "'keepdims' is 2, expected 0 or 1"),
    ("CumSum(x, i)", "2,3", {"i": np.array(5)}, "the axis is 5"),
    ("Squeeze(x, i)", "2,3", {"i": np.array([0])}, "size of axis 0 of 'x' is 2, expected 1"),
    ("Unsqueeze(x, i)", "2,3", {"i": np.array([0, 0])}, "expected each axis once"),
    ("Slice(x, i, j)", "2,3", {"i": np.array([0, 0]), "j": np.array([1])}, "the same for all"),
    ("Slice(x, i, j, i, i)", "2,3", {"i": np.array([0]), "j": np.array([1])}, "steps.*no 0"),
    ("Tile(x, i)", "2,3", {"i": np.array([1])}, "size of 'i' is 1, expected 2"),
    ("Tile(x, i)", "2,3", {"i": np.array([1, -1])}, "content of 'i'.*from 0 on"),
    ("Pad(x, i)", "2,3", {"i": np.array([1, 1])}, "size of 'i' is 2, expected 4"),
    ("Pad(x, i)", "2,3", {"i": np.array([-9, 0, 0, 0])}, "shape of its result"),
    ("Pad <mode = \"mirror\"> (x, i)", "2", {"i": np.array([1, 1])}, "'mode' is 'mirror'"),
    ("Reshape(x, i)", "2,3", {"i": np.array([4, 2])}, "has 6 elements, the new shape .* has 8"),
    ("Reshape(x, i)", "2,3", {"i": np.array([-1, -1])}, "node .*Reshape"),
    ("Reshape(x, i)", "2,3", {"i": np.array([2, 3, 0])}, "no 0 behind the 2 axes of 'x'"),
    ("Expand(x, i)", "2,3", {"i": np.array([5, 3])}, "do not broadcast"),
    ("ConstantOfShape(i)", "2", {"i": np.array([-1])}, "content of 'i'"),
    ("ConstantOfShape(i)", "2", {"i": np.array([2**40, 2**40])}, "shape of its result"),
    ("OneHot <axis = 4> (x, d, v)", "2,3", {"d": np.array(3), "v": floats(2)}, "'axis' is 4"),
    ("DepthToSpace <blocksize = 0> (x)", "1,4,6,6", {}, "'blocksize' is 0"),
    ("DepthToSpace <blocksize = 3> (x)", "1,4,6,6", {}, "expected multiples of 9"),
    ("SpaceToDepth <blocksize = 2> (x)", "4,6", {}, "rank of 'x' is 2, expected 4"),
    ("TopK(x, i)", "2,3", {"i": np.array([1, 2])}, r"shape of 'i' is \[2\], expected one number"),
    ("TopK(x, i)", "2,3", {"i": np.array([4])}, "4 elements wanted"),
    ("Resize(x, , s)", "1,1,4,4", {"s": np.float32([1, 1, 0, np.nan])}, "finite positive"),
    ("Resize(x, , s)", "1,1,4,4", {"s": np.float32([1, 1])}, "size of the scales 's' is 2"),
    ("Resize(x, , , i)", "1,1,4,4", {"i": np.array([1, 1, -2, 4])}, "content of 'i'"),
    ("GroupNormalization <num_groups = 3> (x, s, s)", "1,4,6,6", {"s": floats(4)}, "'num_groups'"),
    ("LpNormalization <p = 7> (x)", "2,3", {}, "'p' is 7"),
    ("Gemm(x, a, c)", "2,3", {"a": floats(3, 2), "c": floats(1, 2, 2)}, "rank of 'c' is 3"),
    ("Gemm(x, a)", "2,3", {"a": floats(4, 2)}, "do not fit: 3 and 4"),
    ("MatMul(x, a)", "2,3", {"a": floats(4, 2)}, "do not fit: 3 and 4"),
    ("Add(x, a)", "2,3", {"a": floats(2)}, "do not broadcast"),
    ("Add(x, a)", "2,3", {"a": np.zeros(3)}, "'a' is 'float64', expected float32, that of 'x'"),
    ("Cast <to = 99> (x)", "2", {}, "element type asked for is 99"),
    ("BitShift <direction = \"UP\"> (x, x)", "2", {}, "'direction' is 'UP'"),
    ("Hardmax <axis = 2> (x)", "2,3", {}, "'axis' is 2, expected a number from -2 to 1"),
    ("RNN <direction = \"back\", hidden_size = 1> (x, w, w)", "2,3,4", {"w": floats(1, 1, 4)},
     "'direction' is 'back', expected one of .*'forward'"),
    ("LpPool <kernel_shape = [0, 2]> (x)", "1,4,6,6", {}, "'kernel_shape'.*from 1 on"),
    ("Resize <mode = \"round\"> (x, , s)", "1,1,4,4", {"s": floats(4)}, "'mode' is 'round'"),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=lambda case: case[0])
def test_invalid_nodes_are_refused_by_name(case):
    text, shape, constants, message = case
    kind = f"float[{shape}]" if shape else "float"
    model = parser.parse_model(f"{HEAD}({kind} x) => (y) {{ [it] y = {text} }}")
    for name, array in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    with pytest.raises(sardonyx.InvalidModel, match=message) as error:
        lower(ir.from_proto(model))
    assert "'it'" in str(error.value) and text.split("(")[0].split(" ")[0] in str(error.value)


def test_split_names_what_its_parts_add_up_to():
    text = "(float[2,5] x) => (y, z) <int64[2] s = {2, 2}> { [it] y, z = Split <axis = 1> (x, s) }"
    with pytest.raises(
        sardonyx.InvalidModel, match=r"node 'it' .*sum of the sizes is 4, expected 5"
    ):
        lower(ir.from_proto(parser.parse_model(HEAD + text)))
    text = (
        "(float[2,5] x) => (y, z) <int64[3] s = {2, 2, 1}> { [it] y, z = Split <axis = 1> (x, s) }"
    )
    with pytest.raises(sardonyx.InvalidModel, match=r"list of sizes.*expected 2 numbers"):
        lower(ir.from_proto(parser.parse_model(HEAD + text)))


@pytest.mark.parametrize("optimize", ["none", "basic", "all"])
@pytest.mark.parametrize(
    "opset, text",
    [
        (1, "Concat <axis = 7> (x)"),
        (24, 'MaxPool <kernel_shape = [1, 1], auto_pad = "SOME"> (x)'),
        (24, 'Pad <mode = "mirror"> (x, none)'),
        (1, "Slice <starts = [0], ends = [4], axes = [7]> (x)"),
    ],
)
def test_what_a_pass_would_take_away_is_refused(opset, text, optimize):
    head = f'<ir_version: 10, opset_import: ["": {opset}]> g '
    graph = f"(float[1,2,3,4] x) => (float[1,2,3,4] y) {{ [it] y = {text} }}"
    model = parser.parse_model(head + graph)
    if "none" in text:
        model.graph.initializer.append(numpy_helper.from_array(np.zeros(8, np.int64), "none"))
    with pytest.raises(sardonyx.InvalidModel, match=rf"node 'it' \({text.split()[0]}\)"):
        sardonyx.Session(model, optimize=optimize)
