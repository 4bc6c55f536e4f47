"""Element types of 16 bits and fewer: compiled, and rounded as the standard has it."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
import sardonyx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from ...reference import draw_images, draw_layers, draw_movement  # noqa: F401  (they fill the table)
from ...reference.drawing import DRAWN
from ...reference.witness import difference, ours

FLOATS = "FLOAT8E4M3FN FLOAT8E4M3FNUZ FLOAT8E5M2 FLOAT8E5M2FNUZ FLOAT4E2M1".split()  # noqa: SIM905
INTEGERS = {"INT4": (-8, 7), "UINT4": (0, 15), "INT2": (-2, 1), "UINT2": (0, 3)}
HALVES = {"FLOAT16": np.dtype(np.float16), "BFLOAT16": np.dtype(ml_dtypes.bfloat16)}
STRICT = """AveragePool Conv CumSum Gelu GlobalAveragePool LayerNormalization LogSoftmax MatMul
MaxPool NonZero OneHot ReduceMean Resize ScatterElements Softmax TopK""".split()  # noqa: SIM905


def cast(source: str, target: str, **attributes) -> onnx.ModelProto:
    kinds = [TensorProto.DataType.Value(name) for name in (source, target)]
    x, y = (helper.make_tensor_value_info(*port, ["n"]) for port in zip("xy", kinds, strict=True))
    node = helper.make_node("Cast", ["x"], ["y"], to=kinds[1], **attributes)
    opset = [helper.make_opsetid("", 25)]
    return helper.make_model(
        helper.make_graph([node], "cast", [x], [y]), opset_imports=opset, ir_version=12
    )


def run(model: onnx.ModelProto, x: np.ndarray, precision: str = "strict") -> np.ndarray:
    session = sardonyx.Session(model, threads=1, precision=precision)
    assert not session.engine.program.metadata["host"]
    (y,) = session.run(None, {"x": x})
    return y


def same(found: np.ndarray, wanted: np.ndarray) -> None:
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found.astype(np.float64), wanted.astype(np.float64))


def array_type(name: str) -> np.dtype:
    return helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(name))


def numbers(rng) -> np.ndarray:
    """Floats of all sizes, among them ties, limits, NaN, infinities and denormal numbers."""
    upper = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)
    near = np.nextafter(upper, np.float32(0))
    return np.concatenate([upper, near, rng.standard_normal(1000).astype(np.float32)])


@pytest.mark.parametrize("operator", ["Identity", "Transpose", "Where"])
@pytest.mark.parametrize("name", ["FLOAT8E4M3FNUZ", "FLOAT8E5M2", *HALVES])
def test_what_only_moves_keeps_the_bits_of_what_is_no_number(name, operator):
    if operator == "Where" and name not in HALVES:
        pytest.skip("the standard has none")
    dtype, kind = array_type(name), TensorProto.DataType.Value(name)
    bits = np.arange(256, dtype=np.uint8)
    if dtype.itemsize == 2:
        bits = np.arange(1 << 16, dtype=np.uint16)[::8]
    x = bits.reshape(2, -1)
    condition = np.arange(x.size).reshape(x.shape) % 3 == 0
    names = ["c", "x", "x0"] if operator == "Where" else ["x"]
    ports = {"c": TensorProto.BOOL, "x": kind, "x0": kind}
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"])],
        "moves",
        [helper.make_tensor_value_info(n, ports[n], ["a", 1 if n == "x0" else "b"]) for n in names],
        [helper.make_tensor_value_info("y", kind, None)],
    )
    opset = [helper.make_opsetid("", 24)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=11)
    session = sardonyx.Session(model, threads=1, precision="strict")
    assert not session.engine.program.metadata["host"]
    feeds = {"c": condition, "x": x.view(dtype), "x0": x[:, :1].copy().view(dtype)}
    (y,) = session.run(None, {n: feeds[n] for n in names})
    wanted = {
        "Identity": x, "Transpose": x.transpose(), "Where": np.where(condition, x, x[:, :1])
    }  # fmt: skip
    np.testing.assert_array_equal(y.view(bits.dtype), wanted[operator])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("saturate", [0, 1])
@pytest.mark.parametrize("name", FLOATS)
def test_floats_of_few_bits_are_rounded_and_saturate(rng, name, saturate):
    x = numbers(rng)
    attributes = {} if name == "FLOAT4E2M1" else {"saturate": saturate}
    model = cast("FLOAT", name, **attributes)
    (wanted,) = ReferenceEvaluator(model).run(None, {"x": x})
    same(run(model, x), wanted)


@pytest.mark.parametrize("target", ["FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT32", "BOOL"])
@pytest.mark.parametrize("name", [*FLOATS, *INTEGERS, "FLOAT8E8M0"])
def test_types_of_few_bits_become_others(name, target):
    count = 256 if "FLOAT8" in name else 4 if name.endswith("2") else 16
    x = np.arange(count, dtype=np.uint8).view(array_type(name))
    wide = x.astype(np.float64)
    x = x[np.abs(wide) < 1 << 31] if target == "INT32" else x
    model = cast(name, target)
    with np.errstate(all="ignore"):
        (wanted,) = ReferenceEvaluator(model).run(None, {"x": x})
    same(run(model, x), wanted)


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_lose_their_higher_bits(name):
    x = np.arange(-300, 300, dtype=np.int32)
    same(run(cast("INT32", name), x), x.astype(array_type(name)))


def test_powers_of_two_by_all_ways_of_rounding():
    x = np.array([0, 1, 1.25, 1.5, 1.75, 3, np.inf, np.nan, 3.2e38, 2.0**-127, 1e-40], np.float32)
    wanted = {
        ("up", 1): [0, 127, 128, 128, 128, 129, 254, 255, 254, 0, 0],
        ("down", 1): [0, 127, 127, 127, 127, 128, 254, 255, 254, 0, 0],
        ("nearest", 1): [0, 127, 127, 128, 128, 129, 254, 255, 254, 0, 0],
        ("nearest", 0): [255, 127, 127, 128, 128, 129, 255, 255, 255, 0, 255],
    }
    for (way, saturate), codes in wanted.items():
        found = run(cast("FLOAT", "FLOAT8E8M0", round_mode=way, saturate=saturate), x)
        assert found.view(np.uint8).tolist() == codes, way


@pytest.mark.parametrize("precision", ["strict", "fp32"])
def test_the_smallest_powers_of_two_stay_apart(precision):
    """They are denormal as float32, which only strict precision computes with."""
    least = 2.0**-127
    x = np.array([0, least / 2, least, least * (1 + 1e-12), least * 1.5, least * 2, least * 2.1])
    wanted = {
        ("up", 1): [0, 0, 0, 1, 1, 1, 2],
        ("down", 1): [0, 0, 0, 0, 0, 1, 1],
        ("nearest", 0): [255, 255, 0, 0, 1, 1, 1],
    }
    for (way, saturate), codes in wanted.items():
        model = cast("DOUBLE", "FLOAT8E8M0", round_mode=way, saturate=saturate)
        assert run(model, x, precision).view(np.uint8).tolist() == codes, way
    powers = np.arange(3, dtype=np.uint8).view(array_type("FLOAT8E8M0"))
    same(
        run(cast("FLOAT8E8M0", "DOUBLE"), powers, precision),
        np.array([least, 2 * least, 4 * least]),
    )
    same(run(cast("FLOAT8E8M0", "BOOL"), powers, precision), np.ones(3, bool))


@pytest.mark.parametrize("name", [*FLOATS, *INTEGERS, "FLOAT8E8M0"])
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "wrap"])
def test_types_of_few_bits_are_padded_by_a_kernel(name, mode):
    x = np.arange(1, 4, dtype=np.uint8).view(np.uint8)
    x = (
        (x if name in FLOATS or name == "FLOAT8E8M0" else x - 2)
        .astype(np.int8)
        .astype(array_type(name))
    )
    given = {"constant": [x[1]] * 2, "edge": [x[0]] * 2, "reflect": x[2:0:-1], "wrap": x[1:]}[mode]
    code = TensorProto.DataType.Value(name)
    pads = onnx.numpy_helper.from_array(np.array([2, 0]), "p")
    value = onnx.numpy_helper.from_array(x[1], "v")
    node = helper.make_node(
        "Pad", ["x", "p", *(["v"] if mode == "constant" else [])], ["y"], mode=mode
    )
    ports = [helper.make_tensor_value_info(port, code, ["n" + port]) for port in "xy"]
    graph = helper.make_graph([node], "pad", ports[:1], ports[1:], [pads, value])
    opset = [helper.make_opsetid("", 25)]
    same(
        run(helper.make_model(graph, opset_imports=opset, ir_version=12), x),
        np.concatenate([given, x]),
    )


@pytest.mark.parametrize("name", HALVES)
def test_double_is_rounded_once(name):
    ulp = 2.0 ** (-10 if name == "FLOAT16" else -7)
    x = np.array([1 + ulp / 2, 1 + ulp / 2 + 1e-12, 1 + ulp / 2 - 1e-12, -1 - ulp / 2 - 1e-12])
    wanted = np.array([1, 1 + ulp, 1, -1 - ulp]).astype(HALVES[name])
    same(run(cast("DOUBLE", name), x), wanted)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", HALVES)
@pytest.mark.parametrize("operator", STRICT)
def test_operators_on_halves_round_once_in_strict_precision(name, operator):
    """Each operator that has a kernel for float32 gives what it gives in float32, rounded."""
    from ... import operators

    for draw, case in operators.cases_of("", operator, HALVES[name].name):
        model = operators.model_of(draw, case)
        try:
            session = sardonyx.Session(model, threads=1, precision="strict", optimize="none")
        except sardonyx.InvalidModel:
            continue  # a case that onnx's inference does not take
        assert not session.engine.program.metadata["host"], (operator, case.attributes)
        feeds = {port.name: case.inputs[int(port.name[1:])] for port in model.graph.input}
        for found, wanted in zip(session.run(None, feeds), ours(draw, case), strict=True):
            assert found.dtype == wanted.dtype
            assert not difference(wanted, found, case), (operator, case.attributes)


def test_every_strict_operator_is_drawn():
    assert all(("", name) in DRAWN for name in STRICT)


@pytest.mark.parametrize("kind", ["float32", "float16"])
def test_quantization_by_blocks_and_to_few_bits(rng, kind):
    x = rng.standard_normal((3, 10)).astype(kind)
    scale = np.abs(rng.standard_normal((3, 3))).astype(kind) + np.ones(1, kind)
    code = TensorProto.FLOAT if kind == "float32" else TensorProto.FLOAT16
    for target in (TensorProto.INT4, TensorProto.UINT8, TensorProto.FLOAT8E4M3FN):
        nodes = [
            helper.make_node("QuantizeLinear", ["x", "s"], ["q"], axis=1, block_size=4,
                             output_dtype=target),
            helper.make_node("DequantizeLinear", ["q", "s"], ["y"], axis=1, block_size=4),
        ]  # fmt: skip
        ports = [
            helper.make_tensor_value_info(n, code, s) for n, s in (("x", [3, 10]), ("s", [3, 3]))
        ]
        outputs = [
            helper.make_tensor_value_info(n, t, [3, 10]) for n, t in (("q", target), ("y", code))
        ]
        model = helper.make_model(
            helper.make_graph(nodes, "blocks", ports, outputs),
            opset_imports=[helper.make_opsetid("", 23)], ir_version=11,
        )  # fmt: skip
        from sardonyx.reference import OPERATORS

        feeds = {"x": x, "s": scale}
        session = sardonyx.Session(model, threads=1, precision="strict", optimize="none")
        assert not session.engine.program.metadata["host"]
        wanted = ReferenceEvaluator(model, new_ops=OPERATORS).run(None, feeds)
        for found, expected in zip(session.run(None, feeds), wanted, strict=True):
            same(found, expected)


def test_bfloat16_outputs_of_a_cached_program(tmp_path, monkeypatch, rng):
    """A program that is read from the cache knows types that numpy alone does not have."""
    import subprocess
    import sys

    path = tmp_path / "m.onnx"
    onnx.save(cast("FLOAT", "BFLOAT16"), path)
    text = (
        "import numpy as np, sardonyx;"
        f"session = sardonyx.Session({str(path)!r}, threads=1);"
        "print(session.run(None, {'x': np.ones(3, np.float32)})[0].dtype)"
    )
    found = [
        subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert [each.stdout.split()[0] for each in found] == ["bfloat16"] * 2
