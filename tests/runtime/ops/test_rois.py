"""RoiAlign, MaxRoiPool and DeformConv: parts of images at positions that are data."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from onnx.helper import make_node

FLOAT = np.float32


def regions(rng, count, size, images=2):
    corners = rng.uniform(-3, size + 3, (count, 2, 2))
    rois = np.concatenate([corners.min(1), corners.max(1)], 1).astype(FLOAT)
    return {"r": rois, "b": rng.integers(0, images, count)}


def align(**attributes):
    return make_node("RoiAlign", ["x", "r", "b"], ["y"], "align", **attributes)


@pytest.mark.parametrize("mode", ["avg", "max"])
def test_alignment(check, rng, mode):
    for ratio, transformation in itertools.product((0, 2), ("half_pixel", "output_half_pixel")):
        node = align(
            mode=mode, sampling_ratio=ratio, coordinate_transformation_mode=transformation,
            output_height=3, output_width=4, spatial_scale=0.5,
        )  # fmt: skip
        feeds = [
            {"x": rng.standard_normal((2, channels, 9, 7)).astype(FLOAT), **regions(rng, n, 16)}
            for channels, n in ((3, 5), (40, 30), (1, 0))
        ]
        check([node], feeds, threads=[1, 3], opset=16)


def test_regions_that_no_image_has_are_refused(refused, rng):
    x = rng.standard_normal((2, 3, 9, 7)).astype(FLOAT)
    good = regions(rng, 3, 8)
    for wrong in (2, -1):
        feeds = {"x": x, **good, "b": np.array([0, wrong, 1])}
        text = f"index {wrong} out of range in 'b': expected 0 to 1"
        assert text in refused([align()], feeds)
    for number in (np.nan, np.inf, 3e38):
        rois = good["r"].copy()
        rois[1, 2] = number
        assert "align" in refused([align()], {"x": x, "b": good["b"], "r": rois})
    assert "align" in refused([align()], {"x": x, "b": good["b"][:2], "r": good["r"]})
    assert "align" in refused([align()], {"x": x[:, :, :0], **good})


def test_pooling(check, rng):
    node = make_node("MaxRoiPool", ["x", "r"], ["y"], pooled_shape=[2, 3], spatial_scale=0.7)
    feeds = []
    for channels, n in ((3, 6), (33, 20), (2, 0)):
        given = regions(rng, n, 12)
        rois = np.concatenate([given["b"][:, None], np.abs(given["r"])], 1).astype(FLOAT)
        feeds.append({"x": rng.standard_normal((2, channels, 9, 7)).astype(FLOAT), "r": rois})
    check([node], feeds, threads=[1, 3], opset=21)


def test_pooling_of_images_that_are_not_there_is_refused(refused, rng):
    node = make_node("MaxRoiPool", ["x", "r"], ["y"], "pool", pooled_shape=[2, 2])
    x = rng.standard_normal((2, 3, 9, 7)).astype(FLOAT)
    for wrong in ([2, 0, 0, 3, 3], [-1, 0, 0, 3, 3], [np.nan, 0, 0, 3, 3], [0, np.nan, 0, 3, 3]):
        feeds = {"x": x, "r": np.array([wrong], FLOAT)}
        message = refused([node], feeds, opset=21)
        assert "pool" in message
        if not np.isnan(wrong[1]):
            number = "" if np.isnan(wrong[0]) else f" {wrong[0]}"
            assert f"index{number} out of range in 'r': expected 0 to 1" in message


# --- DeformConv -------------------------------------------------------------------------------


def deformable(rng, group, offset_group, *, mask=True, bias=True, channels=8, outputs=6):
    attributes = {"group": group, "offset_group": offset_group, "pads": [1, 0, 1, 2],
                  "strides": [1, 2], "dilations": [2, 1]}  # fmt: skip
    height, width = 9 + 2 - 5 + 1, (10 + 2 - 3) // 2 + 1
    normal = rng.standard_normal
    arrays = {
        "x": normal((2, channels, 9, 10)),
        "w": normal((outputs, channels // group, 3, 3)),
        "o": normal((2, offset_group * 18, height, width)) * 3,
        "b": normal(outputs) if bias else None,
        "m": rng.random((2, offset_group * 9, height, width)) if mask else None,
    }
    names = ["" if value is None else name for name, value in arrays.items()]
    node = make_node("DeformConv", names, ["y"], "deform", **attributes)
    return node, {name: a.astype(FLOAT) for name, a in arrays.items() if a is not None}


@pytest.mark.parametrize(("group", "offset_group"), [(1, 1), (2, 1), (1, 2), (2, 4)])
def test_deformable(check, rng, group, offset_group):
    for mask, bias, outputs in ((True, True, 6), (False, False, 40), (True, False, 2)):
        node, feeds = deformable(rng, group, offset_group, mask=mask, bias=bias, outputs=outputs)
        weights = {name: feeds.pop(name) for name in "wb" if name in feeds}
        check([node], feeds, weights, threads=[1, 3])
        check([node], {**feeds, "w": weights.pop("w")}, weights)
        relu = make_node("Relu", ["y"], ["z"])
        check(
            [node, relu],
            {**feeds, "w": rng.standard_normal((outputs, 8 // group, 3, 3)).astype(FLOAT)},
            weights,
        )


def test_offsets_far_away_read_zeros(check, rng):
    node, feeds = deformable(rng, 1, 1)
    offsets = feeds["o"].reshape(-1)
    offsets[:4] = 1e9, -1e9, 3e38, -3e38
    check([node], feeds)


@pytest.mark.parametrize("group", [1, 2])
def test_no_images_are_deformed(check, rng, group):
    node, feeds = deformable(rng, group, 1)
    none = {name: feeds.pop(name)[:0] for name in "xom"}
    y = np.zeros((0, 6, 7, 5), FLOAT)
    check([node], none | feeds, wanted=[[y]])
    check([node], none, feeds, wanted=[[y]])


def test_offsets_of_other_sizes_are_refused(refused, rng):
    node, feeds = deformable(rng, 1, 1)
    for name, wrong in (
        ("o", (2, 18, 7, 4)),
        ("m", (2, 9, 6, 5)),
        ("b", (5,)),
        ("o", (1, 18, 7, 5)),
    ):
        assert "deform" in refused([node], {**feeds, name: np.zeros(wrong, FLOAT)})
