"""Convolutions by mma.sync in the simulator, against onnx.reference."""

import numpy as np
import pytest
from onnx import helper
from onnx.reference import ReferenceEvaluator
from sardonyx.kernels.cuda.simulator.block import launch
from sardonyx.kernels.cuda.simulator.memory import Memory
from sardonyx.kernels.cuda.tensor_cores.convolution import convolution
from sardonyx.kernels.cuda.tensor_cores.epilogue import Epilogue
from sardonyx.kernels.cuda.tensor_cores.float_convolution import float_convolution
from sardonyx.kernels.cuda.tensor_cores.tiles import FloatTile, Tile
from sardonyx.kernels.cuda.tensor_cores.windows import shared_bytes

from .conftest import bank_conflicts, empty, meant, numbers, right_of, stored


def expected(x, w, bias, **attributes):
    """The operator on channels last; filters are (filters, taps, channels)."""
    node = helper.make_node("Conv", ["x", "w", "b"], ["y"], **attributes)
    feeds = {"x": x.transpose(0, 3, 1, 2), "w": w.transpose(0, 3, 1, 2), "b": bias}
    return ReferenceEvaluator(node).run(None, feeds)[0].transpose(0, 2, 3, 1)


def convolve(rng, tile, shape, filters, kernel, stride, dilation, pad, groups=1, epilogue=None):
    images, height, width, channels = shape
    scale, right = 20 if tile.size == 1 else 1, right_of(tile.element)
    x = scale * rng.standard_normal(shape)
    x = stored(np.abs(x) if tile.element == "u8" else x, tile.element)
    w = stored(scale * rng.standard_normal((filters, *kernel, channels // groups)), right)
    bias = rng.standard_normal(filters).astype(np.float32)
    epilogue = epilogue or Epilogue("column")
    out = [
        (size + 2 * p - d * (k - 1) - 1) // s + 1
        for size, p, d, k, s in zip((height, width), pad, dilation, kernel, stride, strict=True)
    ]
    y = empty((images, *out, filters), tile.result)
    memory = Memory()
    addresses = [memory.place(each) for each in (x, w, y, bias)]
    arguments = (
        *addresses, 0, 0, images, height, width, channels // groups, filters // groups,
        *out, *kernel, *stride, *dilation, *pad, x.strides[2], y.strides[2], groups, 0,
    )  # fmt: skip
    pixels = images * out[0] * out[1]
    grid = (-(-pixels // tile.m), -(-(filters // groups) // tile.n), groups)
    body = (float_convolution if tile.element == "f32" else convolution)(tile, epilogue)
    size = shared_bytes(tile)
    blocks = launch(body, grid, tile.threads, arguments, memory, size, finds_races=True)
    right = expected(
        meant(x, tile.element).astype(np.float32),
        meant(w, right).astype(np.float32),
        bias if epilogue.bias else 0 * bias,
        strides=stride, dilations=dilation, pads=[*pad, *pad], group=groups,
    )  # fmt: skip
    limit = {"f32": 2e-5, "i32": 0, "bf16": 2.0**-8, "f16": 2.0**-10}[tile.result]
    error = np.abs(numbers(y, tile.result) - right)
    assert (error <= limit * np.maximum(np.abs(right), 8 if limit else 0)).all(), error.max()
    return blocks


TILE = Tile("bf16", "bf16", 64, 64, 32, 32, 3)


def test_a_window_with_strides_dilations_and_pads(rng):
    convolve(rng, TILE, (2, 9, 7, 24), 40, (3, 2), (2, 1), (1, 2), (1, 2))


def test_pointwise(rng):
    tile = Tile("f16", "f32", 64, 64, 32, 32, 2)
    convolve(rng, tile, (1, 5, 5, 72), 8, (1, 1), (1, 1), (1, 1), (0, 0))


def test_groups(rng):
    convolve(rng, TILE, (1, 6, 6, 32), 48, (3, 3), (1, 1), (1, 1), (1, 1), groups=2)


@pytest.mark.parametrize("element", ["tf32", "s8"])
def test_other_elements(rng, element):
    tile = Tile(element, {"tf32": "f32", "s8": "i32"}[element], 64, 64, 32, 32, 2)
    epilogue = Epilogue("" if element == "s8" else "column")
    convolve(rng, tile, (1, 5, 4, 16), 8, (3, 3), (1, 1), (1, 1), (1, 1), epilogue=epilogue)


@pytest.mark.parametrize("channels", [3, 12])
def test_float32_of_any_number_of_channels(rng, channels):
    tile = FloatTile(64, 64, 3, is_aligned=False)
    convolve(rng, tile, (2, 6, 5, channels), 10, (3, 2), (2, 1), (1, 2), (1, 1))


def test_float32_in_groups(rng):
    convolve(
        rng,
        FloatTile(64, 64, 2, "nk", False),
        (1, 5, 5, 6),
        9,
        (3, 3),
        (1, 1),
        (1, 1),
        (1, 1),
        groups=3,
    )


def test_no_bank_serves_two_lanes_at_once(rng):
    lost = bank_conflicts(convolve(rng, TILE, (1, 8, 8, 64), 64, (1, 1), (1, 1), (1, 1), (0, 0)))
    assert not any(lost.values()), lost
