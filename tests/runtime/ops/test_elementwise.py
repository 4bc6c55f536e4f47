"""Every elementwise operator: types, shapes, special values, layouts; one suite for all."""

import functools

import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node

from .conftest import build

FLOATS = ["float32", "float64", "float16"]
INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
SIGNED = ["int8", "int16", "int32", "int64"]
UNSIGNED = ["uint8", "uint16", "uint32", "uint64"]
BOOL = ["bool"]

# operator: (types, host types, attributes)
UNARY = {
    **{
        name: (FLOATS, [], {})
        for name in (
            *("Exp", "Log", "Tanh", "Erf", "Sigmoid", "Sqrt", "Floor", "Ceil", "Round"),
            *("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh"),
            *("Atanh", "HardSwish", "Softplus", "Softsign", "Mish"),
        )
    },
    "LeakyRelu": (FLOATS, [], {"alpha": 0.3}),
    "Elu": (FLOATS, [], {"alpha": 0.7}),
    "Celu": (["float32"], [], {"alpha": 0.7}),
    "Selu": (FLOATS, [], {}),
    "ThresholdedRelu": (FLOATS, [], {"alpha": 0.5}),
    "HardSigmoid": (FLOATS, [], {"alpha": 0.3, "beta": 0.4}),
    "Gelu": (FLOATS, [], {}),
    "QuickGelu": (["float32"], [], {"domain": "com.microsoft", "alpha": 1.5}),
    "Identity": ([*FLOATS, *INTEGERS, *BOOL], [], {}),
    "Neg": ([*FLOATS, *SIGNED], [], {}),
    "Abs": ([*FLOATS, *INTEGERS], [], {}),
    "Sign": ([*FLOATS, *INTEGERS], [], {}),
    "Relu": ([*FLOATS, *SIGNED], [], {}),
    "Reciprocal": (FLOATS, [], {}),
    "BitwiseNot": (INTEGERS, [], {}),
    "Shrink": ([*FLOATS, *INTEGERS], [], {"bias": 0.1, "lambd": 0.5}),
    "Not": (BOOL, [], {}),
    "IsNaN": (FLOATS, [], {}),
    "IsInf": (["float32", "float64"], [], {"detect_negative": 0}),
}
BINARY = {
    **{name: ([*FLOATS, *INTEGERS], [], {}) for name in ("Add", "Sub", "Mul", "Min", "Max")},
    "Div": ([*FLOATS, *INTEGERS], [], {}),
    "Pow": (["float32", "float64", "int32", "int64"], [], {}),
    "Mod": ([*INTEGERS, *FLOATS], [], {}),
    "BitwiseAnd": (INTEGERS, [], {}),
    "BitwiseOr": (INTEGERS, [], {}),
    "BitwiseXor": (INTEGERS, [], {}),
    "BitShift": (UNSIGNED, [], {"direction": "LEFT"}),
    "Equal": ([*FLOATS, *INTEGERS, *BOOL], [], {}),
    **{
        name: ([*FLOATS, *INTEGERS], [], {})
        for name in ("Less", "LessOrEqual", "Greater", "GreaterOrEqual")
    },
    **{name: (BOOL, [], {}) for name in ("And", "Or", "Xor")},
    "PRelu": ([*FLOATS, "int32", "int64", "uint32", "uint64"], [], {}),
    **{name: (FLOATS, [], {}) for name in ("Sum", "Mean")},
}
ALL = {**UNARY, **BINARY}
# Results of few bits differ by one of them; sines of huge arguments by more.
TOLERANCE = {"float16": 4e-3, "float32": 1e-4, "float64": 1e-6}


def arity(name):
    return 1 if name in UNARY else 2


def values(dtype, *shape, seed=0):
    rng = np.random.default_rng([seed, *shape])
    if dtype == "bool":
        return np.asarray(rng.random(shape) < 0.5)
    if dtype.startswith("float"):
        return np.asarray(rng.standard_normal(shape) * 2, dtype)
    info = np.iinfo(dtype)
    return rng.integers(max(info.min, -6), 7, shape).astype(dtype)


def positive(dtype, *shape):
    x = values(dtype, *shape, seed=1)
    return x if dtype == "bool" else np.abs(x) % 5 + np.array(1, dtype)


def node_of(name, operands=None):
    attributes = dict(ALL[name][2])
    if name == "Mod" and operands == "float":
        attributes["fmod"] = 1
    return make_node(name, [f"x{i}" for i in range(arity(name))], ["y"], **attributes)


def feeds_of(name, dtype, *shapes):
    made = {f"x{i}": values(dtype, *shape, seed=i) for i, shape in enumerate(shapes)}
    divided = name in ("Div", "Mod", "Pow") or dtype == "bool"
    if divided and dtype != "bool":
        # A divisor that is not 0; an exponent for which integers stay integers.
        made["x1"] = np.asarray(np.abs(made["x1"]) + np.array(1, dtype))
    if name == "BitShift":
        made["x1"] %= np.array(5, dtype)
    return made


# Kernels of these types differ from others' by their loads and stores: some operators will do.
ALIKE = ["float16", "int16", "uint16", "uint32"]
SAMPLE = [
    "Exp",
    "Floor",
    "Gelu",
    "Relu",
    "Neg",
    "Abs",
    "Identity",
    "Add",
    "Div",
    "Mod",
    "Max",
    "Less",
]


def named(dtype):
    """Operators that take a type by a kernel."""
    names = [name for name, entry in ALL.items() if dtype in entry[0]]
    return [name for name in names if name in SAMPLE] if dtype in ALIKE else names


def several(check_each, names, dtype, shapes, **kwargs):
    cases = [
        (node_of(name, dtype[:5]), feeds_of(name, dtype, *shapes[: arity(name)])) for name in names
    ]
    check_each(cases, tolerance=TOLERANCE.get(dtype, 0), **kwargs)


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS, *BOOL])
def test_every_type(check_each, dtype):
    for shape in ((3, 5), (0,), (2, 0, 3), (4097,), (2, 1, 3, 1, 2)):
        several(check_each, named(dtype), dtype, [shape] * 2)


def first_type(name):
    return ALL[name][0][0]


def by_first_type():
    return {dtype: [n for n in ALL if first_type(n) == dtype] for dtype in map(first_type, ALL)}


@pytest.mark.parametrize("dtype", by_first_type())
@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1)], ids=str)
def test_scalars(check_each, dtype, shape):
    several(check_each, by_first_type()[dtype], dtype, [shape] * 2, threads=[1, 4])


PAIRS = [
    ((3, 5), (5,)),
    ((3, 5), ()),
    ((3, 5), (3, 1)),
    ((2, 3, 4, 5), (3, 1, 1)),
    ((2, 3, 4, 5), (1, 3, 1, 5)),
    ((2, 3, 4, 5), (2, 1, 4, 1)),
    ((2, 3, 2, 3, 2, 3), (2, 1, 2, 1, 2, 1)),
    ((0, 3), (1, 3)),
]
# The slope of a PRelu may not be larger than its input.
LARGER = [
    ((1,), (4, 1)),
    ((2, 1, 3), (1, 5, 1)),
    ((), (2, 2)),
    ((1, 3), (0, 1)),
    ((1, 3, 1, 3, 1, 3), (2, 1, 2, 1, 2, 1)),
]


@pytest.mark.parametrize("dtype", by_first_type())
@pytest.mark.parametrize("pair", PAIRS + LARGER, ids=str)
def test_operands_are_broadcast(check_each, dtype, pair):
    names = [n for n in by_first_type()[dtype] if n in BINARY]
    if pair in LARGER:
        names = [n for n in names if n != "PRelu"]
    several(check_each, names, dtype, pair)


@pytest.mark.parametrize("name", ["Add", "Exp", "Equal", "And", "Mod", "PRelu", "Neg", "Mean"])
def test_named_dimensions(check, name):
    """One session at several shapes; at some of them an operand is repeated."""
    dtype = first_type(name)
    dims = {f"x{i}": [f"a{i}", f"b{i}"] for i in range(arity(name))}
    shapes = [[(3, 5)] * 2, [(1, 1)] * 2, [(0, 4)] * 2, [(70, 90)] * 2]
    if name in BINARY:
        shapes += [[(3, 5), (1, 5)], [(3, 5), (3, 1)], [(6, 2), (1, 1)]]
        shapes += [[(1, 5), (3, 1)]] if name != "PRelu" else []
    feeds = [feeds_of(name, dtype, *pair[: arity(name)]) for pair in shapes]
    check([node_of(name)], feeds, dims=dims, threads=[1, 4])


@pytest.mark.parametrize("name", ["Exp", "Selu", "Add", "Less", "PRelu", "Mean", "Pow"])
def test_channels_last_operands(check, name):
    """After a convolution values do not lie in ONNX's order."""
    weights = {"w": values("float32", 9, 3, 3, 3), "v": values("float32", 9, 3, 1, 1)}
    nodes = [
        make_node("Conv", ["x", "w"], ["x0"], pads=[1] * 4),
        make_node("Conv", ["x", "v"], ["c"]),
        node_of(name),
        # A second reader keeps the operator from becoming a tail of the convolution.
        make_node("Transpose", ["x0"], ["t"], perm=[0, 2, 3, 1]),
    ]
    x = values("float32", 2, 3, 4, 5)
    if name in UNARY:
        check(nodes, {"x": x}, weights, outputs=["y", "t"])
        return
    nodes[2].input[1] = "c"
    check(nodes, {"x": x}, weights, outputs=["y", "t"], tolerance=1e-3)
    nodes[2].input[1] = "o"
    for shape in ((2, 9, 4, 5), (9, 1, 1), (9, 4, 5), (4, 5), (5,), (1, 1, 4, 1), ()):
        feeds = {"x": x, "o": values("float32", *shape)}
        check(nodes, feeds, weights, outputs=["y", "t"], tolerance=1e-3)


@pytest.mark.parametrize("name", ["Exp", "Add", "Less", "Mod", "And", "Not", "Mean", "BitShift"])
def test_transposed_and_sliced_operands(check, name):
    dtype = first_type(name)
    turn = make_node("Transpose", ["x"], ["x0"], perm=[2, 0, 1])
    x = values(dtype, 4, 5, 3)
    other = {"x1": positive(dtype, 3, 4, 5)} if name in BINARY else {}
    check([turn, node_of(name)], {"x": x, **other})
    bounds = {"s": np.array([1]), "e": np.array([9]), "a": np.array([2]), "t": np.array([2])}
    cut = make_node("Slice", ["x", "s", "e", "a", "t"], ["x0"])
    other = {"x1": positive(dtype, 3, 4, 4)} if name in BINARY else {}
    check([cut, node_of(name)], {"x": values(dtype, 3, 4, 9), **other}, bounds)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_values(check_each, dtype):
    special = np.array([np.nan, np.inf, -np.inf, 0.0, 1.0, -1.0, 0.5, -0.5, 2.0], dtype)
    pairs = {"x0": np.repeat(special, len(special)), "x1": np.tile(special, len(special))}
    cases = []
    # By the standard a PRelu of 0 is 0, in onnxruntime it is 0 times the slope: NaN for infinity.
    for name in [name for name in named(dtype) if name != "PRelu"]:
        feeds = {"x0": np.concatenate([special, special])} if name in UNARY else pairs
        cases.append((node_of(name, dtype[:5]), feeds))
    check_each(cases, tolerance=1e-5)


@pytest.mark.parametrize("name", ["Exp", "Identity", "Add", "Less", "Not"])
def test_results_that_are_outputs_and_go_on(check, name):
    dtype = first_type(name)
    feeds = feeds_of(name, dtype, *[(3, 5)] * arity(name))
    again = make_node("Equal", ["y", "y"], ["z"])
    check([node_of(name), again], feeds, outputs=["y", "z", "y"])


# --- operators with a form of their own -------------------------------------------------------


@pytest.mark.parametrize("name", ["Min", "Max", "Sum", "Mean"])
def test_any_number_of_operands(check, name):
    # How operands are divided among steps does not depend on the operator, the last step does.
    for count in (1, 2, 3, 9, 16, 17, 31, 32, 250) if name == "Mean" else (1, 3, 16, 17):
        operands = {f"x{i}": values("float32", 3, 4, seed=i) for i in range(count)}
        check([make_node(name, list(operands), ["y"])], operands)
    shapes = [(4,), (3, 1), (2, 1, 4), ()] * 9
    operands = {f"x{i}": values("float32", *shape, seed=i) for i, shape in enumerate(shapes)}
    check([make_node(name, list(operands), ["y"]), make_node("Neg", ["y"], ["z"])], operands)
    operands = {f"x{i}": values("float64", *s, seed=i) for i, s in enumerate([(3, 1), (4,), ()])}
    functions = {"Min": np.minimum, "Max": np.maximum, "Sum": np.add, "Mean": np.add}
    wanted = functools.reduce(functions[name], operands.values()) / (3 if name == "Mean" else 1)
    node = make_node(name, list(operands), ["y"])
    check([node], operands, tolerance=1e-12, wanted=[[wanted]])


def test_of_many_numbers_of_a_narrow_type_only_the_result_is_rounded(check):
    operands = {f"x{i}": np.full((3, 5), 9000 + i, np.float16) for i in range(40)}
    wanted = np.mean([array.astype(np.float32) for array in operands.values()], 0)
    node = make_node("Mean", list(operands), ["y"])
    check([node], operands, tolerance=0, wanted=[[wanted.astype(np.float16)]])


def test_nodes_with_numbers_of_their_own_share_kernels(check):
    kinds = {
        "LeakyRelu": ["alpha"],
        "Shrink": ["bias", "lambd"],
        "HardSigmoid": ["alpha", "beta"],
        "ThresholdedRelu": ["alpha"],
        "Selu": ["alpha", "gamma"],
    }
    for name, attributes in kinds.items():
        numbers = [
            {key: 0.1 + 0.003 * (i + 7 * k) for k, key in enumerate(attributes)} for i in range(20)
        ]
        nodes = [make_node(name, ["x"], [f"y{i}"], **own) for i, own in enumerate(numbers)]
        names = [f"y{i}" for i in range(len(nodes))]
        session = check(nodes, {"x": values("float32", 3, 40)}, outputs=names)
        assert len(session.engine.program.kernels) == 1, name


def test_a_number_of_a_node_after_a_product(check):
    weights = {"w": values("float32", 12, 20, seed=3)}
    nodes = []
    for i, alpha in enumerate((0.3, 0.6, 1.0)):
        product, y = f"p{i}", f"y{i}"
        nodes += [
            make_node("MatMul", ["x", "w"], [product]),
            make_node("Elu", [product], [y], alpha=alpha),
        ]
    session = check(nodes, {"x": values("float32", 9, 12)}, weights, outputs=["y0", "y1", "y2"])
    kernels = [ref for ref in session.engine.program.kernels if ref.function == "pointwise"]
    assert len(kernels) == 2  # the default is a literal


def test_where(check):
    node = make_node("Where", ["c", "a", "b"], ["y"])
    for dtype in ("float32", "float64", "int32", "int64", "uint8", "bool"):
        shapes = [((3, 4), (3, 4), (3, 4)), ((4,), (3, 1), ())]
        if dtype in ("float32", "int64"):
            shapes += [((2, 1), (1, 3), (1, 1)), ((),) * 3]
        for c, a, b in shapes:
            feeds = {
                "c": values("bool", *c),
                "a": values(dtype, *a),
                "b": values(dtype, *b, seed=1),
            }
            check([node], feeds)
    feeds = {"c": values("bool", 3, 4), "a": np.full((3, 4), np.nan, np.float32)}
    check([node], feeds, {"b": np.array(np.inf, np.float32)})


def test_cast(check):
    types = ["float32", "float64", "float16", "bool", *INTEGERS]
    # Other integers differ by their loads and stores, which any partner shows.
    most = {"float32", "float64", "int64", "uint8", "bool"}
    for source in types:
        x = np.abs(values(source, 3, 5)) if source != "bool" else values("bool", 3, 5)
        for target in types if source in most else most:
            kind = {"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6,
                    "int64": 7, "bool": 9, "float16": 10, "float64": 11, "uint32": 12,
                    "uint64": 13}[target]  # fmt: skip
            check([make_node("Cast", ["x"], ["y"], to=kind)], {"x": x})


def test_cast_like(check):
    for dtype in ("float64", "int32", "bool"):
        feeds = {"x": values("float32", 3, 5), "l": values(dtype, 2)}
        check([make_node("CastLike", ["x", "l"], ["y"])], feeds)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int32", "int64", "uint8"])
def test_clip(check, dtype):
    x = values(dtype, 3, 5)
    for limits in ((1, 3), (None, 2), (2, None), (None, None), (3, 1)):
        names = ["" if limit is None else f"l{i}" for i, limit in enumerate(limits)]
        given = {n: np.array(v, dtype) for n, v in zip(names, limits, strict=True) if v is not None}
        node = make_node("Clip", ["x", *names], ["y"])
        check([node], {"x": x}, given)
        check([node], {"x": x, **given})


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint64", "float64"])
def test_clip_without_limits_changes_no_finite_number(check, dtype):
    info = np.finfo(dtype) if dtype == "float64" else np.iinfo(dtype)
    x = np.array([info.min, info.max, 0], dtype)
    check([make_node("Clip", ["x"], ["y"])], {"x": x}, wanted=[[x]])


@pytest.mark.parametrize("is_constant", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_a_limit_that_is_nan_gives_nan(check, dtype, is_constant):
    x = values(dtype, 3, 5)
    for limits in ((np.nan, 3), (1, np.nan), (np.nan, np.nan)):
        given = {n: np.array(v, dtype) for n, v in zip(("low", "high"), limits, strict=True)}
        node = make_node("Clip", ["x", "low", "high"], ["y"])
        feeds, constants = ({"x": x}, given) if is_constant else ({"x": x, **given}, {})
        check([node], feeds, constants, wanted=[[np.full_like(x, np.nan)]])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimize", ["none", "all"])
def test_infinities_are_clipped_to_the_limits_of_the_type(dtype, optimize):
    """Which those are that a Clip does not name, in a step of its own and in another's."""
    x = np.array([[np.inf, -np.inf, 1.0]], dtype)
    low, high = (np.array(value, dtype) for value in (-2, 3))
    info = np.finfo(dtype)
    for names, wanted in (
        ([], [info.max, info.min, 1]), (["low"], [info.max, -2, 1]),
        (["", "high"], [3, info.min, 1]), (["low", "high"], [3, -2, 1]),
    ):  # fmt: skip
        nodes = [
            make_node("Clip", ["x", *names], ["y"]),
            make_node("MatMul", ["x", "one"], ["p"]),
            make_node("Clip", ["p", *names], ["q"]),
        ]
        given = {n: v for n, v in (("low", low), ("high", high)) if n in names}
        weights = {**given, "one": np.ones((3, 1), dtype)}
        model = build(nodes, [{"x": x}], weights, outputs=["y", "q"])
        y, q = sardonyx.Session(model, optimize=optimize, threads=1).run(None, {"x": x})
        np.testing.assert_array_equal(y[0], np.array(wanted, dtype))
        assert np.isnan(q[0, 0])
        feeds = {"x": np.array([[np.inf, 0, 1]], dtype)}
        q = sardonyx.Session(model, optimize=optimize, threads=1).run(None, feeds)[1]
        assert q[0, 0] == wanted[0]


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0, 3.0, -1.0, 0.0, 1.5])
def test_powers_of_constants(check, exponent):
    x = np.abs(values("float32", 3, 5))
    for shape in ((), (1,), (1, 1, 1), (5,)):
        check(
            [make_node("Pow", ["x", "e"], ["y"])],
            {"x": x},
            {"e": np.full(shape, exponent, np.float32)},
        )
    check([make_node("Pow", ["x", "e"], ["y"])], {"x": x}, {"e": np.array(exponent)})


@pytest.mark.parametrize("dtype", ["int32", "int64", "float32"])
def test_powers_of_mixed_types(check, dtype):
    node = make_node("Pow", ["x", "e"], ["y"])
    for other in ("int32", "int64", "float32", "float64"):
        x = np.abs(values(dtype, 3, 5)) + np.array(1, dtype)
        check([node], {"x": x, "e": np.abs(values(other, 3, 5)).round()}, tolerance=1e-4)


def wrapped_power(x: int, y: int) -> int:
    """Power of integers modulo 2 ** 64; of negative ones only those of 1 and -1 are left."""
    if y < 0:
        return x ** (y % 2) % 2**64 if abs(x) == 1 else 0
    return pow(x, y, 2**64)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_powers_of_integers_wrap_in_kernels_and_as_constants(dtype):
    info = np.iinfo(dtype)
    x = np.array([info.min, info.max, -3, -1, 0, 1, 2, 7], dtype)
    for kind in ("int8", "int32", "int64", "uint64"):
        most = np.iinfo(kind).max
        signed = [-1, -2] if kind[0] == "i" else []
        y = np.array([0, 1, 2, 3, 31, 41, 64, most - 1, most, *signed], kind)[:, None]
        powers = [[wrapped_power(a, b) for a in x.tolist()] for b in y[:, 0].tolist()]
        given = {"x": x, "y": y}
        for feeds, weights in ((given, {}), ({}, given)):
            model = build([make_node("Pow", ["x", "y"], ["z"])], [feeds], weights)
            (z,) = sardonyx.Session(model, threads=1).run(None, feeds)
            np.testing.assert_array_equal(z, np.array(powers, np.uint64).astype(dtype))


@pytest.mark.parametrize("kind", ["int16", "int64"])
def test_zeros_to_negative_integers_are_infinite(check, kind):
    feeds = {"x": np.array([0, -0.0, -0.0, 2], np.float32), "y": np.array([-3, -3, -2, -2], kind)}
    wanted = [[np.array([np.inf, -np.inf, np.inf, 0.25], np.float32)]]
    check([make_node("Pow", ["x", "y"], ["z"])], feeds, wanted=wanted)


def test_integers_wrap_and_divide_as_in_c(check):
    for dtype in SIGNED:
        info = np.iinfo(dtype)
        x = np.array([info.min, info.max, info.min + 1, -7, 7], dtype)
        y = np.array([3, -2, 2, 2, -2], dtype)
        for name in ("Add", "Sub", "Mul", "Div", "Mod"):
            check([make_node(name, ["x", "y"], ["z"])], {"x": x, "y": y})
    top = np.array([2**64 - 1, 2**63 + 1, 7], np.uint64)
    three = np.array([3, 2**63, 2], np.uint64)
    for name in ("Add", "Sub", "Mul", "Div", "Mod", "Min", "Max", "Greater", "BitwiseXor"):
        check([make_node(name, ["x", "y"], ["z"])], {"x": top, "y": three})
    remainder = make_node("Mod", ["x", "y"], ["z"], fmod=1)
    check([remainder], {"x": np.array([7, -7, 7, -7]), "y": np.array([3, 3, -3, -3])})
    # What traps in the processor does not end the process.
    lowest = {"x": np.array([np.iinfo(np.int64).min]), "y": np.array([-1])}
    check([make_node("Div", ["x", "y"], ["z"])], lowest, wanted=[[lowest["x"]]])
    check([make_node("Mod", ["x", "y"], ["z"])], lowest, wanted=[[np.array([0])]])


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", ["Div", "Mod"])
def test_division_of_integers_by_zero_is_refused(refused, name, dtype):
    node = make_node(name, ["x", "y"], ["z"], name="fraction")
    x, y = np.full(40, 7, dtype), np.ones(40, dtype)
    y[17] = 0
    for weights in ({}, {"y": y}):
        feeds = {"x": x} if weights else {"x": x, "y": y}
        message = refused([node], feeds, weights)
        assert "fraction" in message and "zero" in message
    chain = [make_node("Sub", ["y", "o"], ["d"]), make_node(name, ["x", "d"], ["z"], name="last")]
    assert "last" in refused(chain, {"x": x, "y": y}, {"o": np.ones((), dtype)})


def test_shifts(check):
    for dtype in UNSIGNED:
        bits = np.iinfo(dtype).bits
        feeds = {
            "x": np.full(3, np.iinfo(dtype).max, dtype),
            "y": np.array([0, 1, bits - 1], dtype),
        }
        for direction in ("LEFT", "RIGHT"):
            check([make_node("BitShift", ["x", "y"], ["z"], direction=direction)], feeds)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "uint8", "uint16", "uint32"])
def test_each_result_of_a_chain_wraps_to_its_type(check, dtype):
    info = np.iinfo(dtype)
    feeds = {
        "x": np.array([info.max, info.max - 1, info.min, 7, info.max], dtype),
        "y": np.array([3, info.max, 5, 3, info.max], dtype),
    }
    for first in ("Add", "Sub", "Mul"):
        for second in ("Div", "Max", "Less") if dtype in ("int8", "uint32") else ("Less",):
            nodes = [make_node(first, ["x", "y"], ["a"]), make_node(second, ["a", "y"], ["z"])]
            with np.errstate(all="ignore"):
                a = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}[first](*feeds.values())
                b = feeds["y"]
                wanted = {"Less": a < b, "Max": np.maximum(a, b)}.get(second)
                if wanted is None:
                    wanted = np.trunc(a.astype(np.float64) / b).astype(dtype)
            check(nodes, feeds, wanted=[[wanted]])
    cast = make_node("Cast", ["a"], ["z"], to=1)
    nodes = [make_node("Mul", ["x", "y"], ["a"]), cast]
    check(nodes, feeds, wanted=[[(feeds["x"] * feeds["y"]).astype(np.float32)]])


def test_each_result_of_a_chain_is_rounded_to_half_precision(check):
    x = np.array([1.0001, 0.1, 70000, -1e6, 1e-9, 2049], np.float32)
    casts = [
        make_node("Cast", ["x"], ["a"], to=10),
        make_node("Cast", ["a"], ["y"], to=1),
    ]
    with np.errstate(over="ignore"):
        check(casts, {"x": x}, tolerance=0, wanted=[[x.astype(np.float16).astype(np.float32)]])
        half = np.array([300, 2049, 0.1], np.float16)
        nodes = [
            make_node("Mul", ["x", "x"], ["a"]),
            make_node("Cast", ["a"], ["y"], to=1),
        ]
        wanted = [[(half * half).astype(np.float32)]]
        check(nodes, {"x": half}, tolerance=0, wanted=wanted, precision="strict")
        # Otherwise halves are computed as float32, as onnxruntime does it.
        check(nodes, {"x": half}, tolerance=1e-6)


def test_infinities_by_sign(check):
    x = {"x": np.array([np.inf, -np.inf, np.nan, 0, 1], np.float32)}
    for negative in (0, 1):
        for positive in (0, 1):
            node = make_node(
                "IsInf", ["x"], ["y"], detect_negative=negative, detect_positive=positive
            )
            check([node], x)


def test_gelu_and_swish(check):
    x = {"x": values("float32", 3, 50)}
    check([make_node("Gelu", ["x"], ["y"], approximate="tanh")], x)
    wanted = x["x"] / (1 + np.exp(-1.5 * x["x"]))
    check([make_node("Swish", ["x"], ["y"], alpha=1.5)], x, opset=24, wanted=[[wanted]])


def test_shapes_that_do_not_broadcast_are_refused(refused):
    feeds = {"x": values("float32", 3, 4), "y": values("float32", 2, 4)}
    node = make_node("Add", ["x", "y"], ["z"])
    refused([node], feeds)
    message = refused([node], feeds, dims={"x": ["A", 4], "y": ["B", 4]})
    assert "does not broadcast" in message


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_odd_functions_keep_the_sign_of_zeros(dtype):
    names = ["Asin", "Asinh", "Atan", "Atanh", "Erf", "Sin", "Sinh", "Softsign", "Tan", "Tanh"]
    nodes = [make_node(name, ["x"], [name]) for name in names]
    zeros = {"x": np.full(37, -0.0, dtype)}
    results = sardonyx.Session(build(nodes, [zeros], outputs=names), threads=1).run(None, zeros)
    assert [name for name, y in zip(names, results, strict=True) if not np.signbit(y).all()] == []


def test_operands_that_may_repeat_along_rows_are_vectors():
    """A run tells whether they do: sizes with names of their own may be 1, or that of the other."""
    rng = np.random.default_rng(0)
    for narrow in (1, 37):
        shapes = {"x": (3, 37), "y": (3, narrow)}
        feeds = {name: rng.standard_normal(shape).astype("f") for name, shape in shapes.items()}
        dims = {"x": ["a", "b"], "y": ["a", "c"]}
        model = build([make_node("Add", ["x", "y"], ["z"])], [feeds], dims=dims)
        session = sardonyx.Session(model, threads=1)
        np.testing.assert_array_equal(session.run(None, feeds)[0], feeds["x"] + feeds["y"])
        (step, *_) = session.profile(feeds, runs=1, warmup=0).steps
        assert "'f32v f32e f32e'" in step.kernel


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_floats_above_the_largest_int64_are_cast_to_uint64(check, dtype):
    numbers = np.array([2.0**62, 2.0**63, 2.0**63 + 2.0**41, 1.5 * 2.0**63, 3.7], dtype)
    check([make_node("Cast", ["x"], ["y"], to=13)], {"x": numbers})


@pytest.mark.parametrize("exponents", ["int8", "int32", "int64"])
def test_powers_of_the_least_integers(check, exponents):
    """They have no absolute value of their type."""
    least = np.iinfo(exponents).min
    y = np.array([least, least + 1, least, least + 1, -1, least, 3], exponents)
    x = np.array([0, 0, -1, 1, 2, 3, -2], np.float32)
    wanted = np.array([np.inf, np.inf, 1, 1, 0.5, 3.0 ** max(least, -1000), -8], np.float32)
    check([make_node("Pow", ["x", "y"], ["z"])], {"x": x, "y": y}, wanted=[[wanted]])
