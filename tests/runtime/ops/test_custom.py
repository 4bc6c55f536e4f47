"""Custom operators: functions of elements and of arrays, and what is wrong with them."""

from __future__ import annotations

import math
import os
import pickle
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from numba import njit
from onnx import TensorProto, helper
from sardonyx import TensorType, custom_operators
from sardonyx.kernels.compiler import kernel_folder
from sardonyx.kernels.storage import cache_folder

DOMAIN = "my.domain"


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let each test register its own."""
    monkeypatch.setattr(custom_operators, "_versions", {})
    yield


def build(
    nodes: Sequence[onnx.NodeProto], inputs: dict[str, tuple[Any, Sequence[Any]]],
    outputs: Sequence[str], version: int = 1, functions: Sequence[Any] = (),
) -> bytes:  # fmt: skip
    ports = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(np.dtype(kind)), dims)
        for name, (kind, dims) in inputs.items()
    ]
    graph = helper.make_graph(nodes, "g", ports, [onnx.ValueInfoProto(name=n) for n in outputs])
    imports = [helper.make_opsetid("", 21), helper.make_opsetid(DOMAIN, version)]
    model = helper.make_model(
        graph, opset_imports=imports, ir_version=10, functions=list(functions)
    )
    return model.SerializeToString()


def custom(op_type: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    names = [inputs.split(), outputs.split()]
    names[0] = ["" if name == "-" else name for name in names[0]]
    return helper.make_node(op_type, *names, f"node of {op_type}", domain=DOMAIN, **attributes)


def softcap(x: Any, *, cap: float = 30.0) -> Any:
    return cap * math.tanh(x / cap)


def session_of(*args: Any, **options: Any) -> sardonyx.Session:
    return sardonyx.Session(build(*args), **{"threads": 2, **options})


@pytest.mark.parametrize("kind", ["float32", "float64", "float16"])
@pytest.mark.parametrize("attributes", [{}, {"cap": 2.0}])
def test_a_function_of_elements_is_a_kernel(kind, attributes, rng):
    sardonyx.operator(DOMAIN, "Softcap")(softcap)
    session = session_of(
        [custom("Softcap", "x", "y", **attributes)], {"x": (kind, ["n", 3, 5])}, ["y"],
        precision="strict",
    )  # fmt: skip
    assert not session.engine.program.host_steps
    for n in (0, 1, 700):
        x = (rng.normal(size=(n, 3, 5)) * 10).astype(kind)
        cap = attributes.get("cap", 30.0)
        (y,) = session.run(None, {"x": x})
        assert y.dtype == kind and y.shape == x.shape
        wide = cap * np.tanh(x.astype(np.float64) / cap)
        assert np.allclose(y, wide, rtol=0, atol=40 * float(np.finfo(kind).eps))


def expressions(x, y, *, k=0.1):
    return abs(-x) ** 2 / (1 + math.exp(-y * k)) - np.sqrt(np.abs(y)) + math.pi * math.tanh(x)


def branches(x, y, *, k=0.1):
    return x * k if x > y else math.exp(-abs(x))


def compares_equal(x, y, *, k=0.1):
    return (1.0 if x == 0 else 2.0) * y


def other_functions(x, y, *, k=0.1):
    return math.atan2(x, y) + max(x, y)


@pytest.mark.parametrize(
    ("function", "is_traced"),
    [(expressions, True), (branches, False), (compares_equal, False), (other_functions, False)],
)
def test_expressions_of_float32_are_vector_code(function, is_traced, rng):
    sardonyx.operator(DOMAIN, "Function")(function)
    session = session_of(
        [custom("Function", "x y", "z", k=0.25)], {n: ("float32", ["n"]) for n in "xy"}, ["z"]
    )
    kernels = [ref for ref in session.engine.program.kernels if ref.function == "pointwise"]
    assert [ref.is_local for ref in kernels] == [not is_traced]
    x, y = rng.normal(size=(2, 100)).astype(np.float32)
    x[:9] = 0
    wanted = [function(float(a), float(b), k=0.25) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(session.run(None, {"x": x, "y": y})[0], wanted, rtol=3e-6, atol=1e-6)


def test_elements_are_broadcast_and_inputs_may_be_missing(rng):
    @sardonyx.operator(DOMAIN, "Blend")
    def blend(a, b, c=None):
        return a + b if c is None else a + b * c

    nodes = [custom("Blend", "a b", "y"), custom("Blend", "a b c", "z")]
    ports: Any = {"a": ("float32", ["n", 1, 4]), "b": ("float32", ["m", 1]), "c": ("float32", [])}
    session = session_of(nodes, ports, ["y", "z"])
    feeds = {"a": rng.normal(size=(3, 1, 4)), "b": rng.normal(size=(5, 1)), "c": np.array(2.0)}
    a, b, c = (feeds[name].astype(np.float32) for name in "abc")
    y, z = session.run(None, {"a": a, "b": b, "c": c})
    assert not session.engine.program.host_steps and y.shape == (3, 5, 4)
    assert np.allclose(y, a + b) and np.allclose(z, a + b * c)


def test_any_number_of_elements_and_another_type(rng):
    @sardonyx.operator(DOMAIN, "AllAbove", dtype="bool")
    @njit
    def all_above(*xs):
        return xs[0] > 0 and xs[1] > 0 and xs[2] > 0

    nodes = [custom("AllAbove", "x x y", "z"), helper.make_node("Not", ["z"], ["w"])]
    session = session_of(nodes, {n: ("int64", ["n"]) for n in "xy"}, ["z", "w"])
    x, y = rng.integers(-3, 4, (2, 50))
    z, w = session.run(None, {"x": x, "y": y})
    assert z.dtype == bool and (z == ((x > 0) & (y > 0))).all() and (w == ~z).all()
    assert not session.engine.program.host_steps


def test_neighbours_keep_their_own_kernels(rng):
    sardonyx.operator(DOMAIN, "Softcap")(softcap)
    nodes = [
        helper.make_node("Relu", ["x"], ["a"]), custom("Softcap", "a", "b"),
        helper.make_node("Exp", ["b"], ["y"]),
    ]  # fmt: skip
    session = session_of(nodes, {"x": ("float32", [7])}, ["y"])
    assert [step.op_type for step in session.engine.program.steps] == ["Relu", "Softcap", "Exp"]
    x = rng.normal(size=7).astype(np.float32)
    expected = np.exp(30 * np.tanh(np.maximum(x, 0) / 30))
    assert np.allclose(session.run(None, {"x": x})[0], expected, atol=1e-6)


def register_top(name: str = "Top", version: int = 1) -> None:
    @sardonyx.operator(
        DOMAIN, name, version,
        shape=lambda x, *, k: [
            TensorType(x.dtype, (*x.shape[:-1], k)), TensorType("int64", (None,)),
        ],
    )  # fmt: skip
    def top(x, *, k, names=("a",)):
        assert names == ("a",)
        return np.sort(x, -1)[..., -k:], np.flatnonzero(x > 0)


def test_functions_of_arrays_have_open_sizes_and_several_outputs(rng):
    register_top()
    nodes = [
        helper.make_node("Neg", ["x"], ["n"]), custom("Top", "n", "t i", k=2),
        helper.make_node("Neg", ["t"], ["y"]), helper.make_node("Add", ["i", "i"], ["z"]),
    ]  # fmt: skip
    session = session_of(nodes, {"x": ("float32", ["n", 5])}, ["y", "z"])
    for n in (1, 4, 0, 3):
        x = rng.normal(size=(n, 5)).astype(np.float32)
        y, z = session.run(None, {"x": x})
        assert np.array_equal(y, -np.sort(-x, -1)[:, -2:])
        assert np.array_equal(z, 2 * np.flatnonzero(-x > 0))
    assert session.get_outputs()[0].shape == ["n", 2]
    report = session.profile({"x": x}, runs=2, warmup=0)
    assert any(step.op_type == "Top" and step.layout == "host" for step in report.steps)
    model = sardonyx.load(build(nodes, {"x": ("float32", ["n", 5])}, ["y", "z"]))
    optimized = sardonyx.optimize(model, verify=True)
    types = {value.name: value.dtype for node in optimized.graph for value in node.outputs}
    assert types["y"] == TensorProto.FLOAT and types["z"] == TensorProto.INT64


def test_only_the_second_output_is_wanted(rng):
    register_top()
    session = session_of([custom("Top", "x", "t i", k=1)], {"x": ("float32", [4])}, ["i"])
    x = rng.normal(size=4).astype(np.float32)
    assert np.array_equal(session.run(None, {"x": x})[0], np.flatnonzero(x > 0))


def test_half_precision_stays_what_it_is_for_functions_of_arrays(rng):
    @sardonyx.operator(DOMAIN, "Bits", shape=lambda x: TensorType("int16", x.shape))
    def bits(x):
        return x.view(np.int16)

    nodes = [helper.make_node("Mul", ["x", "x"], ["a"]), custom("Bits", "a", "y")]
    x = rng.normal(size=9).astype(np.float16)
    (y,) = session_of(nodes, {"x": ("float16", ["n"])}, ["y"]).run(None, {"x": x})
    assert np.array_equal(y.view(np.float16), x * x)


def test_sizes_are_computed_of_open_ones():
    @sardonyx.operator(
        DOMAIN, "Halve", shape=lambda x: TensorType(x.dtype, [x.shape[0] // 2, x.shape[1] + 1])
    )
    def halve(x):
        return np.zeros((len(x) // 2, x.shape[1] + 1), x.dtype)

    nodes = [custom("Halve", "x", "y"), helper.make_node("Abs", ["y"], ["z"])]
    session = session_of(nodes, {"x": ("float32", ["n", "m"])}, ["z"])
    assert len(session.engine.program.stretches) == 2  # no size is read off the result
    assert session.run(None, {"x": np.ones((7, 3), np.float32)})[0].shape == (3, 4)


def test_a_rank_that_is_not_known_and_strings():
    sardonyx.operator(DOMAIN, "Join", shape=lambda x, y=None: TensorType(object, x.shape))(
        lambda x, y=None: x + ("!" if y is None else y)
    )
    sardonyx.operator(DOMAIN, "Any", shape=lambda x: TensorType(x.dtype, None))(lambda x: x[0])
    session = session_of(
        [custom("Join", "x", "a"), custom("Join", "a x", "y"), custom("Any", "n", "b"),
         helper.make_node("Abs", ["b"], ["z"])],
        {"x": (object, ["n"]), "n": ("int32", ["m", 2])}, ["y", "z"],
    )  # fmt: skip
    x, n = np.array(["p", "q"], object), np.array([[-1, 2]], np.int32)
    y, z = session.run(None, {"x": x, "n": n})
    assert y.tolist() == ["p!p", "q!q"] and z.tolist() == [1, 2]


def test_inside_a_branch(rng):
    sardonyx.operator(DOMAIN, "Softcap")(softcap)
    register_top()
    value = onnx.ValueInfoProto(name="r")
    then = helper.make_graph([custom("Softcap", "x", "r")], "then", [], [value])
    other = helper.make_graph([custom("Top", "x", "r unused", k=4)], "else", [], [value])
    node = helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)
    session = session_of([node], {"c": ("bool", []), "x": ("float32", [4])}, ["y"])
    x = rng.normal(size=4).astype(np.float32)
    for c in (True, False):
        (y,) = session.run(None, {"c": np.array(c), "x": x})
        assert np.allclose(y, softcap_of(x) if c else np.sort(x), atol=1e-5)


def softcap_of(x: np.ndarray) -> np.ndarray:
    return np.asarray(30 * np.tanh(x / 30))


def test_versions():
    for version in (1, 3):
        sardonyx.operator(DOMAIN, "Scale", version)(
            (lambda x: x * 10) if version == 1 else (lambda x: x * 30)
        )
    sardonyx.operator(DOMAIN, "New", 3)(lambda x: x)
    node, x = custom("Scale", "x", "y"), np.ones(2, np.float32)
    for version, factor in ((1, 10), (2, 10), (3, 30), (9, 30)):
        session = session_of([node], {"x": ("float32", [2])}, ["y"], version)
        assert session.run(None, {"x": x})[0].tolist() == [factor, factor]
    with pytest.raises(sardonyx.UnsupportedModel, match=r"for version 3 of 'my.domain'.*version 2"):
        session_of([custom("New", "x", "y")], {"x": ("float32", [2])}, ["y"], 2)


def test_a_function_that_takes_the_place_of_another_is_for_models_opened_later(own_cache):
    node, x = custom("Scale", "x", "y"), np.ones(2, np.float32)

    def opened(function: Any, **rule: Any) -> sardonyx.Session:
        sardonyx.operator(DOMAIN, "Scale", **rule)(function)
        return session_of([node], {"x": ("float32", [2])}, ["y"])

    sessions = [
        opened(lambda x: x * 2), opened(lambda x: x * 3),
        opened(lambda x: x * np.float32(5), shape=lambda x: x),
        opened(lambda x: x * np.float32(7), shape=lambda x: x),
    ]  # fmt: skip
    assert [s.run(None, {"x": x})[0][0] for s in sessions] == [2, 3, 5, 7]


def test_nothing_of_a_custom_operator_is_kept_on_disk(own_cache):
    sardonyx.operator(DOMAIN, "Softcap")(softcap)
    session = session_of([custom("Softcap", "x", "y")], {"x": ("float32", [2])}, ["y"])
    session.save(own_cache.parent / "model.sdx")
    folder = cache_folder()
    assert folder is not None and not list(folder.glob("programs/*"))
    again = sardonyx.Session(own_cache.parent / "model.sdx", threads=1)
    x = np.ones(2, np.float32)
    assert np.array_equal(again.run(None, {"x": x})[0], session.run(None, {"x": x})[0])
    plain = build([helper.make_node("Abs", ["x"], ["y"])], {"x": ("float32", [2])}, ["y"])
    sardonyx.Session(plain)
    assert len(list(folder.glob("programs/*.program"))) == 1 and kernel_folder() is not None


def test_model_functions_come_first():
    sardonyx.operator(DOMAIN, "Twice")(lambda x: x * 100)
    body = [helper.make_node("Add", ["a", "a"], ["b"])]
    imports = [helper.make_opsetid("", 21)]
    function = helper.make_function(DOMAIN, "Twice", ["a"], ["b"], body, imports)
    nodes = [custom("Twice", "x", "y")]
    session = session_of(nodes, {"x": ("float32", [1])}, ["y"], 1, [function])
    assert session.run(None, {"x": np.ones(1, np.float32)})[0] == [2]


# --- what is wrong ----------------------------------------------------------------------------


def test_an_unknown_operator_says_how_to_register_it():
    with pytest.raises(sardonyx.UnsupportedModel) as error:
        session_of([custom("Nothing", "x", "y")], {"x": ("float32", [1])}, ["y"])
    assert '@sardonyx.operator("my.domain", "Nothing", version=1)' in str(error.value)


@pytest.mark.parametrize("domain", ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"])
def test_built_in_operators_are_refused(domain):
    with pytest.raises(sardonyx.InvalidArgument, match="QuickGelu"):
        sardonyx.operator(domain, "QuickGelu")
    with pytest.raises(sardonyx.InvalidArgument, match="version"):
        sardonyx.operator(DOMAIN, "Ok", 0)


def test_other_operators_of_a_known_domain_can_be_registered():
    sardonyx.operator("com.microsoft", "NoSuchOperator")(lambda x: x + 1)
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], domain="com.microsoft")
    session = session_of([node], {"x": ("float32", [1])}, ["y"])
    assert session.run(None, {"x": np.zeros(1, np.float32)})[0] == [1]


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (custom("Top", "x", "y"), "lacks the attribute 'k'"),
        (custom("Top", "x x", "y", k=1), "has 2 inputs"),
        (custom("Top", "x", "y", k=1, q=2), "no parameter 'q'"),
        (custom("Top", "x", "y z w", k=1), "3 outputs"),
        (custom("Softcap", "x", "y z"), "2 outputs"),
        (custom("Refuses", "x", "y"), "never"),
        (custom("Compares", "x", "y"), "node of Compares"),
        (custom("Gives", "x", "y"), "not a TensorType"),
    ],
)
def test_nodes_that_do_not_fit_the_function_are_refused(node, reason):
    def refuses(x):
        raise ValueError("never")

    sardonyx.operator(DOMAIN, "Softcap")(softcap)
    register_top()
    for name, rule in {
        "Refuses": refuses, "Gives": lambda x: [3], "Compares": lambda x: x.shape[0] > 3 and x
    }.items():  # fmt: skip
        sardonyx.operator(DOMAIN, name, shape=rule)(lambda x: x)
    with pytest.raises(sardonyx.InvalidModel, match=reason):
        session_of([node], {"x": ("float32", ["n"])}, ["y"])


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (lambda x: x.astype(np.float64), r"float64\[3\], its shape rule says float32\[3\]"),
        (lambda x: x[1:], r"float32\[2\], its shape rule says float32\[3\]"),
        (lambda x: x[None], r"float32\[1, 3\]"),
        (lambda x: (x, x), "gives 2 results"),
        (lambda x: None, "is a NoneType"),
        (lambda x: 1 // 0, "division"),
    ],
)
def test_wrong_results_and_exceptions_name_the_node(result, reason):
    sardonyx.operator(DOMAIN, "Wrong", shape=lambda x: x)(result)
    session = session_of([custom("Wrong", "x", "y")], {"x": ("float32", ["n"])}, ["y"])
    for _ in range(2):
        with pytest.raises(sardonyx.KernelError, match="node of Wrong") as error:
            session.run(None, {"x": np.ones(3, np.float32)})
    assert re.search(reason, str(error.value))


def test_a_function_of_elements_that_raises_ends_the_run():
    @sardonyx.operator(DOMAIN, "Strict")
    def strict(x):
        if x < 0:
            raise ValueError("below zero")
        return math.sqrt(x)

    for threads in (1, 2):
        session = session_of(
            [custom("Strict", "x", "y")], {"x": ("float32", ["n"])}, ["y"], threads=threads
        )
        assert session.run(None, {"x": np.full(3, 4, np.float32)})[0].tolist() == [2, 2, 2]
        x = np.full(100_000, 4, np.float32)
        x[77_777] = -1
        with pytest.raises(sardonyx.KernelError, match=r"node of Strict.*raised an exception"):
            session.run(None, {"x": x})
        x[77_777] = 4
        assert (session.run(None, {"x": x})[0] == 2).all()


def test_what_numba_cannot_compile_says_what_to_do():
    sardonyx.operator(DOMAIN, "Files")(lambda x: os.stat(x).st_size)
    with pytest.raises(sardonyx.KernelError, match=r"(?s)my\.domain\.Files.*shape="):
        session_of([custom("Files", "x", "y")], {"x": ("float32", [1])}, ["y"])


# --- other processes --------------------------------------------------------------------------


def test_a_pickled_session_brings_its_module(tmp_path: Path):
    module = """
        import math, sardonyx
        @sardonyx.operator("my.domain", "Softcap")
        def softcap(x, *, cap=30.0):
            return cap * math.tanh(x / cap)
    """
    (tmp_path / "softcaps.py").write_text(textwrap.dedent(module))
    (tmp_path / "m.onnx").write_bytes(
        build([custom("Softcap", "x", "y", cap=1.0)], {"x": ("float32", [1])}, ["y"])
    )
    path = os.pathsep.join([str(tmp_path), *sys.path])
    write = (
        "import softcaps; s = sardonyx.Session('m.onnx'); open('s', 'wb').write(pickle.dumps(s))"
    )
    read = "print(pickle.load(open('s', 'rb'))(np.ones(1, np.float32)))"
    for code in (write, read):
        done = subprocess.run(
            [sys.executable, "-c", f"import pickle, sardonyx, numpy as np; {code}"],
            cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert "0.76159" in done.stdout


def test_a_function_without_a_name_of_its_own_is_not_pickled():
    sardonyx.operator(DOMAIN, "Same")(lambda x: x)
    session = session_of([custom("Same", "x", "y")], {"x": ("float32", [1])}, ["y"])
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(session)
