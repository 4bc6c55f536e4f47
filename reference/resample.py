"""Resize and Upsample: an axis at a time, by a matrix of weights or by the nearest element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .operator import Operator

_UPWARDS = 0.5 + 1e-9
_NEAREST = {
    # What is meant for a half is hit by rounding errors of the coordinate, too.
    "round_prefer_floor": lambda x: np.ceil(x - _UPWARDS),
    "round_prefer_ceil": lambda x: np.floor(x + _UPWARDS),
    "floor": lambda x: np.floor(x + 1e-9),
    "ceil": lambda x: np.ceil(x - 1e-9),
}


class Resize(Operator):
    """Resize of the standard, from opset 10 on.

    Sizes may be given of some axes; those of ``tf_crop_and_resize`` that lie outside the image get
    the value for extrapolation, and a coordinate on its edge lies inside.
    """

    def _run(
        self, x: np.ndarray, *given: np.ndarray | None, mode: str, axes: Any = None,
        coordinate_transformation_mode: str = "asymmetric", cubic_coeff_a: float = -0.75,
        exclude_outside: int = 0, extrapolation_value: float = 0.0, nearest_mode: str = "floor",
        antialias: int = 0, keep_aspect_ratio_policy: str = "stretch",
    ) -> tuple[Any, ...]:  # fmt: skip
        roi, scales, sizes = (*given, None, None)[:3] if self.version > 10 else (None, *given, None)
        chosen = list(range(x.ndim)) if axes is None else [a % x.ndim for a in axes]
        lengths = [x.shape[a] for a in chosen]
        if sizes is not None and sizes.size:
            counts, factors = _by_sizes(sizes.tolist(), lengths, keep_aspect_ratio_policy)
        elif scales is not None and scales.size:
            factors = [float(s) for s in scales]
            counts = _scaled(lengths, scales)
        else:
            raise ValueError("neither scales nor sizes are given")
        y: np.ndarray = x if mode == "nearest" else x.astype(np.float64)
        outside: list[tuple[int, np.ndarray]] = []
        for i, axis in enumerate(chosen):
            crop = _crop(roi, i, len(chosen))
            at = _coordinates(
                coordinate_transformation_mode, counts[i], lengths[i], factors[i], crop
            )
            if coordinate_transformation_mode == "tf_crop_and_resize":
                outside.append((axis, (at < 0) | (at > lengths[i] - 1)))
            if counts[i] == lengths[i] and np.array_equal(at, np.arange(lengths[i])):
                continue
            if mode == "nearest":
                places = _NEAREST[nearest_mode](at).astype(np.int64)
                y = y.take(np.clip(places, 0, lengths[i] - 1), axis)
                continue
            a = cubic_coeff_a if mode == "cubic" else None
            scale = min(factors[i], 1.0) if antialias else 1.0
            y = _blended(y, _weights(at, lengths[i], a, scale, bool(exclude_outside)), axis)
        return (_outside_filled(_rounded(y, x.dtype), outside, extrapolation_value),)


class Upsample(Operator):
    """Upsample: Resize of opset 10; the scales were an attribute at first."""

    def _run(
        self, x: np.ndarray, given: np.ndarray | None = None, *, mode: str, scales: Any = None
    ) -> tuple[Any, ...]:
        factors = [float(s) for s in (scales if given is None else given)]
        y: np.ndarray = x if mode == "nearest" else x.astype(np.float64)
        counts = _scaled(x.shape, factors)
        for axis, (size, count, factor) in enumerate(zip(x.shape, counts, factors, strict=True)):
            at = np.arange(count) / factor
            if mode == "nearest":
                places = _NEAREST["floor"](at).astype(np.int64)
                y = y.take(np.clip(places, 0, size - 1), axis)
            else:
                y = _blended(y, _weights(at, size, None, 1.0, False), axis)
        return (_rounded(y, x.dtype),)


def _scaled(lengths: Sequence[int], scales: Any) -> list[int]:
    """Sizes of the output, computed in float32: 5 by 1.4 is 7 there, and less in double."""
    sizes = np.array(lengths, np.float32) * np.array(scales, np.float32)
    return [int(size) for size in np.floor(sizes)]


def _by_sizes(
    sizes: list[int], lengths: Sequence[int], policy: str
) -> tuple[list[int], list[float]]:
    """Sizes and scales; those of one ratio round half up, as the standard says."""
    factors = [n / size if size else 1.0 for n, size in zip(sizes, lengths, strict=True)]
    if policy == "stretch":
        return sizes, factors
    factor = min(factors) if policy == "not_larger" else max(factors)
    return [int(np.floor(n * factor + 0.5)) for n in lengths], [factor] * len(sizes)


def _crop(roi: np.ndarray | None, index: int, count: int) -> tuple[float, float]:
    if roi is None or not roi.size:
        return 0.0, 1.0
    return float(roi[index]), float(roi[index + count])


def _coordinates(
    transform: str, count: int, size: int, factor: float, crop: tuple[float, float]
) -> np.ndarray:
    """Coordinates in the input of the elements of the output."""
    at = np.arange(count, dtype=np.float64)
    # The standard's length of the output is not rounded in these formulas.
    length = factor * size
    if transform == "align_corners":
        return at * (size - 1) / (length - 1) if count > 1 else np.zeros(count)
    if transform == "asymmetric":
        return at / factor
    if transform == "tf_crop_and_resize":
        begin, end = (edge * (size - 1) for edge in crop)
        if count <= 1:
            return np.full(count, 0.5 * (begin + end))
        # Interpolated between both edges, so that the last one is hit exactly.
        share = at / (count - 1)
        return begin * (1 - share) + end * share
    if transform == "pytorch_half_pixel" and count <= 1:
        return np.zeros(count)
    centred = (at + 0.5) / factor - 0.5
    if transform == "half_pixel_symmetric":
        return centred + size / 2 * (1 - count / length)
    if transform in ("half_pixel", "pytorch_half_pixel"):
        return centred
    raise ValueError(f"coordinate_transformation_mode {transform!r}")


def _weights(at: np.ndarray, size: int, a: float | None, scale: float, exclude: bool) -> np.ndarray:
    """Weights of the input's elements (columns) in each element of the output (rows)."""
    reach = (1 if a is None else 2) / scale
    first = np.floor(at - reach).astype(np.int64)
    places = first[:, None] + np.arange(int(np.ceil(2 * reach)) + 2)
    distance = np.abs(at[:, None] - places) * scale
    weights = np.maximum(0, 1 - distance) if a is None else _cubic(distance, a)
    if exclude:
        weights = np.where((places < 0) | (places >= size), 0, weights)
    total = weights.sum(1, keepdims=True)
    weights = weights / np.where(total == 0, 1, total)
    matrix = np.zeros((len(at), size))
    rows = np.arange(len(at))[:, None] + np.zeros_like(places)
    np.add.at(matrix, (rows, np.clip(places, 0, size - 1)), weights)
    return matrix


def _blended(x: np.ndarray, weights: np.ndarray, axis: int) -> np.ndarray:
    """Sums of elements along an axis by weights; NaN and infinities of weight 0 do not count."""
    x = np.moveaxis(x, axis, -1)
    if not weights.size or np.isfinite(x).all():
        return np.moveaxis(x @ weights.T, -1, axis)
    sums = [x[..., row != 0] @ row[row != 0] for row in weights]
    return np.moveaxis(np.stack(sums, -1), -1, axis)


def _cubic(d: np.ndarray, a: float) -> np.ndarray:
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0))


def _rounded(y: np.ndarray, kind: np.dtype[Any]) -> np.ndarray:
    if kind.kind not in "iu" or y.dtype == kind:
        return y.astype(kind)
    info = np.iinfo(kind)
    return np.clip(np.rint(y), info.min, info.max).astype(kind)


def _outside_filled(
    y: np.ndarray, outside: list[tuple[int, np.ndarray]], value: float
) -> np.ndarray:
    if not any(flags.any() for _, flags in outside):
        return y
    everywhere = np.zeros(y.shape, bool)
    for axis, flags in outside:
        everywhere |= flags.reshape([-1 if i == axis else 1 for i in range(y.ndim)])
    return np.where(everywhere, np.asarray(value).astype(y.dtype), y)
