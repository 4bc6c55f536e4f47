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
