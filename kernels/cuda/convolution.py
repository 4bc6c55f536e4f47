"""Convolutions as products whose left operand is gathered: implicit GEMM, channels last."""

from __future__ import annotations

from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .tiles import Operand, Tile, kernel_of_tile, launch_of

SIZES = (
    "images", "channels", "filters", "groups", "slices", "height", "width", "out_slices",
    "out_height", "out_width",
)  # fmt: skip
WINDOW = (
    "kernel_d", "kernel_h", "kernel_w", "stride_d", "stride_h", "stride_w", "dilation_d",
    "dilation_h", "dilation_w", "pad_front", "pad_top", "pad_left",
)  # fmt: skip
STRIDES = tuple(f"{name}_{axis}" for name in "xy" for axis in ("image", "slice", "row", "pixel"))

_HEAD = [
    "batches, columns = groups, filters",
    "rows = images * out_slices * out_height * out_width",
    "depth = kernel_d * kernel_h * kernel_w * channels",
    "w_row, w_column, bias_column, y_column = groups * filters, 1, 1, 1",
]
_PIXEL = [
    "out_column, out_row = m % out_width, m // out_width % out_height",
    "out_slice = m // (out_width * out_height) % out_slices",
    "image = m // (out_width * out_height * out_slices)",
]
_LEFT = Operand(
    row=_PIXEL,
    element=[
        "channel, tap = k % channels, k // channels",
        "at_column = out_column * stride_w - pad_left + tap % kernel_w * dilation_w",
        "at_row = out_row * stride_h - pad_top + tap // kernel_w % kernel_h * dilation_h",
        "tap_d = tap // (kernel_w * kernel_h)",
        "at_slice = out_slice * stride_d - pad_front + tap_d * dilation_d",
        "inside = 0 <= at_column < width and 0 <= at_row < height and 0 <= at_slice < slices",
        "place = image * x_image + at_slice * x_slice + at_row * x_row + at_column * x_pixel",
        "place += b * channels + channel",
    ],
)
_TARGET = [
    "w_first = bias_first = b * filters",
    *_PIXEL,
    "y_first = image * y_image + out_slice * y_slice + out_row * y_row + out_column * y_pixel",
    "y_first += b * filters",
]


@cuda_factory
def convolution(kind: str, bm: int, bn: int, bk: int, tm: int, tn: int) -> Body:
    """Convolve images or volumes, whose channels have stride 1, with dense weights.

    ``channels`` and ``filters`` are those of a group; the weights lie tap by tap, channel by
    channel, the filters of all groups side by side; the bias has one element for each filter, or
    is null.
    """
    tile = Tile(bm, bn, bk, tm, tn)
    parameters = ("x", "w", "y", "bias", *SIZES, *WINDOW, *STRIDES)
    body = kernel_of_tile(tile, kind, parameters, _HEAD, _LEFT, _TARGET)
    body.__module__, body.__qualname__ = __name__, "convolution"

    def launch(f: Fields, limits: Limits) -> Launch:
        pixels = f["images"] * f["out_slices"] * f["out_height"] * f["out_width"]
        return launch_of(tile, f, limits, (f["groups"], pixels, f["filters"]))

    return Body(body, launch)
