"""Cases of images that are resampled, of regions in them, and of signals."""

from __future__ import annotations

import numpy as np

from .draw_layers import image
from .drawing import Case, Draw, draws

F32 = np.float32


@draws("MaxRoiPool")
def max_roi_pool(draw: Draw) -> Case:
    shape = image(draw, 2, 2)
    rois = [[draw.int(0, shape[0] - 1), *sorted_box(draw, shape)] for _ in range(draw.int(1, 3))]
    kind = draw.kind()
    return Case(
        [draw.array(shape, kind), np.array(rois, kind)],
        {"pooled_shape": [draw.int(1, 3), draw.int(1, 3)]} | draw.some(spatial_scale=0.5),
    )


def sorted_box(draw: Draw, shape: tuple[int, ...]) -> list[int]:
    xs = sorted(draw.int(0, shape[3] - 1) for _ in range(2))
    ys = sorted(draw.int(0, shape[2] - 1) for _ in range(2))
    return [xs[0], ys[0], xs[1], ys[1]]


@draws("RoiAlign")
def roi_align(draw: Draw) -> Case:
    shape, kind = image(draw, 2, 2), draw.kind("T1")
    count = draw.int(0, 4)
    corner = draw.rng.uniform(-3, 8, (count, 2))
    rois = np.concatenate([corner, corner + draw.rng.uniform(0, 9, (count, 2))], 1).astype(kind)
    attributes = draw.some(
        output_height=draw.int(1, 3),
        output_width=draw.int(1, 3),
        sampling_ratio=draw.int(0, 3),
        spatial_scale=draw.pick([0.5, 0.3]),
        mode=draw.pick(["avg", "max"]),
        coordinate_transformation_mode=draw.pick(["half_pixel", "output_half_pixel"]),
    )
    if attributes.get("mode") == "max":
        attributes.pop("mode")  # onnxruntime multiplies before it takes the largest
    return Case(
        [draw.array(shape, kind), rois, draw.rng.integers(0, shape[0], count)],
        attributes,
        tolerance=1e-3 if kind.itemsize == 2 else 1e-5,
    )


@draws("NonMaxSuppression")
def suppression(draw: Draw) -> Case:
    batch, classes, count = draw.int(1, 2), draw.int(1, 2), draw.int(0, 8)
    boxes = draw.rng.uniform(0, 4, (batch, count, 4)).astype(F32)
    scores = np.round(draw.rng.random((batch, classes, count)), 1).astype(F32)
    shape = draw.pick([(), (1,)])
    limits = [
        np.full(shape, draw.int(0, 5), np.int64) if draw.chance(0.8) else None,
        np.full(shape, draw.pick([0.0, 0.3, 0.5, 1.0]), F32) if draw.chance(0.7) else None,
        np.full(shape, draw.pick([0.1, 0.5]), F32) if draw.chance(0.5) else None,
    ]
    return Case([boxes, scores, *limits], draw.some(center_point_box=draw.int(0, 1)))


@draws("Resize Upsample")
def resize(draw: Draw) -> Case:
    kind = draw.kind("T1" if draw.name == "Resize" and draw.version > 10 else "T")
    mode = draw.pick(["nearest", "linear"] + (["cubic"] if draw.version >= 11 else []))
    rank = draw.pick([1, 2, 3]) if draw.version >= 18 or mode == "nearest" else 2
    rank = min(rank, 2) if mode == "cubic" else rank
    shape = (1, draw.int(1, 2), *[draw.int(1, 6) for _ in range(rank)])
    factors = [draw.pick([0.5, 0.6, 1.0, 1.5, 2.0, 2.7]) for _ in range(rank)]
    # Of an output without elements, or a length that is not whole, only one has an opinion.
    factors = [f if int(f * n) else 1.0 for f, n in zip(factors, shape[2:], strict=True)]
    x = draw.array(shape, kind, scale=20)
    exact = kind.kind in "iub"
    off = float(exact)  # integers between others are cut off, after rounding errors
    if draw.version < 11:
        factors = [max(f, 1.0) for f in factors]  # the standard did not say what smaller ones take
        scales = [1.0, 1.0, *factors]
        mode = draw.pick(["nearest", "linear"]) if rank == 2 else "nearest"
        if draw.version == 7:
            return Case([x], {"scales": scales, "mode": mode}, exact=exact)
        return Case([x, np.array(scales, F32)], {"mode": mode}, exact=exact, absolute=off)
    transforms = [
        "half_pixel",
        "pytorch_half_pixel",
        "align_corners",
        "asymmetric",
        "tf_crop_and_resize",
    ]
    transforms += ["half_pixel_symmetric"] if draw.version >= 19 else []
    transform = draw.pick(transforms)
    attributes = {"mode": mode} | draw.some(
        coordinate_transformation_mode=transform,
        cubic_coeff_a=-0.5,
        extrapolation_value=7.0,
        nearest_mode=draw.pick(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]),
        exclude_outside=1 if mode == "cubic" else None,
    )
    if mode == "nearest" and "nearest_mode" not in attributes and draw.chance(0.5):
        attributes["nearest_mode"] = "floor"
    if draw.version >= 18 and mode != "nearest" and draw.chance(0.3):
        # Without this, onnxruntime leaves out what lies outside all the same.
        attributes |= {"antialias": 1, "exclude_outside": 1}
    axes = list(range(2, 2 + rank)) if draw.version >= 18 and draw.chance(0.4) else None
    sizes = [max(1, int(n * f)) for n, f in zip(shape[2:], factors, strict=True)]
    roi = None
    if attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize" and any(
        size == n for size, n in zip(sizes, shape[2:], strict=True)
    ):
        attributes.pop("coordinate_transformation_mode")  # onnxruntime does not crop, then
    if attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        attributes.pop("antialias", None)
        low = draw.rng.uniform(-0.2, 0.6, rank)
        high = draw.pick([low + draw.rng.uniform(0.2, 0.8, rank), np.ones(rank)])
        parts = ([low], [high]) if axes else ([[0, 0], low], [[1, 1], high])
        roi = np.concatenate([*parts[0], *parts[1]]).astype(F32)
    elif draw.version == 11:
        roi = np.zeros(0, F32)
    outer = [] if axes else [1, 1]
    if axes is not None:
        attributes["axes"] = axes
    if draw.chance(0.5):
        if attributes.get("coordinate_transformation_mode") in (
            "align_corners",
            "half_pixel_symmetric",
        ):
            factors = [int(f * n) / n for f, n in zip(factors, shape[2:], strict=True)]
        return Case(
            [x, roi, np.array([*outer, *factors], F32)], attributes, exact=exact, absolute=off
        )
    if draw.version >= 18 and draw.chance(0.4):
        attributes["keep_aspect_ratio_policy"] = draw.pick(["stretch", "not_larger", "not_smaller"])
    outer = list(shape[:2]) if outer else []
    scales = np.zeros(0, F32) if draw.version == 11 else None
    return Case(
        [x, roi, scales, np.array([*outer, *sizes], np.int64)],
        attributes,
        exact=exact,
        absolute=off,
    )


@draws("GridSample")
def grid_sample(draw: Draw) -> Case:
    rank = 2 if draw.version < 20 or draw.chance(0.7) else 3
    shape = (draw.int(1, 2), draw.int(1, 2), *[draw.int(1, 5) for _ in range(rank)])
    out = [draw.int(1, 4) for _ in range(rank)]
    kind = draw.kind("T1", leave="OUSciub")
    linear, cubic = ("bilinear", "bicubic") if draw.version < 20 else ("linear", "cubic")
    modes = [linear, "nearest"] + ([cubic] if rank == 2 else [])
    grid = draw.rng.uniform(-1.6, 1.6, (shape[0], *out, rank)).astype(
        draw.kind("T2") if kind.kind == "f" else F32
    )
    attributes = draw.some(
        mode=draw.pick(modes),
        padding_mode=draw.pick(["zeros", "border", "reflection"]),
        align_corners=draw.int(0, 1),
    )
    return Case([draw.array(shape, kind), grid.astype(kind)], attributes)


@draws("AffineGrid")
def affine_grid(draw: Draw) -> Case:
    rank, kind = draw.pick([2, 3]), draw.kind("T1")
    size = [draw.int(1, 2), 1, *[draw.int(2, 4) for _ in range(rank)]]
    return Case(
        [draw.array((size[0], rank, rank + 1), kind), np.array(size, np.int64)],
        draw.some(align_corners=draw.int(0, 1)),
        tolerance=1e-6,
    )


@draws("Det")
def determinant(draw: Draw) -> Case:
    n = draw.int(1, 4)
    return Case([draw.array((*draw.shape(0, 2, (1, 2, 3)), n, n), draw.kind())], tolerance=1e-4)


@draws("DFT")
def dft(draw: Draw) -> Case:
    kind = draw.kind("T1")
    inverse, onesided = draw.int(0, 1), draw.int(0, 1)
    onesided = 0 if inverse else onesided
    parts = 1 if onesided else draw.int(1, 2)
    if inverse:
        parts = 2
    shape = (*[draw.int(1, 5) for _ in range(draw.int(2, 3))], parts)
    axis = draw.int(0, len(shape) - 2)
    length = np.array(draw.int(1, 7), np.int64) if draw.chance(0.4) else None
    x = draw.array(shape, kind)
    attributes = draw.some(inverse=inverse) | draw.some(onesided=onesided)
    if draw.version < 20:
        return Case([x, length], attributes | {"axis": axis}, tolerance=1e-5)
    return Case([x, length, np.array(axis, np.int64)], attributes, tolerance=1e-5)


@draws("STFT")
def stft(draw: Draw) -> Case:
    kind = draw.kind("T1")
    frame, count = draw.int(2, 6), draw.int(8, 16)
    signal = draw.array((draw.int(1, 2), count, 1), kind)
    window_ = draw.array((frame,), kind) if draw.chance(0.6) else None
    length = np.array(frame, np.int64) if window_ is None or draw.chance(0.5) else None
    return Case(
        [signal, np.array(draw.int(1, 4), np.int64), window_, length],
        draw.some(onesided=draw.int(0, 1)),
        tolerance=1e-5,
    )


@draws("HannWindow HammingWindow BlackmanWindow")
def windows(draw: Draw) -> Case:
    size = np.array(draw.int(2, 9), draw.pick([np.int32, np.int64]))
    return Case(
        [size],
        draw.some(periodic=draw.int(0, 1), output_datatype=draw.pick([1, 11])),
        absolute=1e-6,
    )


@draws("MelWeightMatrix")
def mel(draw: Draw) -> Case:
    low = draw.rng.uniform(0, 100)
    given = [
        np.array(draw.int(1, 6)),
        np.array(draw.int(16, 64)),
        np.array(draw.pick([8000, 16000])),
        np.array(low, F32),
        np.array(draw.rng.uniform(1500, 3900), F32),
    ]
    return Case(given, draw.some(output_datatype=1))
