"""Regions of images, and boxes that suppress others."""

from __future__ import annotations

from typing import Any

import numpy as np

from .operator import Operator


class NonMaxSuppression(Operator):
    """NonMaxSuppression; limits are scalars or of one element, and none of them is needed."""

    def _run(
        self, boxes: np.ndarray, scores: np.ndarray, limit: np.ndarray | None = None,
        iou: np.ndarray | None = None, least: np.ndarray | None = None, *, center_point_box: int,
    ) -> tuple[Any, ...]:  # fmt: skip
        count, overlap, threshold = (
            None if v is None or not v.size else v.reshape(-1)[0] for v in (limit, iou, least)
        )
        chosen: list[tuple[int, int, int]] = []
        for batch, own in enumerate(boxes):
            corners = _corners(own, center_point_box)
            for label, values in enumerate(scores[batch]):
                order = np.argsort(-values, kind="stable")
                if threshold is not None:
                    order = order[values[order] > threshold]
                kept = _kept(corners, order, int(count or 0), float(overlap or 0.0))
                chosen += [(batch, label, box) for box in kept]
        return (np.array(chosen, np.int64).reshape(-1, 3),)


def _corners(boxes: np.ndarray, centred: int) -> np.ndarray:
    """Low and high corner of each box."""
    if centred:
        half = boxes[:, 2:] / 2
        return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], 1)
    a, b = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([np.minimum(a, b), np.maximum(a, b)], 1)


def _kept(corners: np.ndarray, order: np.ndarray, count: int, overlap: float) -> list[int]:
    areas = np.prod(corners[:, 2:] - corners[:, :2], 1)
    kept: list[int] = []
    while order.size and len(kept) < count:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        low = np.maximum(corners[best, :2], corners[order, :2])
        high = np.minimum(corners[best, 2:], corners[order, 2:])
        common = np.prod(np.maximum(high - low, 0), 1)
        union = areas[best] + areas[order] - common
        counts = (common > 0) & (areas[best] > 0) & (areas[order] > 0) & (union > 0)
        order = order[~(counts & (common / np.where(union > 0, union, 1) > overlap))]
    return kept


class RoiAlign(Operator):
    """RoiAlign; opset 16 lets pixels end half a pixel before and behind their coordinates."""

    def _run(
        self, x: np.ndarray, rois: np.ndarray, batches: np.ndarray, *, mode: str,
        output_height: int, output_width: int, sampling_ratio: int, spatial_scale: float,
        coordinate_transformation_mode: str = "output_half_pixel",
    ) -> tuple[Any, ...]:  # fmt: skip
        half = coordinate_transformation_mode == "half_pixel"
        out = (output_height, output_width)
        y = np.zeros((len(rois), x.shape[1], *out), np.float64)
        for region, batch, result in zip(rois.astype(np.float64), batches, y, strict=True):
            left, top, right, bottom = region * float(spatial_scale) - (0.5 if half else 0)
            samples = []
            for begin, end, count in ((top, bottom, out[0]), (left, right, out[1])):
                length = end - begin if half else max(end - begin, 1.0)
                each = sampling_ratio or int(np.ceil(length / count))
                steps = (np.arange(count * each) + 0.5) * length / (count * max(each, 1))
                samples.append((begin + steps, each))
            result[...] = _pooled(x[int(batch)], samples, out, mode)
        return (y,)


def _pooled(image: np.ndarray, samples: Any, out: tuple[int, int], mode: str) -> np.ndarray:
    """Mean of the samples of each bin, or the largest weighted neighbour of any of them."""
    (ys, down), (xs, across) = samples
    if not down or not across:
        return np.zeros((len(image), *out))
    rows, columns = _neighbours(ys, image.shape[1]), _neighbours(xs, image.shape[2])
    parts = [
        image[:, r][:, :, c] * (wr[:, None] * wc) for r, wr in rows for c, wc in columns
    ]  # fmt: skip
    total = np.maximum.reduce(parts) if mode == "max" else np.add.reduce(parts)
    bins = total.reshape(len(image), out[0], down, out[1], across)
    return np.asarray(bins.max((2, 4)) if mode == "max" else bins.mean((2, 4)))


def _neighbours(at: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Both neighbours of coordinates and their weights; zero more than a pixel outside."""
    counts = (at >= -1) & (at <= size)
    at = np.clip(at, 0, size - 1)
    low = np.floor(at).astype(np.int64)
    share = at - low
    high = np.minimum(low + 1, size - 1)
    return [(low, np.where(counts, 1 - share, 0)), (high, np.where(counts, share, 0))]


class MaxRoiPool(Operator):
    """MaxRoiPool: regions of whole pixels, cut into bins that may share rows and columns."""

    def _run(
        self, x: np.ndarray, rois: np.ndarray, *, pooled_shape: list[int], spatial_scale: float
    ) -> tuple[Any, ...]:
        y = np.zeros((len(rois), x.shape[1], *pooled_shape), x.dtype)
        for number, (batch, *region) in enumerate(rois.astype(np.float64)):
            # In float32, as onnxruntime computes them; halves are rounded away from zero.
            scaled = (np.array(region, np.float32) * np.float32(spatial_scale)).astype(np.float64)
            corners = np.trunc(scaled + np.copysign(0.5, scaled)).astype(np.float32)
            for place in np.ndindex(*pooled_shape):
                kept = []
                for axis, at in enumerate(place):
                    begin, end = corners[1 - axis], corners[3 - axis]
                    step = max(end - begin + 1, np.float32(1)) / np.float32(pooled_shape[axis])
                    size = x.shape[2 + axis]
                    low = np.floor(np.float32(at) * step) + begin
                    high = np.ceil(np.float32(at + 1) * step) + begin
                    kept.append(slice(int(np.clip(low, 0, size)), int(np.clip(high, 0, size))))
                part = x[int(batch)][:, kept[0], kept[1]]
                if part.size:
                    y[(number, slice(None), *place)] = part.max((1, 2))
        return (y,)
