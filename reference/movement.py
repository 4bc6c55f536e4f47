"""Operators that move elements, of any type."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .operator import Operator


class Slice(Operator):
    """Slice, with steps of either sign and bounds of any size."""

    def _run(
        self, x: np.ndarray, *given: np.ndarray | None, starts: Any = None, ends: Any = None,
        axes: Any = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        attributes = [starts, ends, axes, None]
        lists = [None if v is None else v.reshape(-1).tolist() for v in given] or attributes
        begins, stops, chosen, steps = (*lists, None, None)[:4]
        chosen = range(len(begins)) if chosen is None else chosen
        steps = [1] * len(begins) if steps is None else steps
        kept = [slice(None)] * x.ndim
        for begin, stop, axis, step in zip(begins, stops, chosen, steps, strict=True):
            kept[axis] = _bounds(begin, stop, step, x.shape[axis])
        return (x[tuple(kept)],)


def _bounds(begin: int, stop: int, step: int, size: int) -> slice:
    """Slice of Python for bounds of the standard, where -1 as a stop counts from the end."""
    begin, stop = (n + size if n < 0 else n for n in (begin, stop))
    if step > 0:
        return slice(min(max(begin, 0), size), min(max(stop, 0), size), step)
    begin, stop = min(max(begin, 0), size - 1), min(max(stop, -1), size - 1)
    return slice(begin, None if stop < 0 else stop, step) if size else slice(0, 0)


class Pad(Operator):
    """Pad, in all modes; negative widths cut off."""

    def _run(
        self, x: np.ndarray, widths: np.ndarray | None = None, constant: Any = None,
        axes: np.ndarray | None = None, *, mode: str, pads: Any = None, value: float = 0.0,
    ) -> tuple[Any, ...]:  # fmt: skip
        given = pads if widths is None else widths.reshape(-1).tolist()
        chosen = range(x.ndim) if axes is None else axes.reshape(-1).tolist()
        count = len(chosen)
        if len(given) != 2 * count:
            raise ValueError(f"{len(given)} widths for {count} axes")
        begins, ends = [0] * x.ndim, [0] * x.ndim
        for i, axis in enumerate(chosen):
            begins[axis], ends[axis] = given[i], given[i + count]
        pairs = list(zip(begins, ends, strict=True))
        grown = [(max(b, 0), max(e, 0)) for b, e in pairs]
        cuts = [(max(-b, 0), max(-e, 0)) for b, e in pairs]
        if mode == "constant":
            filled = _fill(x, value if constant is None else constant.reshape(-1)[0])
            # More may be cut off one end than there was: then the padding of the other goes, too.
            return (_cut(np.pad(x, grown, constant_values=filled), cuts),)
        return (np.pad(_cut(x, cuts), grown, mode=mode),)  # type: ignore[call-overload]


def _cut(x: np.ndarray, cuts: list[tuple[int, int]]) -> np.ndarray:
    """Leave out so many elements at both ends of each axis."""
    if any(front + back > n for (front, back), n in zip(cuts, x.shape, strict=True)):
        raise ValueError(f"widths cut {cuts} off {x.shape}")
    sizes = zip(cuts, x.shape, strict=True)
    return x[tuple(slice(front, n - back) for (front, back), n in sizes)]


def _fill(x: np.ndarray, value: Any) -> Any:
    if x.dtype == object:
        return value if isinstance(value, str) else ""
    return np.asarray(value).astype(x.dtype)


class Shape(Operator):
    """Shape, or a stretch of it; bounds are cut off as those of Slice."""

    def _run(self, x: np.ndarray, *, start: int = 0, end: int | None = None) -> tuple[Any, ...]:
        kept = _bounds(start, x.ndim if end is None else end, 1, x.ndim)
        return (np.array(x.shape[kept], np.int64),)


class Reshape(Operator):
    """Reshape; 0 keeps a size, unless zeros are allowed, and -1 stands for the rest."""

    def _run(
        self, x: np.ndarray, given: Any = None, *, shape: Any = None, allowzero: int = 0,
        consumed_inputs: Any = None,
    ) -> tuple[Any, ...]:  # fmt: skip
        if (given is None) != (self.version < 5):
            raise ValueError("the sizes are an attribute before opset 5, then an input")
        sizes = shape if given is None else given.reshape(-1).tolist()
        if not allowzero:
            sizes = [x.shape[axis] if size == 0 else size for axis, size in enumerate(sizes)]
        return (x.reshape(sizes),)


class Flatten(Operator):
    """Flatten, also of empty tensors."""

    def _run(self, x: np.ndarray, *, axis: int) -> tuple[Any, ...]:
        axis = axis + x.ndim if axis < 0 else axis
        return (x.reshape(math.prod(x.shape[:axis]), math.prod(x.shape[axis:])),)


class Squeeze(Operator):
    """Squeeze, with axes as attribute or input."""

    def _run(self, x: np.ndarray, given: Any = None, *, axes: Any = None) -> tuple[Any, ...]:
        chosen = axes if given is None else given.reshape(-1).tolist()
        return (x.squeeze() if chosen is None else x.squeeze(tuple(chosen)),)


class Unsqueeze(Operator):
    """Unsqueeze, with axes of the result as attribute or input."""

    def _run(self, x: np.ndarray, given: Any = None, *, axes: Any = None) -> tuple[Any, ...]:
        chosen = axes if given is None else given.reshape(-1).tolist()
        return (np.expand_dims(x, tuple(chosen)),)


class DepthToSpace(Operator):
    """DepthToSpace; before opset 11 there was one mode."""

    def _run(self, x: np.ndarray, *, blocksize: int, mode: str = "DCR") -> tuple[Any, ...]:
        n, c, h, w = x.shape
        rest, b = c // blocksize**2, blocksize
        if mode == "DCR":
            y = x.reshape(n, b, b, rest, h, w).transpose(0, 3, 4, 1, 5, 2)
        else:
            y = x.reshape(n, rest, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        return (y.reshape(n, rest, h * b, w * b),)


class SpaceToDepth(Operator):
    """SpaceToDepth; before opset 28 there was one mode."""

    def _run(self, x: np.ndarray, *, blocksize: int, mode: str = "DCR") -> tuple[Any, ...]:
        n, c, h, w = x.shape
        b = blocksize
        order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
        y = x.reshape(n, c, h // b, b, w // b, b).transpose(order)
        return (y.reshape(n, c * b * b, h // b, w // b),)


class Col2Im(Operator):
    """Col2Im: blocks added up where they lie in an image of any number of axes."""

    def _run(
        self, x: np.ndarray, image: np.ndarray, block: np.ndarray, *, dilations: Any, pads: Any,
        strides: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        rank, kernel = image.size, block.tolist()
        dilations, strides = dilations or [1] * rank, strides or [1] * rank
        pads = pads or [0] * 2 * rank
        sizes = [n + pads[i] + pads[i + rank] for i, n in enumerate(image.tolist())]
        counts = [
            (n - (k - 1) * d - 1) // s + 1
            for n, k, d, s in zip(sizes, kernel, dilations, strides, strict=True)
        ]
        channels = x.shape[1] // math.prod(kernel)
        columns = x.reshape(x.shape[0], channels, *kernel, *counts)
        y = np.zeros((x.shape[0], channels, *sizes), x.dtype)
        for at in np.ndindex(*kernel):
            places = [
                slice(i * d, i * d + (n - 1) * s + 1, s)
                for i, d, n, s in zip(at, dilations, counts, strides, strict=True)
            ]
            y[(slice(None), slice(None), *places)] += columns[(slice(None), slice(None), *at)]
        inside = [slice(pads[i], sizes[i] - pads[i + rank]) for i in range(rank)]
        return (y[(slice(None), slice(None), *inside)],)


class CenterCropPad(Operator):
    """CenterCropPad: the middle of an axis, or the axis in the middle of zeros."""

    def _run(self, x: np.ndarray, shape: np.ndarray, *, axes: Any = None) -> tuple[Any, ...]:
        chosen = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in axes]
        if shape.shape != (len(chosen),) or (shape < 0).any():
            raise ValueError(f"sizes {shape.tolist()} for the axes {chosen}")
        sizes = list(x.shape)
        for axis, size in zip(chosen, shape.tolist(), strict=True):
            sizes[axis] = size
        pairs = list(zip(x.shape, sizes, strict=True))
        y = np.zeros(sizes, x.dtype)
        kept = [slice(max(0, a - b) // 2, max(0, a - b) // 2 + min(a, b)) for a, b in pairs]
        place = [slice(max(0, b - a) // 2, max(0, b - a) // 2 + min(a, b)) for a, b in pairs]
        y[tuple(place)] = x[tuple(kept)]
        return (y,)
