"""GridSample and DeformConv: elements between those of an image, and AffineGrid."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .operator import Operator
from .resample import _cubic
from .windows import windows_of


def _reflected(x: np.ndarray, low: float, high: float) -> np.ndarray:
    """Coordinates thrown back at both borders."""
    span = high - low
    if span <= 0:
        return np.zeros_like(x)
    return np.asarray(low + span - np.abs(np.mod(x - low, 2 * span) - span))


def _inside(places: np.ndarray, size: int, padding: str, borders: tuple[float, float]) -> Any:
    """Places that exist, and which of them count."""
    if padding == "reflection":
        places = np.rint(_reflected(places, *borders))
    exists = (places >= 0) & (places < size) if padding == "zeros" else np.bool_(True)
    return np.clip(places, 0, size - 1).astype(np.int64), exists


def sample(
    x: np.ndarray, at: Sequence[np.ndarray], mode: str, padding: str, align: bool
) -> np.ndarray:
    """Take elements at coordinates.

    Parameters
    ----------
    x : ndarray
        Channels and spatial axes.
    at : sequence of ndarray
        Coordinates in pixels along each spatial axis, all of one shape.
    mode : {"nearest", "linear", "cubic"}
    padding : {"zeros", "border", "reflection"}
    align : bool
        Images end at the centres of their outer pixels.

    Returns
    -------
    ndarray
        Channels, and the shape of the coordinates.
    """
    choices = []
    for coordinate, size in zip(at, x.shape[1:], strict=True):
        borders = (0.0, size - 1.0) if align else (-0.5, size - 0.5)
        coordinate = np.where(np.isfinite(coordinate), coordinate, -1.0)
        choices.append(_along(coordinate, size, mode, padding, borders))
    y = np.zeros((x.shape[0], *at[0].shape), np.float64)
    for parts in itertools.product(*choices):
        weight, exists = np.float64(1), np.bool_(True)
        for _, factor, is_there in parts:
            weight, exists = weight * factor, exists & is_there
        where: tuple[Any, ...] = (slice(None), *[places for places, _, _ in parts])
        y += np.where(exists, x[where] * weight, 0.0)
    return y


def _along(
    x: np.ndarray, size: int, mode: str, padding: str, borders: tuple[float, float]
) -> list[tuple[np.ndarray, Any, Any]]:
    """Places along an axis, each with its weight, and where they exist."""
    if mode == "nearest":
        x = np.rint(x)
    if mode != "cubic" and padding == "border":
        x = np.clip(x, 0, size - 1)
    elif mode != "cubic" and padding == "reflection":
        x = _reflected(x, *borders)
    first = np.floor(x)
    share = x - first
    offsets = {"nearest": (0,), "linear": (0, 1), "cubic": (-1, 0, 1, 2)}[mode]
    choices = []
    for offset in offsets:
        distance = np.abs(share - offset)
        weight = {"nearest": lambda d: 1.0, "linear": lambda d: 1 - d,
                  "cubic": lambda d: _cubic(d, -0.75)}[mode](distance)  # fmt: skip
        places, exists = _inside(first + offset, size, padding, borders)
        choices.append((places, weight, exists))
    return choices


class GridSample(Operator):
    """GridSample, in two and three axes."""

    def _run(
        self, x: np.ndarray, grid: np.ndarray, *, align_corners: int, mode: str, padding_mode: str
    ) -> tuple[Any, ...]:
        mode = mode.removeprefix("bi")
        spatial = x.shape[2:]
        y = np.empty((*x.shape[:2], *grid.shape[1:-1]), np.float64)
        for image, points, result in zip(x, grid.astype(np.float64), y, strict=True):
            at = []
            for axis, size in enumerate(spatial):
                normal = points[..., len(spatial) - 1 - axis] + 1
                at.append(normal / 2 * (size - 1) if align_corners else (normal * size - 1) / 2)
            result[...] = sample(image, at, mode, padding_mode, bool(align_corners))
        return (y,)


class AffineGrid(Operator):
    """AffineGrid, in two and three axes."""

    def _run(self, theta: np.ndarray, size: np.ndarray, *, align_corners: int) -> tuple[Any, ...]:
        axes = []
        for n in size.tolist()[2:]:
            steps = np.arange(n, dtype=np.float64)
            axes.append(2 * steps / max(n - 1, 1) - 1 if align_corners else (2 * steps + 1) / n - 1)
        points = np.stack(np.meshgrid(*axes, indexing="ij")[::-1], -1)
        flat = points.reshape(-1, len(axes)).astype(theta.dtype)
        y = flat @ np.swapaxes(theta[:, :, :-1], 1, 2) + theta[:, None, :, -1]
        return (y.reshape(len(theta), *points.shape),)


class DeformConv(Operator):
    """DeformConv of images: each kernel element reads beside its place, by its own offset."""

    def _run(
        self, x: np.ndarray, w: np.ndarray, offset: np.ndarray, bias: np.ndarray | None = None,
        mask: np.ndarray | None = None, *, dilations: Any, group: int, kernel_shape: Any,
        offset_group: int, pads: Any, strides: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        if x.ndim != 4:
            raise ValueError(f"DeformConv of {x.ndim - 2} spatial axes: two were expected")
        window = windows_of(
            x.shape[2:], w.shape[2:], dilations=dilations, pads=pads, strides=strides
        )
        batch, channels = x.shape[:2]
        area, counts = w.shape[2] * w.shape[3], list(window.counts)
        moves = offset.reshape(batch, offset_group, area, 2, *counts)
        factors = None if mask is None else mask.reshape(batch, offset_group, area, *counts)
        taken = np.empty((batch, channels, area, *counts))
        each = channels // offset_group
        rows, columns = np.indices(counts)
        for number, (i, j) in enumerate(np.ndindex(*w.shape[2:])):
            top = rows * window.strides[0] - window.begins[0] + i * window.dilations[0]
            left = columns * window.strides[1] - window.begins[1] + j * window.dilations[1]
            for n, g in np.ndindex(batch, offset_group):
                at = (top + moves[n, g, number, 0], left + moves[n, g, number, 1])
                part = slice(g * each, (g + 1) * each)
                values = sample(x[n, part], at, "linear", "zeros", True)
                taken[n, part, number] = (
                    values if factors is None else values * factors[n, g, number]
                )
        weights = w.reshape(group, w.shape[0] // group, -1)
        columns_ = taken.reshape(batch, group, weights.shape[2], math.prod(counts))
        y = np.matmul(weights, columns_).reshape(batch, w.shape[0], *counts)
        return (y if bias is None else y + bias.reshape(-1, 1, 1),)
