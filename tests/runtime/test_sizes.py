"""Sizes of a model's values: right or refused by the node's name, whatever a model calls them."""

from __future__ import annotations

import itertools

import numpy as np
import onnxruntime
import pytest
import sardonyx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper, parser
from sardonyx.kernels.abi import OVERFLOW, UNKNOWN
from sardonyx.runtime.symbolic import THREADS

HEAD = '<ir_version: 10, opset_import: ["": 21]> g '


def made(text: str, **constants) -> bytes:
    model = parser.parse_model(HEAD + text)
    tensors = [numpy_helper.from_array(np.asarray(c), name) for name, c in constants.items()]
    model.graph.initializer.extend(tensors)
    return model.SerializeToString()


def session(text: str, **constants) -> sardonyx.Session:
    return sardonyx.Session(made(text, **constants), optimize="none", threads=1)


def peer(text: str, feeds: dict, **constants) -> list:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(made(text, **constants), options).run(None, feeds)


def floats(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape) - 2


# --- names ------------------------------------------------------------------------------------

_HOST = "{ z = NonZero(x) y = Relu(x) w = Neg(z) }"


def test_dimensions_named_like_symbols_of_the_runtime_are_sizes_like_others():
    """A host step between: the size of its result has a symbol, too."""
    x = floats(3, 5)
    known = session(f"(float[a, b] x) => (float[a, b] y, int64[c, d] w) {_HOST}")
    symbols = [symbol for symbol in known.engine.program.symbols if not symbol.startswith("model:")]
    assert len(symbols) == 1
    names = [THREADS, "threads", "overflow", "x.0", symbols[0], symbols[0].partition(":")[2]]
    for first, second in itertools.permutations(names, 2):
        ports = [
            helper.make_tensor_value_info("x", 1, [first, second]),
            *map(helper.make_empty_tensor_value_info, "yw"),
        ]
        model = parser.parse_model(
            f"{HEAD} (float[a, b] x) => (float[a, b] y, int64[c, d] w) {_HOST}"
        )
        model.graph.input[0].CopyFrom(ports[0])
        del model.graph.output[:]
        model.graph.output.extend(ports[1:])
        run = sardonyx.Session(model.SerializeToString(), optimize="none", threads=2)
        assert run.get_inputs()[0].shape == [first, second]
        for rows in (x, x[:1]):
            y, w = run.run(None, {"x": rows})
            np.testing.assert_array_equal(y, np.maximum(rows, 0))
            np.testing.assert_array_equal(w, -np.array(np.nonzero(rows)))


@pytest.mark.parametrize("level", ["none", "all"])
@pytest.mark.parametrize("label", ["dynamic", "None", "?", "unknown", "", "-1"])
def test_labels_that_are_no_names_bind_nothing(label, level):
    graph = parser.parse_model(
        HEAD + "(float[a, b] x, float[c] v) => (float[d, e] y, float[f] u) "
        "{ y = Transpose(x) u = Relu(v) }"
    )
    for value in (*graph.graph.input, *graph.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            dim.dim_param = label
    run = sardonyx.Session(graph.SerializeToString(), optimize=level, threads=1)
    assert run.get_inputs()[0].shape == [None, None]
    y, u = run.run(None, {"x": floats(2, 3), "v": floats(5)})
    np.testing.assert_array_equal(y, floats(2, 3).T)
    assert u.shape == (5,)


def test_inputs_that_share_a_name_have_to_agree():
    run = session("(float[n] x, float[n] v) => (float[n] y) { y = Add(x, v) }")
    with pytest.raises(sardonyx.InvalidArgument, match=r"'v': dimension 0 \('n'\) is 1, but 3"):
        run.run(None, {"x": floats(3), "v": floats(1)})


# --- declarations -----------------------------------------------------------------------------

_BRANCHES = """(float[n] x, bool c) => (float[n] y, float[n] z) {
  y = If (c) <then_branch = t () => (float[3] a) { a = Relu(x) },
              else_branch = e () => (float[3] b) { b = Neg(x) }>
  z = Relu(y)
}"""
_LOOP = """(int64 k, float[n] x) => (float[3] y, float[4, 3] z) {
  y, all = Loop (k, yes, x) <body = b (int64 i, bool c, float[3] s)
    => (bool c2, float[3] t, float[3] u) { c2 = Identity(c) t = Add(s, one) u = Mul(t, t) }>
  z = Relu(all)
}"""
_SCAN = """(float[n] x, float[k, n] v) => (float[3] y, float[4, 3] z) {
  y, all = Scan <num_scan_inputs = 1, body = b (float[3] s, float[3] w)
    => (float[3] t, float[3] u) { t = Add(s, w) u = Mul(t, t) }> (x, v)
  z = Relu(all)
}"""


@pytest.mark.parametrize(
    ("text", "feeds"),
    [
        (_BRANCHES, {"x": floats(5), "c": np.array(True)}),
        (_LOOP, {"x": floats(5), "k": np.array(2)}),
        (_SCAN, {"x": floats(5), "v": floats(2, 5)}),
    ],
)
def test_sizes_that_subgraphs_declare_are_not_believed(text, feeds):
    right = text.replace("[3]", "[n]").replace("[4, 3]", "[k, n]")
    found = session(text, yes=True, one=np.float32(1)).run(None, feeds)
    wanted = peer(right, feeds, yes=True, one=np.float32(1))
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


def test_a_loop_without_trips_gives_scan_outputs_of_their_rank_and_type():
    text = """(int64 k, float[n] x) => (float[n] y, float[a, n] z, int64[b] w) {
      y, all, w = Loop (k, yes, x) <body = b (int64 i, bool c, float[n] s)
        => (bool c2, float[n] t, float[m] u, int64 j) {
          c2 = Identity(c) t = Add(s, s) u = Mul(t, t) j = Identity(i) }>
      z = Relu(all)
    }"""
    for trips, open_size in ((0, 4), (3, 4), (0, 0)):
        feeds = {"k": np.array(trips), "x": floats(open_size)}
        y, z, w = session(text, yes=True).run(None, feeds)
        assert (y.shape, z.shape, w.shape) == ((open_size,), (trips, open_size), (trips,))
        assert (z.dtype, w.dtype) == (np.float32, np.int64)


# --- beyond 64 bits ---------------------------------------------------------------------------


_ONE = "(uint8[n] x) => (uint8[m] y) { s = Shape(x) t = Mul(s, k) [it] y = "
OPEN = {
    "tile": ("Tile(x, t) }", 2**61),
    "tile-wraps": ("Tile(x, k) }", 2**62 // 5 + 1),
    "expand": ("ConstantOfShape <value = uint8[1] {0}> (t) }", (2**64 + 4) // 5 - 2**62),
    "fill": ("ConstantOfShape <value = uint8[1] {0}> (t) }", 2**61),
    "pad": ("Pad(x, p) }", 1),
}


@pytest.mark.parametrize("name", OPEN)
def test_open_sizes_beyond_64_bits_are_refused_by_name(name):
    node, factor = OPEN[name]
    run = session(_ONE + node, k=[factor], p=[0, 2**62 - 1])
    with pytest.raises(sardonyx.SardonyxError, match=r"node 'it'"):
        run.run(None, {"x": np.ones(5, np.uint8)})


@pytest.mark.parametrize("more", ["", "z = Identity(x)"])
def test_sizes_beyond_64_bits_that_only_an_output_needs_are_refused_by_name(more):
    """An expanded tensor is a view, which is written out for the caller."""
    text = f"""(uint8[n] x) => (uint8[a, m] y{", uint8[n] z" if more else ""}) {{
      s = Shape(x)
      t = Mul(s, k)
      [it] y = Expand(x, t)
      {more}
    }}"""
    with pytest.raises(sardonyx.SardonyxError, match=r"node 'it' \(Expand\)"):
        session(text, k=[2**62]).run(None, {"x": np.ones(1, np.uint8)})


CONV = """(float[1, 1, 4, {width}] x) => (float[a, b, c, d] y) {{
  [it] y = Conv <dilations = [2147483646, 1073741822],
     pads = [1073741824, 536870912, 1073741823, 536870911]> (x, w)
}}"""


@pytest.mark.parametrize("width", ["w", "8"])
def test_working_memory_beyond_64_bits_is_refused_by_name(width):
    with pytest.raises(sardonyx.SardonyxError, match="node 'it'"):
        session(CONV.format(width=width), w=floats(1, 1, 2, 2)).run(None, {"x": floats(1, 1, 4, 8)})


def test_windows_of_2_to_the_31_are_refused():
    text = CONV.format(width="w").replace("2147483646", "2147483647")
    with pytest.raises(sardonyx.InvalidModel, match=r"node 'it' \(Conv\): attribute 'dilations'"):
        session(text, w=floats(1, 1, 2, 2))


def test_a_size_of_a_later_phase_that_overflowed_is_forgotten():
    """The first run's result is large, so that its size is beyond what the next needs."""
    text = """(float[n] x, float[m] v) => (uint8[a] y, uint8[b] z) {
      i = NonZero(x)
      j = NonZero(v)
      si = Shape <start = 1> (i)
      sj = Shape <start = 1> (j)
      t = Mul(si, sj)
      u = Mul(t, k)
      q = Div(u, k)
      y = ConstantOfShape <value = uint8[1] {1}> (q)
      z = ConstantOfShape <value = uint8[1] {1}> (si)
    }"""
    run = session(text, k=[2**40])
    for x, v in ((3, 2), (0, 4), (2, 0), (1, 1)):
        feeds = {"x": np.zeros(6, np.float32), "v": np.zeros(6, np.float32)}
        feeds["x"][:x], feeds["v"][:v] = 1, 1
        y, z = run.run(None, feeds)
        assert (len(y), len(z)) == (x * v, x)


def test_sizes_of_results_are_unknown_until_they_are_there():
    run = session(f"(float[a, b] x) => (float[a, b] y, int64[c, d] w) {_HOST}")
    run.run(None, {"x": floats(3, 5)})
    (context,) = run.engine.idle
    binding = context.binding
    binding.bind(((4, 5),))
    assert UNKNOWN in binding._values
    assert OVERFLOW not in binding._values


# --- nothing beside much ----------------------------------------------------------------------

EMPTY = [
    ("Tile(x, k)", [0], [2**40], (0,)),
    ("Expand(x, k)", [0, 1], [1, 2**40], (0, 2**40)),
    ("Tile(x, k)", [2, 0], [2**40, 3], (2**41, 0)),
]


@pytest.mark.parametrize(("node", "shape", "sizes", "wanted"), EMPTY)
def test_steps_without_results_do_nothing(node, shape, sizes, wanted):
    """They would walk rows of no elements for hours."""
    axes = ", ".join(f"d{i}" for i in range(len(shape)))
    text = f"(float[{axes}] x) => (float[{axes}] y) {{ t = {node} y = Relu(t) }}"
    run = session(text, k=sizes)
    (y,) = run.run(None, {"x": floats(*shape)})
    assert y.shape == wanted
    if node.startswith("Tile"):
        run = session(text, k=[2, 2][: len(sizes)])
        for count in (0, 1, 0, 2):
            x = floats(*[n or count for n in shape])
            wanted = np.maximum(np.tile(x, [2, 2][: len(sizes)]), 0)
            np.testing.assert_array_equal(run.run(None, {"x": x})[0], wanted)


# --- the same as onnxruntime ------------------------------------------------------------------

_SLICES = {
    "negated": "e = Neg(s)",
    "less-three": "e = Sub(s, three)",
    "minus": "e = Sub(zero, s)",
    "times": "m = Sub(zero, three) e = Mul(s, m)",
    "twice-less": "d = Add(s, s) e = Sub(d, three)",
}


@pytest.mark.parametrize("side", ["start", "end"])
@pytest.mark.parametrize("name", sorted(_SLICES))
def test_slices_to_computed_sizes_are_those_of_numpy(name, side):
    limits = "e, whole" if side == "start" else "zero, e"
    text = f"""(float[n] x, float[k] v) => (float[m] y) {{
      s = Shape(v)
      {_SLICES[name]}
      y = Slice(x, {limits})
    }}"""
    run = session(text, zero=[0], three=[3], whole=[2**63 - 1])
    assert not run.engine.program.host_steps or name == "negated"
    for n, k in itertools.product((0, 1, 3, 7), (0, 1, 2, 3, 9)):
        e = {
            "negated": -k,
            "less-three": k - 3,
            "minus": -k,
            "times": -3 * k,
            "twice-less": 2 * k - 3,
        }
        x = floats(n)
        wanted = x[e[name] :] if side == "start" else x[: e[name]]
        np.testing.assert_array_equal(run.run(None, {"x": x, "v": floats(k)})[0], wanted)


@pytest.mark.parametrize("op", ["Add(x, v)", "Where(c, x, v)", "Expand(x, s)", "Sum(x, v, u)"])
def test_two_open_sizes_of_which_one_is_one_broadcast(op):
    text = f"""(float[n, 2] x, float[m, 1] v, float[k, 2] u) => (float[a, 2] y) {{
      c = Greater(v, zero)
      s = Shape(v)
      y = {op}
    }}"""
    run = session(text, zero=np.float32(0))
    assert not run.engine.program.host_steps
    for n, m, k in itertools.product((0, 1, 3), repeat=3):
        if len({n, m, k} - {1}) > 1:
            continue
        feeds = {"x": floats(n, 2), "v": floats(m, 1), "u": floats(k, 2)}
        np.testing.assert_array_equal(
            run.run(None, feeds)[0], peer(text, feeds, zero=np.float32(0))[0]
        )


RESHAPES = [
    ("float[n, 4] x", "t = Concat <axis = 0> (n, minus)", lambda n: (n, 4)),
    ("float[n, 4] x", "d = Mul(n, two) t = Concat <axis = 0> (d, two)", lambda n: (2 * n, 2)),
    ("float[n, 4] x", "t = Concat <axis = 0> (minus, two, two)", lambda n: (n, 2, 2)),
    ("float[n, 4] x", "t = Concat <axis = 0> (zero, minus)", lambda n: (n, 4)),
    ("float[0, 4] x", "t = Concat <axis = 0> (zero, minus)", lambda n: (0, 4)),
    ("float[n, 4] x", "t = Concat <axis = 0> (zero, two, minus)", lambda n: (n, 2, 2)),
]


@pytest.mark.parametrize(("declared", "target", "wanted"), RESHAPES)
def test_empty_batches_are_reshaped_like_others(declared, target, wanted):
    text = f"""({declared}) => (float[a] y) {{
      n = Shape <start = 0, end = 1> (x)
      {target}
      r = Reshape(x, t)
      y = Relu(r)
    }}"""
    run = session(text, zero=[0], two=[2], minus=[-1])
    for n in (0,) if "[0" in declared else (0, 1, 3):
        (y,) = run.run(None, {"x": floats(n, 4)})
        np.testing.assert_array_equal(y, np.maximum(floats(n, 4), 0).reshape(wanted(n)))


_INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-5, 5)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(["Add", "Sub", "Mul", "Div"]), _INTEGERS, _INTEGERS, st.booleans())
def test_arithmetic_on_whole_numbers_wraps_and_truncates(op, a, b, narrow):
    """As contents that shape rules know; division of the least number by -1 is not defined."""
    kind = np.int32 if narrow else np.int64
    x, y = np.array([a, b]).astype(kind)
    if op == "Div" and (y == 0 or y == -1):
        return
    run = session(
        f"(float[n] x) => ({np.dtype(kind).name}[1] y) {{ y = {op}(a, b) }}", a=[x], b=[y]
    )
    with np.errstate(over="ignore"):
        wanted = {"Add": x + y, "Sub": x - y, "Mul": x * y}.get(op)
    if wanted is None:
        wanted = abs(int(x)) // abs(int(y)) * (1 if (x < 0) == (y < 0) else -1)
    assert run.run(None, {"x": floats(1)})[0].tolist() == [wanted]


def test_division_of_differences_of_sizes_truncates():
    text = """(float[n] x, float[m] v) => (int64[1] y, float[k] z) {
      a = Shape(x)
      b = Shape(v)
      d = Sub(a, b)
      y = Div(d, three)
      z = Slice(x, zero, y)
    }"""
    run = session(text, three=[3], zero=[0])
    for n, m in itertools.product(range(6), repeat=2):
        y, z = run.run(None, {"x": floats(n), "v": floats(m)})
        wanted = int((n - m) / 3)
        assert y.tolist() == [wanted]
        np.testing.assert_array_equal(z, floats(n)[:wanted])


def test_sizes_that_are_negated_chosen_and_compared_are_known():
    text = """(float[n, 3] x, float[m] v) => (float[k, 3] y, float[2, n, 3] z, float[p, 3] w) {
      n = Shape <start = 0, end = 1> (x)
      minus = Neg(n)
      y = Slice(x, minus, large, zero)
      s = Shape(x)
      stated = Concat <axis = 0> (two, s)
      target = Where(condition, stated, ones)
      z = Expand(x, target)
      m = Shape(v)
      least = Min(n, m)
      most = Max(least, one)
      w = Slice(x, zero, most)
    }"""
    constants = {
        "zero": [0], "one": [1], "two": [2], "large": [2**62],
        "condition": np.array([True, False, True]), "ones": [1, 1, 1],
    }  # fmt: skip
    run = session(text, **constants)
    assert not run.engine.program.readings
    assert not run.engine.program.host_steps
    for n, m in itertools.product((1, 2, 5), (0, 1, 3)):
        x = floats(n, 3)
        y, z, w = run.run(None, {"x": x, "v": floats(m)})
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(z, np.stack([x, x]))
        np.testing.assert_array_equal(w, x[: max(min(n, m), 1)])


@pytest.mark.parametrize("value", ["", "one"])
def test_computed_pads_are_those_of_onnxruntime(value):
    """To a multiple of three behind, and a crop where the size is over six before."""
    text = f"""(float[2, n] x) => (float[2, m] y) {{
      n = Shape <start = 1> (x)
      up = Add(n, two)
      times = Div(up, three)
      whole = Mul(times, three)
      after = Sub(whole, n)
      before = Sub(six, n)
      p = Concat <axis = 0> (zero, before, zero, after)
      y = Pad(x, p, {value})
    }}"""
    constants = {"zero": [0], "two": [2], "three": [3], "six": [6], "one": np.float32(1)}
    run = session(text, **constants)
    assert not run.engine.program.host_steps
    for n in (0, 1, 5, 6, 8, 12):
        feeds = {"x": floats(2, n)}
        np.testing.assert_array_equal(run.run(None, feeds)[0], peer(text, feeds, **constants)[0])
