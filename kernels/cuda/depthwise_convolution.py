"""Convolutions of which each filter sees one channel, channels last."""

from __future__ import annotations

from ..fields import Pointer
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_rows
from .memory import LOAD, STORE
from .threads import cuda
from .tiles import NUMBERS


def _launch(f: Fields, limits: Limits) -> Launch:
    pixels = f["images"] * f["out_slices"] * f["out_height"] * f["out_width"]
    return over_rows(pixels, f["groups"] * f["filters"], limits)


@cuda_factory
def depthwise_convolution(kind: str) -> Body:
    """Convolve each of ``groups`` channels with ``filters`` filters of its own, a thread for each.

    The weights lie tap by tap, the filters of all channels side by side; the bias has one element
    for each filter, or is null. Neighbouring threads read neighbouring channels.
    """
    load, store = LOAD[kind], STORE[kind]
    number = NUMBERS[kind]

    def body(
        x: Pointer, w: Pointer, y: Pointer, bias: Pointer, images: int, groups: int, filters: int,
        slices: int, height: int, width: int, out_slices: int, out_height: int, out_width: int,
        kernel_d: int, kernel_h: int, kernel_w: int, stride_d: int, stride_h: int, stride_w: int,
        dilation_d: int, dilation_h: int, dilation_w: int, pad_front: int, pad_top: int,
        pad_left: int, x_image: int, x_slice: int, x_row: int, x_pixel: int, y_image: int,
        y_slice: int, y_row: int, y_pixel: int, status: Pointer,
    ) -> None:  # fmt: skip
        first = cuda.blockIdx.y * cuda.blockDim.y + cuda.threadIdx.y
        column = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
        pixels, channels = images * out_slices * out_height * out_width, groups * filters
        for pixel in range(first, pixels, cuda.gridDim.y * cuda.blockDim.y):
            ow, oh = pixel % out_width, pixel // out_width % out_height
            od = pixel // (out_width * out_height) % out_slices
            image = pixel // (out_width * out_height * out_slices)
            left, top = ow * stride_w - pad_left, oh * stride_h - pad_top
            front = od * stride_d - pad_front
            target = image * y_image + od * y_slice + oh * y_row + ow * y_pixel
            for channel in range(column, channels, cuda.gridDim.x * cuda.blockDim.x):
                source = image * x_image + channel // filters
                total = number(0)
                if bias != 0:
                    total = load(bias, channel)
                for d in range(kernel_d):
                    z = front + d * dilation_d
                    for h in range(kernel_h):
                        v = top + h * dilation_h
                        line = source + z * x_slice + v * x_row
                        tap = (d * kernel_h + h) * kernel_w
                        if 0 <= z < slices and 0 <= v < height:
                            for j in range(kernel_w):
                                u = left + j * dilation_w
                                if 0 <= u < width:
                                    part = load(w, (tap + j) * channels + channel)
                                    total = number(total + load(x, line + u * x_pixel) * part)
                store(y, target + channel, total)

    return Body(body, _launch)
