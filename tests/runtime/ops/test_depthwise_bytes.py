"""Depthwise convolutions of bytes whose windows reach beyond images, against whole numbers."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper

F32 = np.float32
LIMITS = {np.uint8: (0, 255), np.int8: (-128, 127)}


def model(
    channels: int, arrays: dict[str, np.ndarray], attributes: dict[str, object]
) -> onnx.ModelProto:
    """A QLinearConv of a group for each channel, of images of any size."""
    inputs = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
    node = helper.make_node("QLinearConv", inputs, ["y"], group=channels, **attributes)
    kind = helper.np_dtype_to_tensor_dtype(arrays["xz"].dtype)
    graph = helper.make_graph(
        [node], "depthwise",
        [helper.make_tensor_value_info("x", kind, ["N", channels, "H", "W"])],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(v, k) for k, v in arrays.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def sums(x: np.ndarray, w: np.ndarray, own: dict[str, list[int]]) -> np.ndarray:
    """Sums of a depthwise convolution of whole numbers."""
    (sh, sw), (dh, dw), (top, left, bottom, right) = own["strides"], own["dilations"], own["pads"]
    x = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    kh, kw = w.shape[2:]
    height = (x.shape[2] - (kh - 1) * dh - 1) // sh + 1
    width = (x.shape[3] - (kw - 1) * dw - 1) // sw + 1
    total = np.zeros((*x.shape[:2], height, width), np.int64)
    for i in range(kh):
        for j in range(kw):
            rows = slice(i * dh, i * dh + (height - 1) * sh + 1, sh)
            columns = slice(j * dw, j * dw + (width - 1) * sw + 1, sw)
            total += x[:, :, rows, columns] * w[None, :, 0, i, j, None, None]
    return total


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("kernel", [(5, 5), (3, 3), (7, 3), (3, 7)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2])
def test_rows_of_padding(kind: type, kernel: tuple[int, int], stride: int, dilation: int) -> None:
    low, high = LIMITS[kind]
    rng = np.random.default_rng([low + 128, *kernel, stride, dilation])
    for channels in (16, 24, 37):
        reach = [(k - 1) * dilation for k in kernel]
        pads = [int(rng.integers(r // 2, r + 1)) for r in reach] * 2
        own = {"strides": [stride, stride], "dilations": [dilation, dilation], "pads": pads}
        w = rng.integers(-127, 128, (channels, 1, *kernel)).astype(np.int8)
        zero, bias = int(rng.integers(low, high + 1)), rng.integers(-3000, 3000, channels)
        arrays = {
            "xs": F32(0.02), "xz": np.array(zero, kind), "w": w, "wz": np.zeros(channels, np.int8),
            "ws": rng.uniform(0.001, 0.01, channels).astype(np.float32), "ys": F32(0.013),
            "yz": np.array(low + 100, kind), "b": bias.astype(np.int32),
        }  # fmt: skip
        arrays = {name: np.asarray(value) for name, value in arrays.items()}
        proto = model(channels, arrays, own)
        other = onnxruntime.InferenceSession(proto.SerializeToString())
        sessions = [sardonyx.Session(proto, threads=threads) for threads in (1, 2)]
        for height, width in ((1, 9), (2, 11), (3, 4), (4, 1), (9, 13)):
            if (
                min(n + 2 * p - r for n, p, r in zip((height, width), pads, reach, strict=False))
                < 1
            ):
                continue
            x = rng.integers(low, high + 1, (2, channels, height, width)).astype(kind)
            total = sums(x.astype(np.int64) - zero, w.astype(np.int64), own)
            total += bias[None, :, None, None]
            factors = F32(0.02) * arrays["ws"] / F32(0.013)
            real = total * factors.astype(np.float64)[None, :, None, None]
            wanted = np.clip(np.rint(real) + low + 100, low, high)
            in_the_middle = np.abs(real - np.floor(real) - 0.5) < 1e-3
            for session in sessions:
                (found,) = session.run(None, {"x": x})
                assert (np.abs(found - wanted) <= in_the_middle).all()
            assert np.abs(found.astype(int) - other.run(None, {"x": x})[0]).max() <= 1


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("channels", [1, 3, 7, 9, 40])
@pytest.mark.parametrize("case", ["plain", "large bias", "no bias", "pads beyond the window"])
def test_channels_and_biases(kind: type, channels: int, case: str) -> None:
    """Fewer channels than lanes; biases that floats are not exact with; one scale for all."""
    low, high = LIMITS[kind]
    rng = np.random.default_rng([channels, low + 128])
    pads = [4, 5, 3, 4] if case == "pads beyond the window" else [1, 2, 1, 0]
    own = {"strides": [1, 1], "dilations": [1, 1], "pads": pads}
    w = rng.integers(-127, 128, (channels, 1, 3, 3)).astype(np.int8)
    zero = int(rng.integers(low, high + 1))
    bias = rng.integers(-3000, 3000, channels)
    if case == "large bias":
        bias[0] = 2**30 + 1
    arrays = {
        "xs": F32(0.02), "xz": np.array(zero, kind), "w": w, "wz": np.int8(0),
        "ws": F32(0.004), "ys": F32(0.03), "yz": np.array(low + 90, kind),
    }  # fmt: skip
    if case != "no bias":
        arrays["b"] = bias.astype(np.int32)
    arrays = {name: np.asarray(value) for name, value in arrays.items()}
    proto = model(channels, arrays, own)
    if case == "no bias":
        del proto.graph.node[0].input[8]
    for threads in (1, 2):
        session = sardonyx.Session(proto, threads=threads)
        for height, width in ((1, 1), (2, 3), (5, 17), (8, 8)):
            x = rng.integers(low, high + 1, (2, channels, height, width)).astype(kind)
            total = sums(x.astype(np.int64) - zero, w.astype(np.int64), own)
            total += 0 if case == "no bias" else bias[None, :, None, None]
            real = total * np.float64(F32(0.02) * F32(0.004) / F32(0.03))
            wanted = np.clip(np.rint(real) + low + 90, low, high)
            in_the_middle = np.abs(real - np.floor(real) - 0.5) < 1e-3
            (found,) = session.run(None, {"x": x})
            assert (np.abs(found - wanted) <= in_the_middle).all()


@pytest.mark.parametrize("taps", [1, 3])
def test_slices_beyond_volumes(taps: int) -> None:
    """Where a window has no slice of the image its results are those of the bias alone."""
    rng = np.random.default_rng(taps)
    channels, zero, bias = 24, 140, rng.integers(-3000, 3000, 24)
    own = {"strides": [1, 1], "dilations": [1, 1], "pads": [1, 1, 1, 1]}
    w = rng.integers(-127, 128, (channels, 1, taps, 3, 3)).astype(np.int8)
    arrays = {
        "xs": F32(0.02), "xz": np.uint8(zero), "w": w, "wz": np.int8(0), "ws": F32(0.004),
        "ys": F32(0.03), "yz": np.uint8(90), "b": bias.astype(np.int32),
    }  # fmt: skip
    proto = model(
        channels, {k: np.asarray(v) for k, v in arrays.items()}, {"pads": [taps, 1, 1] * 2}
    )
    dims = proto.graph.input[0].type.tensor_type.shape.dim
    dims.add().dim_param = "D"
    x = rng.integers(0, 256, (1, channels, 4, 6, 11)).astype(np.uint8)
    padded = np.full((1, channels, 4 + 2 * taps, 6, 11), zero, np.int64)
    padded[:, :, taps:-taps] = x
    (found,) = sardonyx.Session(proto, threads=1).run(None, {"x": x})
    for d in range(found.shape[2]):
        slices = [padded[:, :, d + k] - zero for k in range(taps)]
        total = sum(sums(each, w[:, :, k].astype(np.int64), own) for k, each in enumerate(slices))
        real = (total + bias[None, :, None, None]) * np.float64(F32(0.02) * F32(0.004) / F32(0.03))
        in_the_middle = np.abs(real - np.floor(real) - 0.5) < 1e-3
        wanted = np.clip(np.rint(real) + 90, 0, 255)
        assert (np.abs(found[:, :, d] - wanted) <= in_the_middle).all()
