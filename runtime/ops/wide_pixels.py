"""Convolutions of few channels as those of wide pixels, which fill vectors, and words of bytes.

Results of few channels fill a part of a vector, and images of less than four channels a part of a
word. Neighbours along a row may count as channels: ``joined`` pixels of the result as one, by a
window that is so many steps wider, and as many pixels of the image as make whole words. What the
window has more than before meets weights of zero.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from ...kernels.cpu import packing
from ...kernels.machine_costs import machine_costs
from ...kernels.target import LANES
from ..emission import Emission
from ..strides import channels_last_order, contiguous_strides, same_strides
from ..symbolic import Dim, maximum
from ..tensors import Tensor
from .convolution import Convolution
from .epilogue import Epilogue
from .forms import emit_convolution
from .pad import emit_padded
from .windows import Along, Window

QUAD, PAIR, SINGLE = 4, 2, 1
"""Channels in a word: of bytes, of integers of 16 bits, and of float32."""
_ROWS = 64
"""Stands for rows of pixels, of which a convolution does not know the number here."""
_MOST_COLUMNS = 4 * LANES
_JOINED = {
    QUAD: (1, 2, 4, 8, 16),
    PAIR: (1, 2, 4, 8, 16),
    SINGLE: (1, 2, 3, 4, 5, 6, 8, 10, 12, 16),
}
"""Neighbours that may be one pixel, by channels of a word."""


@dataclasses.dataclass(frozen=True)
class WidePixels:
    """How many neighbours of a row are one pixel.

    Attributes
    ----------
    joined, read : int
        Of the result, and of the image.
    taps, stride, before : int
        Of the window along rows, in wide pixels of the image.
    lead : int
        Pixels in the first wide one that are in front of the window.
    """

    joined: int = 1
    read: int = 1
    taps: int = 1
    stride: int = 1
    before: int = 0
    lead: int = 0

    @classmethod
    def of(
        cls, weights: np.ndarray, window: Window, y: Tensor, epilogue: Epilogue, word: int = QUAD,
        gain: float = 1.0,
    ) -> WidePixels | None:  # fmt: skip
        """Return those of a convolution with an epilogue; None where there should be none."""
        result = y if epilogue.result is None else epilogue.result
        if epilogue.nodes or epilogue.expression or len(result.shape) > 4:
            return None
        filters, channels = weights.shape[:2]
        found = cls.best(filters, channels, window, result.shape[-1], word, gain)
        # Other bytes lie as the result does, which then has no room behind its rows.
        has_others = epilogue.other is not None
        return None if found is None or (has_others and not found.fills(result)) else found

    def fills(self, y: Tensor) -> bool:
        """Tell whether wide pixels are all of a result."""
        width, order = y.shape[-1], channels_last_order(len(y.shape))
        is_whole = isinstance(width, int) and width % self.joined == 0
        return is_whole and same_strides(y.shape, y.strides, contiguous_strides(y.shape, order))

    @classmethod
    def best(
        cls, filters: int, channels: int, window: Window, out_width: Dim, word: int = QUAD,
        gain: float = 1.0, passes: int = 0,
    ) -> WidePixels | None:  # fmt: skip
        """Return those that cost least; None where these are plain ones.

        ``word`` channels are multiplied at a time. Plain pixels have another form that is so many
        times as fast (``gain``), and go without some ``passes`` over the result.
        """
        own = window.columns
        if own.dilation != 1 or not isinstance(own.before, int) or window.depth.taps != 1:
            return None

        def cost(wide: WidePixels) -> float:
            """Cost of the products of each pixel of the result."""
            words, width = -(-wide.read * channels // word), None
            depth = window.rows.taps * wide.taps * words
            share = 1.0 / wide.joined
            if isinstance(out_width, int) and out_width > 0:
                width = -(-out_width // wide.joined)
                share = width / out_width
            stride = 4 * wide.stride * words
            return share * packing.pixel_cost(width, wide.joined * filters, depth, stride, _ROWS)

        def with_passes(wide: WidePixels) -> float:
            """Cost with that of copies of the result, and of the image, that may be needed."""
            is_whole = isinstance(out_width, int) and out_width % wide.joined == 0
            numbers = 4 * filters * (passes + (not is_whole))
            if wide.read > 1:
                numbers += (4 if word == SINGLE else 1) * channels * own.stride * window.rows.stride
            return cost(wide) + 2 * numbers * machine_costs().streams.near

        found = min(cls._all(filters, channels, own, word), key=with_passes)
        is_less = with_passes(found) < cost(cls(taps=own.taps, stride=own.stride)) / gain
        return found if is_less else None

    @classmethod
    def _all(cls, filters: int, channels: int, own: Along, word: int) -> Iterator[WidePixels]:
        assert isinstance(own.before, int)
        for joined in _JOINED[word]:
            if joined > 1 and joined * filters > _MOST_COLUMNS:
                return
            for read in {1, word // math.gcd(channels, word)}:
                if joined * own.stride % read:
                    continue
                before = -(-own.before // read)
                lead = before * read - own.before
                taps = -(-(lead + (joined - 1) * own.stride + own.taps) // read)
                yield cls(joined, read, taps, joined * own.stride // read, before, lead)

    def filters(self, weights: np.ndarray) -> np.ndarray:
        """Return weights (joined M, read C, 1, kh, taps) for weights (M, C, 1, kh, kw)."""
        count, channels, _, rows, taps = weights.shape
        stride = self.stride * self.read // self.joined
        wide = np.zeros((self.joined, count, channels, rows, self.taps * self.read), weights.dtype)
        for pixel in range(self.joined):
            first = self.lead + pixel * stride
            wide[pixel, ..., first : first + taps] = weights[:, :, 0]
        wide = wide.reshape(self.joined * count, channels, rows, self.taps, self.read)
        wide = wide.transpose(0, 4, 1, 2, 3)
        return wide.reshape(self.joined * count, self.read * channels, 1, rows, self.taps)

    def image(self, emit: Emission, x: Tensor, zero: Tensor | None) -> Tensor:
        """Return an image in wide pixels; behind its rows there may be zero points."""
        x = emit.channels_last(x)
        if self.read == 1:
            return x
        width, order = x.shape[-1], channels_last_order(len(x.shape))
        wide = (width + self.read - 1) // self.read
        if isinstance(width, int) and width % self.read == 0:
            return _joined(emit.ordered(x, order), self.read)

        def make() -> Tensor:
            whole = emit.new((*x.shape[:-1], wide * self.read), x.dtype, order, x.name)
            point = emit.constant(np.zeros(1, x.dtype)) if zero is None else zero.view((1,), (1,))
            none = [0] * (len(x.shape) - 1)
            emit_padded(emit, x, whole, [*none, 0], [*none, wide * self.read - width], point)
            return whole

        return _joined(emit.once(x, ("wide", self.read), make), self.read)

    def result(self, emit: Emission, y: Tensor) -> Tensor:
        """Return where a result is written, with room behind its rows: itself if it is dense."""
        if self.fills(y):
            return y
        width, order = y.shape[-1], channels_last_order(len(y.shape))
        wide = (width + self.joined - 1) // self.joined * self.joined
        return emit.new((*y.shape[:-1], wide), y.dtype, order, y.name)

    def emit(self, emit: Emission, conv: Convolution) -> None:
        """Emit a convolution whose image and weights are wide, and whose result is not yet."""
        epilogue, joined = conv.epilogue, self.joined
        y = conv.y if epilogue.result is None else epilogue.result
        target = self.result(emit, y)
        sums, result = target, None
        if epilogue.result is not None:
            order = channels_last_order(len(y.shape))
            sums, result = (
                emit.new(target.shape, conv.y.dtype, order, y.name),
                _joined(target, joined),
            )
        sums = _joined(sums, joined)
        epilogue = dataclasses.replace(
            epilogue,
            result=result,
            scales=_repeated(emit, epilogue.scales, joined),
            shifts=_repeated(emit, epilogue.shifts, joined),
            other=None if epilogue.other is None else _joined(epilogue.other, joined),
        )
        emit_convolution(
            emit,
            dataclasses.replace(
                conv,
                y=sums,
                output=sums,
                window=self._window(conv.window, conv.x.shape[-1], sums.shape[-1]),
                bias=_repeated(emit, conv.bias, joined),
                epilogue=epilogue,
            ),
        )
        if target is not y:
            emit.copy(target.view(y.shape, target.strides), y, "Reorder")

    def _window(self, window: Window, width: Dim, out_width: Dim) -> Window:
        reach = (out_width - 1) * self.stride + self.taps
        after = maximum(reach - self.before - width, 0)
        return window._replace(columns=Along(self.taps, self.stride, 1, self.before, after))


def _joined(image: Tensor, count: int) -> Tensor:
    """View of a dense image, channels last, with so many neighbours of a row as one pixel."""
    images, channels, *rows, width = image.shape
    shape = (images, count * channels, *rows, width // count)
    return image.view(shape, contiguous_strides(shape, channels_last_order(len(shape))))


def _repeated(emit: Emission, numbers: Tensor | None, count: int) -> Tensor | None:
    """Return numbers so many times one after the other."""
    if numbers is None or count == 1:
        return numbers
    size = numbers.size
    return emit.ordered(numbers.view((count, size), (0, 1))).view((count * size,), (1,))
