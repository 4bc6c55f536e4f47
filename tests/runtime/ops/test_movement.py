"""Operators that move elements: types, layouts, empty tensors, sizes that follow the input."""

import contextlib
import itertools

import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from .conftest import build, wanted_results

ONNXRUNTIME_ERRORS = (Fail, InvalidArgument, RuntimeException)

TYPES = [
    *("float32", "float64", "float16", "bool", "int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32", "uint64"),
]


def values(dtype, *shape, seed=0):
    rng = np.random.default_rng([seed, *shape])
    return np.asarray(rng.integers(0, 2 if dtype == "bool" else 100, shape)).astype(dtype)


def ints(*numbers):
    return np.array(numbers, np.int64)


# Operator, shape of x, constants in the order of the inputs, attributes.
CASES = [
    ("Reshape", (2, 3, 4), {"s": ints(4, 6)}, {}),
    ("Reshape", (2, 3, 4), {"s": ints(0, -1)}, {}),
    ("Reshape", (2, 3, 4), {"s": ints(1, 2, 1, 3, 4, 1)}, {}),
    ("Reshape", (), {"s": ints(1, 1)}, {}),
    ("Reshape", (1,), {"s": np.zeros(0, np.int64)}, {}),
    ("Reshape", (0, 3), {"s": ints(3, 0)}, {"allowzero": 1}),
    ("Flatten", (2, 3, 4), {}, {"axis": 0}),
    ("Flatten", (2, 3, 4), {}, {"axis": 2}),
    ("Flatten", (2, 3, 4), {}, {"axis": -1}),
    ("Flatten", (2, 3, 4), {}, {"axis": 3}),
    ("Squeeze", (1, 3, 1, 4), {}, {}),
    ("Squeeze", (1, 3, 1, 4), {"a": ints(-2)}, {}),
    ("Unsqueeze", (3, 4), {"a": ints(0, -1)}, {}),
    ("Unsqueeze", (), {"a": ints(0)}, {}),
    ("Transpose", (2, 3, 4), {}, {}),
    ("Transpose", (2, 3, 4, 5), {}, {"perm": [2, 0, 3, 1]}),
    ("Transpose", (), {}, {}),
    ("Transpose", (40, 50), {}, {}),
    ("Slice", (5, 6), {"b": ints(1), "e": ints(4)}, {}),
    ("Slice", (5, 6), {"b": ints(-3, 1), "e": ints(99, -1), "a": ints(1, 0)}, {}),
    ("Slice", (5, 6), {"b": ints(9), "e": ints(0), "a": ints(-1), "t": ints(-2)}, {}),
    ("Slice", (5, 6), {"b": ints(-1), "e": ints(-99), "a": ints(0), "t": ints(-1)}, {}),
    ("Slice", (5, 6), {"b": ints(-99), "e": ints(2**62), "a": ints(0), "t": ints(3)}, {}),
    ("Slice", (5, 6), {"b": ints(4), "e": ints(1), "a": ints(1)}, {}),
    ("Slice", (5, 6), {"b": ints(5), "e": ints(9), "a": ints(0)}, {}),
    ("Expand", (3, 1), {"s": ints(2, 1, 4)}, {}),
    ("Expand", (3, 1), {"s": ints(1)}, {}),
    ("Expand", (), {"s": ints(2, 3)}, {}),
    ("Expand", (1, 3), {"s": ints(0, 1)}, {}),
    ("Tile", (2, 3), {"r": ints(2, 1)}, {}),
    ("Tile", (2, 3), {"r": ints(3, 4)}, {}),
    ("Tile", (2, 3), {"r": ints(0, 2)}, {}),
    ("Tile", (1, 2, 1, 2, 3), {"r": ints(2, 2, 2, 2, 2)}, {}),
    ("Tile", (2, 2, 2, 2, 3), {"r": ints(2, 2, 2, 2, 2)}, {}),
    ("DepthToSpace", (2, 8, 2, 3), {}, {"blocksize": 2}),
    ("DepthToSpace", (2, 18, 2, 3), {}, {"blocksize": 3, "mode": "CRD"}),
    ("SpaceToDepth", (2, 3, 4, 6), {}, {"blocksize": 2}),
    ("Shape", (2, 3), {}, {}),
    ("Shape", (2, 3, 4), {}, {"start": -2, "end": -1}),
    ("Size", (2, 3), {}, {}),
]


def node_of(op_type, constants, attributes, x="x"):
    return make_node(op_type, [x, *constants], ["y"], **attributes)


def host_of(op_type, shape):
    """What no kernel takes: more separate axes than a copy has."""
    return ["Tile"] if op_type == "Tile" and shape == (2, 2, 2, 2, 3) else []


@pytest.mark.parametrize(("op_type", "shape", "constants", "attributes"), CASES, ids=str)
def test_movements(check, op_type, shape, constants, attributes):
    node = node_of(op_type, constants, attributes)
    host = host_of(op_type, shape)
    check([node], {"x": values("float32", *shape)}, constants, host=host, threads=[1, 4])


@pytest.mark.parametrize("dtype", TYPES)
def test_every_type(check_each, dtype):
    for op_type, shape, constants, attributes in CASES:
        if op_type in ("DepthToSpace", "SpaceToDepth") and dtype != "float32":
            continue
        if host_of(op_type, shape):
            continue
        node = node_of(op_type, constants, attributes)
        check_each([(node, {"x": values(dtype, *shape)})], constants, threads=[1])


@pytest.mark.parametrize(("op_type", "shape", "constants", "attributes"), CASES, ids=str)
def test_inputs_that_are_not_contiguous(check, op_type, shape, constants, attributes):
    if len(shape) < 2 or 0 in shape:
        shape = (6, 4)
        if op_type in ("Reshape", "Expand", "Unsqueeze", "Transpose"):
            return
    host = host_of(op_type, shape)
    last = len(shape) - 1
    turn = make_node("Transpose", ["v"], ["x"], perm=[last, *range(last)])
    node = node_of(op_type, constants, attributes)
    check([turn, node], {"v": values("float32", *shape[1:], shape[0])}, constants, host=host)
    # The result is read by others where it lies.
    add = make_node("Add", ["y", "y"], ["z"])
    check([turn, node, add], {"v": values("float32", *shape[1:], shape[0])}, constants, host=host)


@pytest.mark.parametrize(
    ("op_type", "constants", "attributes"),
    [
        ("Reshape", {"s": ints(0, -1)}, {}),
        ("Reshape", {"s": ints(-1, 4)}, {}),
        ("Reshape", {"s": ints(2, 0, 4, 5)}, {}),
        ("Flatten", {}, {"axis": 2}),
        ("Transpose", {}, {"perm": [3, 1, 0, 2]}),
        ("Slice", {"b": ints(1), "e": ints(7), "a": ints(1)}, {}),
        ("Slice", {"b": ints(1, 0), "e": ints(99, 9), "a": ints(2, 1), "t": ints(2, 3)}, {}),
        ("Expand", {"s": ints(3, 2, 8, 4, 5)}, {}),
        ("Tile", {"r": ints(2, 1, 2, 1)}, {}),
        ("DepthToSpace", {}, {"blocksize": 2}),
        ("SpaceToDepth", {}, {"blocksize": 1}),
        ("Unsqueeze", {"a": ints(1)}, {}),
    ],
    ids=str,
)
def test_images_of_a_convolution(check, op_type, constants, attributes):
    """Channels last, and 256 of them a little apart."""
    conv = make_node("Conv", ["c", "w"], ["x"])
    node = node_of(op_type, constants, attributes)
    add = make_node("Add", ["y", "y"], ["z"])
    weights = {"w": np.random.default_rng(0).standard_normal((8, 3, 1, 1), np.float32)}
    image = {"c": values("float32", 2, 3, 4, 5)}
    check([conv, node], image, weights | constants)
    check([conv, node, add], image, weights | constants, outputs=["x", "z", "y"])
    if "Expand" not in op_type and not np.array_equal(constants.get("s"), ints(2, 0, 4, 5)):
        wide = np.random.default_rng(0).standard_normal((256, 3, 1, 1), np.float32)
        check([conv, node, add], image, {"w": wide} | constants)


@pytest.mark.parametrize("groups", [2, 3, 4, 8])
@pytest.mark.parametrize(("height", "width"), [(5, 6), (1, 1)])
def test_channel_shuffles(check, groups, height, width):
    """What comes next wants channels last, as what came before."""
    channels = 10 * groups
    conv = make_node("Conv", ["c", "w"], ["x"])
    apart = make_node("Reshape", ["x", "s5"], ["a"])
    turn = make_node("Transpose", ["a"], ["t"], perm=[0, 2, 1, 3, 4])
    together = make_node("Reshape", ["t", "s4"], ["y"])
    last = make_node("Conv", ["y", "v"], ["z"], group=channels)
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((channels, 3, 1, 1), np.float32),
        "v": rng.standard_normal((channels, 1, 1, 1), np.float32),
        "s5": ints(0, groups, channels // groups, height, width),
        "s4": ints(0, channels, height, width),
    }
    feeds = {"c": values("float32", 2, 3, height, width)}
    nodes = [conv, apart, turn, together]
    check([*nodes, last], feeds, weights)
    check(nodes, feeds, weights)


def test_named_dimensions(check):
    feeds = [{"x": values("float32", *s)} for s in ((2, 3, 4), (5, 1, 2), (1, 7, 10), (0, 2, 4))]
    for op_type, constants, attributes in [
        ("Reshape", {"s": ints(0, -1)}, {}),
        ("Reshape", {"s": ints(-1)}, {}),
        ("Flatten", {}, {"axis": 1}),
        ("Transpose", {}, {"perm": [1, 2, 0]}),
        ("Slice", {"b": ints(1), "e": ints(3), "a": ints(1)}, {}),
        ("Slice", {"b": ints(-2), "e": ints(99), "a": ints(2)}, {}),
        ("Slice", {"b": ints(0), "e": ints(-1), "a": ints(0), "t": ints(2)}, {}),
        ("Tile", {"r": ints(2, 1, 3)}, {}),
        ("Unsqueeze", {"a": ints(-1)}, {}),
        ("Shape", {}, {}),
        ("Size", {}, {}),
    ]:
        given = feeds[:3] if np.array_equal(constants.get("s"), ints(0, -1)) else feeds
        check([node_of(op_type, constants, attributes)], given, constants)


def test_shapes_computed_from_shapes(check):
    nodes = [
        make_node("Shape", ["x"], ["a"]),
        make_node("Gather", ["a", "zero"], ["n"]),
        make_node("Unsqueeze", ["n", "axes"], ["u"]),
        make_node("Concat", ["u", "rest"], ["s"], axis=0),
        make_node("Reshape", ["x", "s"], ["y"]),
    ]
    constants = {"zero": np.array(0), "axes": ints(0), "rest": ints(-1)}
    feeds = [{"x": values("float32", *s)} for s in ((2, 3, 4), (5, 1, 2))]
    check(nodes, feeds, constants, outputs=["y", "s", "a", "n"])


# --- Split and Concat -------------------------------------------------------------------------


def test_split(check):
    x = values("float32", 4, 7, 3)
    for axis, sizes in ((0, [1, 3]), (1, [2, 0, 5]), (-1, [3])):
        names = [f"y{i}" for i in range(len(sizes))]
        node = make_node("Split", ["x", "s"], names, axis=axis)
        check([node], {"x": x}, {"s": ints(*sizes)})
        sums = [make_node("Add", [name, name], [f"z{name}"]) for name in names]
        turn = make_node("Transpose", ["v"], ["x"], perm=[1, 0, 2])
        outputs = [*names, *(f"z{name}" for name in names)]
        feeds = {"v": np.ascontiguousarray(x.transpose(1, 0, 2))}
        check([turn, node, *sums], feeds, {"s": ints(*sizes)}, outputs=outputs)
    for count in (2, 3):
        names = [f"y{i}" for i in range(count)]
        node = make_node("Split", ["x"], names, axis=1, num_outputs=count)
        check([node], [{"x": values("float32", 2, n)} for n in (6, 5, 12)])


def test_split_channels_of_an_image_and_concatenate_them(check):
    nodes = [
        make_node("Conv", ["x", "w"], ["c"]),
        make_node("Split", ["c", "s"], ["a", "b"], axis=1),
        make_node("Relu", ["a"], ["r"]),
        make_node("Concat", ["b", "r", "c"], ["d"], axis=1),
        make_node("Conv", ["d", "v"], ["y"]),
    ]
    weights = {
        "w": values("float32", 8, 3, 1, 1) - 50,
        "v": values("float32", 4, 16, 1, 1),
        "s": ints(3, 5),
    }
    feeds = [{"x": values("float32", n, 3, 4, 5)} for n in (1, 2)]
    check(nodes, feeds, weights, outputs=["y", "d", "b"])
    check(nodes, feeds, weights, threads=[1, 4])


def test_splits_that_do_not_add_up_are_refused(refused):
    node = make_node("Split", ["x", "s"], ["a", "b"], axis=0)
    for dims in (None, {"x": ["N", 2]}):
        for size in (3, 5):
            refused([node], {"x": values("float32", size, 2)}, {"s": ints(2, 2)}, dims=dims)


@pytest.mark.parametrize("dtype", TYPES)
def test_concat(check, dtype):
    for axis in (0, 1, -1):
        shapes = [[2, 3, 4] for _ in range(3)]
        shapes[1][axis], shapes[2][axis] = 1, 0
        feeds = {f"x{i}": values(dtype, *shape, seed=i) for i, shape in enumerate(shapes)}
        check([make_node("Concat", [*feeds, "x0"], ["y"], axis=axis)], feeds)


@pytest.mark.parametrize("case", range(40))
def test_concat_of_drawn_operands(check, case):
    """Inputs, views of them, constants, and operands twice; sizes fixed, or open on the axis."""
    rng = np.random.default_rng([5, case])
    dtype, rank = TYPES[case % len(TYPES)], int(rng.integers(1, 5))
    shape, axis = rng.integers(1, 6, rank), int(rng.integers(rank))
    if case % 7 == 0:
        shape[rng.integers(rank)] = 0 if case % 2 else 33
    nodes, weights, names = [], {}, []
    feeds = [{}, {}] if case % 2 else [{}]
    for i in range(int(rng.integers(2, 12))):
        own = shape.copy()
        own[axis] = rng.choice([0, 1, 2, 3, 5, 17, 40])
        kind = rng.integers(4)
        if kind == 0:
            weights[f"x{i}"] = values(dtype, *own, seed=i)
            names.append(f"x{i}")
            continue
        if kind == 1:
            nodes.append(make_node("Transpose", [f"x{i}"], [f"v{i}"], perm=range(rank)[::-1]))
            own = own[::-1]
        elif kind == 2:
            bounds = {"b": ints(1), "e": ints(1 + shape[-1] if axis < rank - 1 else 99)}
            weights |= {f"{k}{i}": v for k, v in (bounds | {"a": ints(-1)}).items()}
            nodes.append(make_node("Slice", [f"x{i}", f"b{i}", f"e{i}", f"a{i}"], [f"v{i}"]))
            own[-1] += 2
        for turn, feed in enumerate(feeds):
            is_axis = np.arange(rank) == (rank - 1 - axis if kind == 1 else axis)
            feed[f"x{i}"] = values(dtype, *(own + 2 * turn * is_axis), seed=i)
        names.append(f"x{i}" if kind == 3 else f"v{i}")
    names += names[: case % 3]
    nodes.append(make_node("Concat", names, ["y"], axis=axis - rank if case % 5 == 0 else axis))
    if feeds[0]:
        check(nodes, feeds, weights, threads=[1 + case % 4])


def test_concat_of_many_is_one_step(check):
    feeds = {f"x{i}": values("float32", 3, i, 4, seed=i) for i in range(64)}
    for dims in (None, {name: [3, f"n_{name}", 4] for name in feeds}):
        session = check([make_node("Concat", list(feeds), ["y"], axis=1)], feeds, dims=dims)
        assert len(session.engine.program.steps) == 1


def test_concat_of_what_lies_with_the_host(check):
    """An array whose size is known only when it is computed, perhaps without elements."""
    nodes = [
        make_node("Cast", ["x"], ["s"], to=8),
        make_node("Unique", ["s"], ["t", "i"]),
        make_node("Compress", ["i", "k"], ["u"]),
        make_node("Flatten", ["i"], ["f"], axis=0),
        make_node("Flatten", ["u"], ["v"], axis=0),
        make_node("Concat", ["f", "v", "v", "f"], ["y"], axis=1),
    ]
    keep = {"k": np.array([True])}
    feeds = [{"x": np.array(x, np.float32), **keep} for x in ([3, 0, 3, 5], [0, 0], [7])]
    check(nodes, [*feeds, {**feeds[0], "k": ~keep["k"]}], host={"Cast", "Unique"}, threads=[1, 2])


def test_concat_of_one_and_of_the_same(check):
    x = {"x": values("float32", 2, 3)}
    for names in (["x"], ["x", "x", "x"]):
        check([make_node("Concat", names, ["y"], axis=1)], x)


def test_concat_of_images(check):
    weights = {"w": values("float32", 8, 3, 1, 1) - 50, "v": values("float32", 5, 3, 3, 3)}
    first = make_node("Conv", ["x", "w"], ["a"])
    second = make_node("Conv", ["x", "v"], ["b"], pads=[1] * 4)
    pool = make_node("MaxPool", ["b"], ["p"], kernel_shape=[1, 1])
    relu = make_node("Relu", ["a"], ["r"])
    feeds = [{"x": values("float32", n, 3, h, 4)} for n, h in ((1, 4), (2, 6))]
    for names in (["a", "b"], ["b", "a", "b"], ["p", "x", "r"], ["a", "r"], ["x", "a"]):
        join = make_node("Concat", names, ["y"], axis=1)
        last = make_node("Conv", ["y", "u"], ["z"])
        channels = sum({"a": 8, "b": 5, "p": 5, "x": 3, "r": 8}[name] for name in names)
        more = {"u": values("float32", 4, channels, 1, 1)}
        nodes = [first, second, pool, relu, join, last]
        for outputs in (["z"], ["y"], ["z", "y", "a", "b"]):
            check(nodes, feeds, weights | more, outputs=outputs, threads=[4])
    for axis in (0, 2, 3):
        nodes = [first, relu, make_node("Concat", ["a", "r"], ["y"], axis=axis)]
        check(nodes, feeds, weights)


def test_concatenations_of_concatenations(check):
    nodes, names = [make_node("Conv", ["x", "w0"], ["c0"])], ["c0"]
    weights = {"w0": values("float32", 8, 3, 1, 1) - 50}
    for i in range(1, 4):
        joined = f"j{i}"
        nodes.append(make_node("Concat", list(names), [joined], axis=1))
        weights[f"w{i}"] = (values("float32", 8, 8 * i, 1, 1) - 50) / 100
        nodes.append(make_node("Conv", [joined, f"w{i}"], [f"c{i}"]))
        names.append(f"c{i}")
    nodes.append(make_node("Concat", names, ["y"], axis=1))
    feeds = [{"x": values("float32", n, 3, 5, 4)} for n in (1, 2)]
    check(nodes, feeds, weights, threads=[1, 4])
    check(nodes, feeds, weights, outputs=["c1", "j2", "y"])


def test_concatenations_of_rows_further_apart_than_addresses_are_refused(refused):
    cut = {"b": ints(0), "e": ints(3), "a": ints(1)}
    nodes = [make_node("Slice", ["x", *cut], [name]) for name in "st"]
    nodes.append(make_node("Concat", ["s", "t"], ["y"], axis=1))
    x = {"x": np.zeros((0, 3), np.float32)}
    assert "from row to row" in refused(nodes, x, cut, dims={"x": ["N", 2**61]})


def test_concatenations_that_do_not_fit_are_refused(refused):
    node = make_node("Concat", ["x", "z"], ["y"], axis=0)
    feeds = {"x": values("float32", 2, 3), "z": values("float32", 2, 4)}
    refused([node], feeds)
    message = refused([node], feeds, dims={"x": [2, "A"], "z": [2, "B"]})
    assert "concat0" in message


def test_reshapes_that_do_not_fit_are_refused(refused):
    node = make_node("Reshape", ["x", "s"], ["y"])
    for dims in (None, {"x": ["A", "B"]}):
        for shape in (ints(4, 4), ints(4, -1)):
            refused([node], {"x": values("float32", 2, 3)}, {"s": shape}, dims=dims)


@pytest.mark.parametrize("target", [("k", "m"), ("k", "rest"), ("rest", "k"), ("m", "k", "rest")])
def test_computed_sizes_of_zero_never_give_another_shape(target):
    """Size 0 copies the input's: where onnxruntime has another shape for it, ours is an error."""
    nodes = [make_node("Shape", [f"of_{name}"], [name]) for name in "km"]
    nodes += [make_node("Concat", target, ["t"], axis=0), make_node("Reshape", ["x", "t"], ["y"])]
    feeds = {"x": values("float32", 2, 3), "of_k": ints(2, 2), "of_m": ints(2, 2, 2)}
    dims = {"x": ["A", "B"], "of_k": ["K"], "of_m": ["M"]}
    model = build(nodes, [feeds], {"rest": ints(-1)}, dims=dims)
    session = sardonyx.Session(model, threads=1)
    same = 0
    for rows, columns, k, m in itertools.product((0, 1, 2), (0, 2, 3), (0, 1, 2), (0, 2, 3)):
        feeds = {"x": values("float32", rows, columns), "of_k": ints(*[2] * k)}
        feeds["of_m"] = ints(*[2] * m)
        with contextlib.suppress(sardonyx.InvalidArgument, *ONNXRUNTIME_ERRORS):
            (wanted,) = wanted_results(model, [feeds])[0]
            (found,) = session.run(None, feeds)
            np.testing.assert_array_equal(found, wanted)
            same += 1
    assert same > 5


def test_expansions_that_do_not_fit_are_refused(refused):
    node = make_node("Expand", ["x", "s"], ["y"])
    for dims in (None, {"x": ["A", "B"]}):
        refused([node], {"x": values("float32", 2, 3)}, {"s": ints(4, 3)}, dims=dims)


def test_sizes_known_only_at_run_time(check):
    shape = ints(3, 4)
    x = values("float32", 3, 4)
    check([make_node("Reshape", ["x", "s"], ["y"])], {"x": x, "s": ints(2, 6)})
    check([make_node("Expand", ["x", "s"], ["y"])], {"x": x[:, :1], "s": shape})
    bounds = {"b": ints(1), "e": ints(3)}
    check([make_node("Slice", ["x", "b", "e"], ["y"])], {"x": x, **bounds})
    relu = make_node("Relu", ["y"], ["z"])
    tile = make_node("Tile", ["x", "r"], ["y"])
    check([tile, relu], [{"x": x, "r": ints(2, n)} for n in (1, 3)])


@pytest.mark.parametrize("case", range(60))
def test_slices_of_open_sizes(check, case):
    """Limits of any size, counted from either end, in both directions."""
    rng = np.random.default_rng(case)
    limits = [0, 1, 2, 3, 5, 9, -1, -2, -3, -6, -9, 2**31, -(2**31), 2**62, 1 - 2**63]
    start, end = (int(rng.choice(limits)) for _ in range(2))
    step = int(rng.choice([-3, -2, -1, 1, 2]))
    node = make_node("Slice", ["x", "starts", "ends", "axes", "steps"], ["y"])
    constants = {
        "starts": ints(start),
        "ends": ints(end),
        "axes": ints(0),
        "steps": ints(step),
    }
    check([node], [{"x": values("float32", size, 3)} for size in (1, 2, 4, 7, 8)], constants)
