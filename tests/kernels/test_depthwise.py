from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sardonyx.kernels.cpu.depthwise import depthwise
from sardonyx.kernels.cpu.window import MAX_TAPS, columns_for
from sardonyx.kernels.emitter import CLIP, HARD_SWISH, LEAKY_RELU
from sardonyx.kernels.fields import Depth

CASES = [
    # images, channels, height, width, kernel, stride, pads (t, l, b, r), dilation
    (1, 32, 14, 14, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    (2, 48, 15, 17, (3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    (1, 24, 20, 20, (7, 7), (1, 1), (3, 3, 3, 3), (1, 1)),
    (1, 5, 9, 11, (5, 3), (1, 2), (2, 0, 2, 1), (1, 1)),
    (1, 17, 13, 30, (3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
    (1, 16, 3, 2, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
    (1, 40, 1, 50, (1, 11), (1, 3), (0, 5, 0, 5), (1, 1)),
    (1, 33, 8, 8, (8, 8), (1, 1), (0, 0, 0, 0), (1, 1)),
]
ACTIVATIONS = {
    0: lambda x: x,
    CLIP: lambda x: np.clip(x, -0.5, 1.0),
    LEAKY_RELU: lambda x: np.where(x < 0, x * -0.5, x),
    HARD_SWISH: lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
}
ONE_SLICE = dict.fromkeys(Depth._fields, 0) | dict.fromkeys(
    ("slices", "out_slices", "kernel_d", "stride_d", "dilation_d"), 1
)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_convolves_like_onnxruntime(
    run: Any, expected: Any, rng: np.random.Generator, case: Any, threads: int, activation: int
) -> None:
    images, channels, height, width, kernel, stride, pads, dilation = case
    x = rng.standard_normal((images, channels, height, width)).astype(np.float32)
    w = rng.standard_normal((channels, 1, *kernel)).astype(np.float32)
    bias = rng.standard_normal(channels).astype(np.float32) if activation != CLIP else None
    result = expected(
        "Conv", x, w, bias, strides=stride, pads=pads, dilations=dilation, group=channels
    )
    wide = np.full((images, height, width, channels + 7), np.nan, np.float32)
    wide[..., 3 : 3 + channels] = x.transpose(0, 2, 3, 1)
    view = wide[..., 3 : 3 + channels]
    room = np.full((*np.moveaxis(result, 1, -1).shape[:3], channels + 4), 7, np.float32)
    y = room[..., :-4]
    xs, ys = ([s // 4 for s in t.strides] for t in (view, y))
    taps = kernel[1] if dilation[1] == 1 and kernel[1] <= MAX_TAPS else 0
    code = run(
        depthwise(taps, stride[1], columns_for(y.shape[2])), threads,
        x=view, w=np.ascontiguousarray(w[:, 0].transpose(1, 2, 0)),
        bias=0 if bias is None else bias, y=y, images=images, height=height, width=width,
        channels=channels, out_height=y.shape[1], out_width=y.shape[2],
        kernel_h=kernel[0], kernel_w=kernel[1], stride_h=stride[0], stride_w=stride[1],
        dilation_h=dilation[0], dilation_w=dilation[1], pad_top=pads[0], pad_left=pads[1],
        x_image=xs[0], x_row=xs[1], x_pixel=xs[2], y_image=ys[0], y_row=ys[1], y_pixel=ys[2],
        activation=activation, low=-0.5, high=1.0,
        epilogue=0, epilogue_record=0, epilogue_operands=0, **ONE_SLICE,
    )  # fmt: skip
    assert code == 0
    wanted = ACTIVATIONS[activation](result)
    np.testing.assert_allclose(y.transpose(0, 3, 1, 2), wanted, rtol=1e-4, atol=1e-4)
    assert (room[..., -4:] == 7).all()
