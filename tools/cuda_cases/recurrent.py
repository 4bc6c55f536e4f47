"""Recurrent layers on the simulated GPU against those of the CPU, and plain ones against onnx's."""

import numpy as np
from onnx import helper

from ...errors import SardonyxError
from .both import same_as_cpu
from .cases import parametrize, raises, rng
from .runs import check, floats

node = helper.make_node
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
SIZE, FEATURES, BATCH, STEPS = 5, 3, 2, 4


def layer(operator, directions=1, dtype=np.float32):
    gates = GATES[operator]
    shapes = {"w": (gates * SIZE, FEATURES), "r": (gates * SIZE, SIZE), "b": (2 * gates * SIZE,)}
    return {
        name: floats(directions, *shape, seed=seed).astype(dtype) / 2
        for seed, (name, shape) in enumerate(shapes.items())
    }


@parametrize("operator", ["LSTM", "GRU", "RNN"])
def case_layers(operator):
    x = {"x": floats(STEPS, BATCH, FEATURES)}
    one = node(operator, ["x", "w", "r", "b"], ["y", "h"], hidden_size=SIZE)
    check([one], x, layer(operator))
    given = x | layer(operator)  # weights that the run gives
    same_as_cpu(one, given, {})


@parametrize("operator", ["LSTM", "GRU", "RNN"])
@parametrize("layout", [0, 1])
def case_directions_lengths_and_initial_states(operator, layout):
    def ordered(array):
        return array.swapaxes(0, 1) if layout else array

    feeds = {"x": ordered(floats(STEPS, BATCH, FEATURES)), "l": np.array([4, 2], np.int32),
             "h0": ordered(floats(2, BATCH, SIZE, seed=5))}  # fmt: skip
    inputs, outputs = ["x", "w", "r", "b", "l", "h0"], ["y", "h"]
    if operator == "LSTM":
        inputs, outputs = [*inputs, "c0"], [*outputs, "c"]
        feeds["c0"] = ordered(floats(2, BATCH, SIZE, seed=6))
    one = node(operator, inputs, outputs, hidden_size=SIZE, direction="bidirectional",
               layout=layout)  # fmt: skip
    session = same_as_cpu(one, feeds, layer(operator, 2))
    with raises(SardonyxError, match="out of range"):
        session.run(None, {**feeds, "l": np.array([4, 5], np.int32)})


def case_options_of_cells():
    x = {"x": floats(STEPS, BATCH, FEATURES)}
    linear = node("GRU", ["x", "w", "r", "b"], ["y"], hidden_size=SIZE, linear_before_reset=1,
                  clip=0.3)  # fmt: skip
    same_as_cpu(linear, x, layer("GRU"))
    weights = layer("LSTM") | {"p": floats(1, 3 * SIZE, seed=7)}
    for coupled in (0, 1):
        one = node("LSTM", ["x", "w", "r", "b", "", "", "", "p"], ["", "h", "c"],
                   hidden_size=SIZE, input_forget=coupled, direction="reverse")  # fmt: skip
        same_as_cpu(one, x, weights)


@parametrize("names", [
    ["Affine", "Elu"], ["HardSigmoid", "LeakyRelu"], ["Relu", "ScaledTanh"],
    ["Softplus", "Softsign"], ["ThresholdedRelu", "Sigmoid"],
])  # fmt: skip
def case_activations_of_two_directions(names):
    x = {"x": floats(STEPS, BATCH, FEATURES)}
    one = node("RNN", ["x", "w", "r"], ["y"], hidden_size=SIZE, direction="bidirectional",
               activations=names)  # fmt: skip
    same_as_cpu(one, x, layer("RNN", 2))


def case_float64_and_no_steps():
    x = {"x": floats(STEPS, BATCH, FEATURES).astype(np.float64)}
    one = node("LSTM", ["x", "w", "r", "b"], ["y", "h", "c"], hidden_size=SIZE)
    same_as_cpu(one, x, layer("LSTM", dtype=np.float64))
    for shape in ((0, BATCH, FEATURES), (STEPS, 0, FEATURES)):
        same_as_cpu(one, {"x": floats(*shape)}, layer("LSTM"))


@parametrize("options", [{}, {"direction": "bidirectional"}])
@parametrize("dtype", ["int8", "uint8"])
def case_weights_of_bytes(dtype, options):
    numbers = rng()
    directions = 1 + bool(options)
    weights = {}
    for name, depth in (("w", FEATURES), ("r", SIZE)):
        info = np.iinfo(dtype)
        drawn = numbers.integers(info.min, info.max + 1, (directions, depth, 4 * SIZE))
        scales = numbers.uniform(0.5, 1, (directions, 4 * SIZE)) / 128
        weights |= {name: drawn.astype(dtype), f"{name}s": scales.astype(np.float32)}
        weights[f"{name}z"] = np.full((directions, 4 * SIZE), 3, dtype)
    weights["b"] = floats(directions, 8 * SIZE)
    names = ["x", "w", "r", "b", "l", "", "", "", "ws", "wz", "rs", "rz"]
    one = node("DynamicQuantizeLSTM", names, ["y", "h", "c"], domain="com.microsoft",
               hidden_size=SIZE, **options)  # fmt: skip
    feeds = {"x": floats(STEPS, BATCH, FEATURES), "l": np.array([4, 3], np.int32)}
    same_as_cpu(one, feeds, weights)
