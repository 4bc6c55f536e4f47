"""Recurrent operators on the host against onnxruntime: functions, clipping, lengths, directions."""

import numpy as np
import onnxruntime
import pytest
import sardonyx
from onnx import TensorProto, helper

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
STEPS, BATCH, INPUTS, SIZE = 6, 3, 4, 5


def arrays(rng, operator, directions, optional):
    shapes = {
        "X": (STEPS, BATCH, INPUTS),
        "W": (directions, GATES[operator] * SIZE, INPUTS),
        "R": (directions, GATES[operator] * SIZE, SIZE),
        "B": (directions, 2 * GATES[operator] * SIZE),
        "initial_h": (directions, BATCH, SIZE),
        "initial_c": (directions, BATCH, SIZE),
        "P": (directions, 3 * SIZE),
    }
    values = {
        name: (rng.standard_normal(shape) / 2).astype(np.float32)
        for name, shape in shapes.items()
        if name in ("X", "W", "R", *optional)
    }
    if "sequence_lens" in optional:
        values["sequence_lens"] = np.array([4, 6, 1], np.int32)
    return values


def agree(rng, operator, optional=("B",), **attributes):
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    feeds = arrays(rng, operator, directions, optional)
    order = ["X", "W", "R", "B", "sequence_lens", "initial_h"]
    order += ["initial_c", "P"] if operator == "LSTM" else []
    inputs = [name if name in feeds else "" for name in order]
    outputs = ["Y", "Y_h", "Y_c"] if operator == "LSTM" else ["Y", "Y_h"]
    node = helper.make_node(operator, inputs, outputs, hidden_size=SIZE, **attributes)
    kinds = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}
    ports = [
        helper.make_tensor_value_info(name, kinds[array.dtype.name], array.shape)
        for name, array in feeds.items()
    ]
    results = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs]
    graph = helper.make_graph([node], "recurrent", ports, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    data = model.SerializeToString()
    expected = onnxruntime.InferenceSession(data).run(None, feeds)
    for a, b in zip(sardonyx.Session(data).run(None, feeds), expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("optional", [(), ("B",), ("B", "sequence_lens"), ("B", "initial_h")])
def test_directions(rng, operator, direction, optional):
    agree(rng, operator, optional, direction=direction)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
@pytest.mark.parametrize(
    "optional",
    [("initial_h", "initial_c"), ("B", "P"), ("B", "sequence_lens", "initial_h", "initial_c", "P")],
)
def test_cells_and_peepholes(rng, direction, optional):
    agree(rng, "LSTM", optional, direction=direction)


def test_coupled_gates(rng):
    agree(rng, "LSTM", ("B", "initial_c"), input_forget=1)


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_reset_after_the_product(rng, direction):
    agree(rng, "GRU", ("B", "initial_h"), linear_before_reset=1, direction=direction)


@pytest.mark.parametrize("operator", GATES)
def test_clipping(rng, operator):
    agree(rng, operator, ("B", "initial_h"), clip=0.3)


@pytest.mark.parametrize(
    ("names", "alphas", "betas"),
    [
        (["Relu", "Tanh", "Tanh"], None, None),
        (["HardSigmoid", "Softsign", "Tanh"], None, None),
        (["Sigmoid", "LeakyRelu", "Elu"], [0.3, 0.7], None),
        (["HardSigmoid", "ScaledTanh", "Affine"], [0.3, 0.7, 0.9], [0.4, 0.8, 0.1]),
        (["Sigmoid", "Softplus", "ThresholdedRelu"], [0.2], None),
    ],
)
@pytest.mark.parametrize("operator", GATES)
def test_functions(rng, operator, names, alphas, betas):
    count = {"RNN": 1, "GRU": 2, "LSTM": 3}[operator]
    numbers = {"activation_alpha": alphas, "activation_beta": betas}
    agree(
        rng, operator, ("B", "initial_h"), activations=names[:count],
        **{key: value for key, value in numbers.items() if value is not None},
    )  # fmt: skip
