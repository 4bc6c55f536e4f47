"""Operators whose meaning changed, at each of their old versions, on attributes drawn at random."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import sardonyx
from onnx import helper as oh
from onnx import numpy_helper

F = np.float32
DRAWS = 6


def run(model, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, feeds)


def one_node(opset, op_type, feeds, weights, outputs, attributes):
    names = [f"y{i}" for i in range(outputs)]
    node = oh.make_node(op_type, [*feeds, *weights], names, "n", **attributes)
    inputs = [
        oh.make_tensor_value_info(k, oh.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for k, a in feeds.items()
    ]
    tensors = [numpy_helper.from_array(np.asarray(a), k) for k, a in weights.items()]
    results = [onnx.ValueInfoProto(name=name) for name in names]
    graph = oh.make_graph([node], "g", inputs, results, tensors)
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", opset)], ir_version=4)


def check(opset, op_type, feeds, weights, attributes, expected=None, outputs=1):
    model = one_node(opset, op_type, feeds, weights, outputs, attributes)
    wanted = run(model, feeds) if expected is None else expected
    loaded = sardonyx.load(model)
    assert loaded.graph.opset_imports[""] >= 21
    for have, want in zip(run(ir.to_proto(loaded), feeds), wanted, strict=True):
        assert have.dtype == want.dtype and have.shape == want.shape
        np.testing.assert_allclose(have, want, rtol=1e-4, atol=1e-5)


@pytest.fixture
def x(rng):
    return rng.standard_normal((2, 3, 4, 5)).astype(F)


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "Hardmax"])
def test_softmax_takes_all_axes_from_one_on_as_one(op_type, rng):
    for opset in (1, 7, 9, 11, 12):
        for shape in ((2, 3, 4, 5), (4, 6), (2, 3, 4)):
            x = rng.standard_normal(shape).astype(F)
            lowest = -len(shape) if opset >= 11 else 0
            axes = [{"axis": int(a)} for a in rng.integers(lowest, len(shape), 2)]
            for attributes in ({}, *axes):
                model = one_node(max(opset, 7), op_type, {"x": x}, {}, 1, attributes)
                check(opset, op_type, {"x": x}, {}, attributes, run(model, {"x": x}))


ARITHMETIC = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide,
    "Greater": np.greater, "Less": np.less,
}  # fmt: skip


@pytest.mark.parametrize("op_type", ARITHMETIC)
@pytest.mark.parametrize("is_weight", [False, True])
def test_the_second_operand_broadcasts_from_an_axis(op_type, is_weight, rng, x):
    for _ in range(DRAWS):
        axis = int(rng.integers(0, 4))
        count = int(rng.integers(1, 5 - axis))
        b = rng.uniform(1, 2, x.shape[axis : axis + count]).astype(F)
        full = b.reshape(b.shape + (1,) * (4 - axis - count))
        expected = [ARITHMETIC[op_type](x, full)]
        signed = int(rng.choice([axis, axis - 4]))
        suffix = {} if axis + count == 4 and rng.random() < 0.5 else {"axis": signed}
        feeds, weights = ({"x": x}, {"b": b}) if is_weight else ({"x": x, "b": b}, {})
        for opset in (1, 6) if op_type not in ("Greater", "Less") else (1,):
            check(opset, op_type, feeds, weights, {"broadcast": 1, **suffix}, expected)


def test_batch_normalization_at_every_version(rng):
    for shape in ((2, 3, 4, 5), (2, 3), (2, 3, 6)):
        x = rng.standard_normal(shape).astype(F)
        for spatial in (1, 0):
            sizes = (3,) if spatial else shape[1:]
            scale, bias, mean, variance = (rng.uniform(0.5, 1, sizes).astype(F) for _ in range(4))
            epsilon = float(rng.choice([1e-5, 1e-2]))
            axes = (1, -1) + (1,) * (len(shape) - 2) if spatial else (1, *sizes)
            expected = (x - mean.reshape(axes)) / np.sqrt(variance.reshape(axes) + F(epsilon))
            expected = [expected * scale.reshape(axes) + bias.reshape(axes)]
            weights = {"s": scale, "b": bias, "m": mean, "v": variance}
            for opset in (1, 6, 7, 8) if not spatial else (1, 6, 7, 8, 9, 13):
                attributes = {"epsilon": epsilon, "momentum": 0.8}
                attributes |= {"spatial": spatial} if opset < 9 else {}
                attributes |= {"is_test": 1} if opset < 7 else {}
                attributes |= {"consumed_inputs": [0, 0, 0, 1, 1]} if opset < 6 else {}
                check(opset, "BatchNormalization", {"x": x}, weights, attributes, expected)
            if not spatial:
                flat = {name: array.reshape(-1) for name, array in weights.items()}
                attributes = {"epsilon": epsilon, "spatial": 0, "is_test": 1}
                check(6, "BatchNormalization", {"x": x}, flat, attributes, expected)


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_images_are_resized_as_before(mode, rng, x):
    for _ in range(DRAWS):
        large = [1.0, 1.0, *(float(s) for s in rng.choice([1, 1.5, 2, 2.5, 3], 2))]
        check(7, "Upsample", {"x": x}, {}, {"mode": mode, "scales": large})
        any_size = np.array([1, 1, *rng.choice([0.4, 0.5, 0.6, 1, 2, 2.5], 2)], F)
        for opset, op_type, scales in (
            (9, "Upsample", np.array(large, F)),
            (10, "Resize", any_size),
        ):
            check(opset, op_type, {"x": x}, {"s": scales}, {"mode": mode})
            check(opset, op_type, {"x": x, "s": scales}, {}, {"mode": mode})
        height, width = (float(s) for s in rng.integers(1, 4, 2))
        scales = np.array([1, 1, height, width], F)
        expected = run(
            one_node(9, "Upsample", {"x": x}, {"s": scales}, 1, {"mode": mode}), {"x": x}
        )
        attributes = {"height_scale": height, "width_scale": width}
        attributes["mode"] = {"linear": "bilinear"}.get(mode, mode)
        check(1, "Upsample", {"x": x}, {}, attributes, expected)


def test_slices_and_pads_by_attributes(rng, x):
    for _ in range(DRAWS):
        axes = sorted(int(a) for a in rng.choice(4, int(rng.integers(1, 5)), replace=False))
        starts = [int(rng.integers(-3, 2)) for _ in axes]
        ends = [int(rng.choice([-1, 2, 100, 2**31 - 1])) for _ in axes]
        attributes = {"starts": starts, "ends": ends, "axes": axes}
        cut = [slice(None)] * 4
        for axis, start, end in zip(axes, starts, ends, strict=True):
            cut[axis] = slice(max(start, -x.shape[axis]), end)
        for opset in (1, 9):
            check(opset, "Slice", {"x": x}, {}, attributes, [x[tuple(cut)]])
        pads = [0, 0, *rng.integers(0, 3, 2), 0, 0, *rng.integers(0, 3, 2)]
        pads = [int(p) for p in pads]
        pairs = list(zip(pads[:4], pads[4:], strict=True))
        for mode in ("constant", "edge", "reflect"):
            value = float(rng.integers(-2, 3)) if mode == "constant" else None
            numpys = {} if value is None else {"constant_values": value}
            attributes = {"mode": mode} if value is None else {"mode": mode, "value": value}
            expected = [np.pad(x, pairs, mode, **numpys)]
            check(1, "Pad", {"x": x}, {}, {**attributes, "paddings": pads}, expected)
            for opset in (2, 10):
                check(opset, "Pad", {"x": x}, {}, {**attributes, "pads": pads}, expected)
        shrunk = [0, 0, -1, 0, 0, 0, 0, -1]
        check(2, "Pad", {"x": x}, {}, {"pads": shrunk}, [x[:, :, 1:, :-1]])


def test_operators_that_only_lost_an_attribute_or_got_an_input(rng, x):
    positive = np.abs(x) + F(0.1)
    functions = {
        "Relu": lambda a: np.maximum(a, 0),
        "Exp": np.exp,
        "Sqrt": np.sqrt,
        "Neg": np.negative,
    }
    for op_type, function in functions.items():
        for opset, attributes in ((1, {"consumed_inputs": [0]}), (1, {}), (6, {})):
            check(opset, op_type, {"x": positive}, {}, attributes, [function(positive)])
    for opset, attributes in (
        (1, {"is_test": 1, "ratio": 0.3}),
        (6, {"is_test": 1}),
        (6, {}),
        (7, {"ratio": 0.9}),
        (10, {}),
    ):
        check(opset, "Dropout", {"x": x}, {}, attributes, [x])
    low, high = sorted(float(v) for v in rng.standard_normal(2))
    for opset in (1, 6):
        clipped = [x.clip(F(low), F(high))]
        check(opset, "Clip", {"x": x}, {}, {"min": low, "max": high}, clipped)
    check(1, "Reshape", {"x": x}, {}, {"shape": [0, -1]}, [x.reshape(2, -1)])
    slope = rng.uniform(0.1, 1, 3).astype(F)
    expected = [np.where(x < 0, x * slope.reshape(3, 1, 1), x)]
    for opset in (1, 6):
        check(opset, "PRelu", {"x": x}, {"s": slope}, {}, expected)
        check(opset, "PRelu", {"x": x, "s": slope}, {}, {}, expected)
    for name, kind in (("FLOAT16", np.float16), ("INT32", np.int32), ("BOOL", np.bool_)):
        check(1, "Cast", {"x": 4 * x}, {}, {"to": name}, [(4 * x).astype(kind)])


@pytest.mark.parametrize(
    "name", ["Sum", "Mean", "Max", "Min", "L1", "L2", "LogSumExp", "SumSquare"]
)
def test_reductions_of_drawn_axes(name, rng, x):
    for opset in (7, 11, 13):
        for _ in range(2):
            axes = [int(a) for a in rng.choice(4, int(rng.integers(1, 4)), replace=False)]
            attributes = {"keepdims": int(rng.integers(0, 2))}
            if name == "Sum" and opset == 13:
                check(opset, "ReduceSum", {"x": x}, {"a": np.array(axes)}, attributes)
            else:
                check(opset, f"Reduce{name}", {"x": x}, {}, {**attributes, "axes": axes})
        check(opset, f"Reduce{name}", {"x": x}, {}, {})
