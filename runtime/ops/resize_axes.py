"""Axes that Resize changes: what is given for them, their sizes and scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..graph import Info, NeedsNumbers, Node, OnHost
from ..symbolic import Dim, scaled

CROP = "tf_crop_and_resize"


@dataclass(frozen=True)
class Axis:
    """An axis that changes: its number, its place among those that are listed, and its sizes.

    Without a scale that of the sizes is meant.
    """

    number: int
    place: int
    n_in: Dim
    n_out: Dim
    scale: float | None


def mode_of(node: Node) -> str:
    """How pixels are computed: ``"nearest"``, ``"linear"`` or ``"cubic"``."""
    return node.attribute("mode", "nearest")


def coordinates_of(node: Node) -> str:
    """How positions of the output are those of the input."""
    return node.attribute("coordinate_transformation_mode", "half_pixel")


def listed_axes(node: Node) -> list[int]:
    """Axes that scales, sizes and the region are given for."""
    rank = node.required(0).rank
    axes = node.attribute("axes")
    return list(range(rank)) if axes is None else [axis % rank for axis in axes]


def given_input(node: Node, index: int) -> Info | None:
    """Return an input that is left out by giving nothing, or no elements."""
    info = node.input(index)
    return None if info is None or info.shape == (0,) else info


def resized_axes(node: Node) -> list[Axis]:
    """Sizes and scales of the listed axes."""
    x, listed = node.required(0), listed_axes(node)
    old = [x.dims[axis] for axis in listed]
    scales, sizes = given_input(node, 2), given_input(node, 3)
    factors: Sequence[float | None] = [None] * len(listed)
    new: Sequence[Dim]
    if sizes is not None:
        new = sizes.sizes()
        if node.attribute("keep_aspect_ratio_policy", "stretch") != "stretch":
            new, factors = _of_one_ratio(node, old, new)
    elif scales is not None and not scales.is_constant:
        new = node.counted_sizes or [node.count() for _ in listed]
    elif scales is not None:
        known = [float(scale) for scale in scales.array().reshape(-1)]
        new, factors = [_scaled(size, f) for size, f in zip(old, known, strict=True)], known
    else:
        raise OnHost("neither scales nor sizes are given")
    numbers = enumerate(zip(listed, old, new, factors, strict=True))
    return [Axis(axis, place, n, m, f) for place, (axis, n, m, f) in numbers]


def _scaled(size: Dim, factor: float) -> Dim:
    try:
        return scaled(size, factor)
    except ValueError:
        raise NeedsNumbers(f"scale {factor} of an axis whose size is not known", [size]) from None


def _of_one_ratio(
    node: Node, old: Sequence[Dim], wanted: Sequence[Dim]
) -> tuple[list[Dim], list[float]]:
    """Sizes that keep the ratio of the listed axes, and their scale."""
    unknown = [size for size in (*old, *wanted) if not isinstance(size, int)]
    if unknown:
        raise NeedsNumbers("keep_aspect_ratio_policy with sizes that are not known", unknown)
    pairs = list(zip(wanted, old, strict=True))
    factors = [new / size if size else 1.0 for new, size in pairs]  # type: ignore[operator]
    policy = node.attribute("keep_aspect_ratio_policy")
    factor = min(factors) if policy == "not_larger" else max(factors)
    return [int(np.floor(size * factor + 0.5)) for size in old], [factor] * len(factors)  # type: ignore[operator]


def changed_axes(node: Node) -> list[Axis]:
    """Axes whose elements are not just copied."""
    crop = coordinates_of(node) == CROP
    return [
        axis
        for axis in resized_axes(node)
        if crop or axis.n_in != axis.n_out or axis.scale not in (None, 1.0)
    ]
