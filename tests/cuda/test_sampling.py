"""Images read at places that are data: grids, regions, offsets, and what puts elements back."""

import numpy as np
import pytest
import sardonyx
from onnx import helper
from sardonyx.tools.cuda_cases import runs
from sardonyx.tools.cuda_cases.both import same_as_cpu
from sardonyx.tools.cuda_cases.runs import check, floats, model_of, on_gpu

node = helper.make_node


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
def test_grids(mode, padding):
    feeds = {"x": floats(2, 3, 5, 4), "g": floats(2, 3, 6, 2, seed=1)}
    for corners in (0, 1):
        sample = node("GridSample", ["x", "g"], ["y"], mode=mode, padding_mode=padding,
                      align_corners=corners)  # fmt: skip
        if (mode, padding) == ("cubic", "border"):  # as PyTorch and onnxruntime have it
            same_as_cpu(sample, feeds)
        else:
            check([sample], feeds, tolerance=1e-4)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_grids_of_volumes(mode):
    feeds = {"x": floats(1, 2, 3, 4, 5), "g": floats(1, 2, 3, 2, 3, seed=1)}
    check([node("GridSample", ["x", "g"], ["y"], mode=mode)], feeds, tolerance=1e-4)


def test_places_that_are_no_numbers():
    grid = np.array([[np.nan, np.inf], [-np.inf, 0], [1e30, -1e30], [0.1, 0.2]], np.float32)
    feeds = {"x": floats(1, 5, 4, 4), "g": grid.reshape(1, 2, 2, 2)}
    for padding in ("zeros", "border", "reflection"):
        same_as_cpu(node("GridSample", ["x", "g"], ["y"], padding_mode=padding), feeds)


ROIS = np.array([[0, 0, 3, 4], [1.2, 0.5, 3.6, 2.1], [-2, -1, 9, 7]], np.float32)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2])
def test_regions(mode, ratio):
    feeds = {"x": floats(2, 5, 6, 7), "r": ROIS, "i": np.array([1, 0, 1])}
    align = node("RoiAlign", ["x", "r", "i"], ["y"], output_height=3, output_width=2, mode=mode,
                 sampling_ratio=ratio, spatial_scale=0.9)  # fmt: skip
    # Of maxima the reference takes those of bilinear samples, onnxruntime's and ours of shares.
    session = check([align], feeds) if mode == "avg" else same_as_cpu(align, feeds)
    with pytest.raises(sardonyx.SardonyxError, match="out of range"):
        session.run(None, {**feeds, "i": np.array([1, 2, 0])})


def test_largest_pixels_of_regions(monkeypatch):
    monkeypatch.setattr(runs, "OPSET", 21)
    rois = np.concatenate([np.array([[1], [0], [1]], np.float32), ROIS], 1)
    pool = node("MaxRoiPool", ["x", "r"], ["y"], pooled_shape=[2, 3])
    session = same_as_cpu(pool, {"x": floats(2, 3, 6, 7), "r": rois})
    with pytest.raises(sardonyx.SardonyxError, match="out of range"):
        session.run(None, {"x": floats(2, 3, 6, 7), "r": rois + 2})


@pytest.mark.parametrize("options", [{}, {"pads": [1, 1, 1, 1]}, {"strides": [2, 1]}])
@pytest.mark.parametrize("has_mask", [False, True])
def test_windows_with_offsets(options, has_mask):
    out = {"pads": (5, 5), "strides": (2, 3)}.get(next(iter(options), ""), (3, 3))
    feeds = {"x": floats(1, 4, 5, 5), "o": floats(1, 2 * 2 * 9, *out, seed=1)}
    names = ["x", "w", "o"]
    if has_mask:
        names, feeds = [*names, "b", "m"], feeds | {"m": floats(1, 2 * 9, *out, seed=2)}
    deform = node("DeformConv", names, ["y"], offset_group=2, kernel_shape=[3, 3], **options)
    weights = {"w": floats(2, 4, 3, 3, seed=3), "b": floats(2, seed=4)}
    check([deform], feeds, weights if has_mask else {"w": weights["w"]}, tolerance=1e-4)


def test_pooling_is_undone():
    pool = node("MaxPool", ["x"], ["v", "i"], kernel_shape=[2, 2], strides=[2, 2])
    check([pool, node("MaxUnpool", ["v", "i"], ["y"], kernel_shape=[2, 2], strides=[2, 2])],
          {"x": floats(1, 3, 4, 6)})  # fmt: skip
    feeds = {"v": floats(1, 1, 2, 2), "i": np.full((1, 1, 2, 2), 99)}
    session = on_gpu(model_of([node("MaxUnpool", ["v", "i"], ["y"], kernel_shape=[2, 2])], feeds))
    with pytest.raises(sardonyx.SardonyxError, match="out of range"):
        session.run(None, feeds)


@pytest.mark.parametrize("options", [
    {}, {"pads": [1, 0, 1, 0]}, {"strides": [2, 2]}, {"dilations": [1, 2]},
])  # fmt: skip
def test_blocks_are_added_up(options):
    height = 5 + (2 if "pads" in options else 0)
    rows = (height - 2) // (2 if "strides" in options else 1) + 1
    reach = 5 if "dilations" in options else 3
    columns = (6 - reach) // (2 if "strides" in options else 1) + 1
    sizes = {"s": np.array([5, 6]), "k": np.array([2, 3])}
    check([node("Col2Im", ["x", "s", "k"], ["y"], **options)],
          {"x": floats(2, 3 * 6, rows * columns)}, sizes)  # fmt: skip


def test_affine_grids():
    for sizes in ([2, 1, 3, 4], [1, 1, 2, 3, 2]):
        rank = len(sizes) - 2
        for corners in (0, 1):
            grid = node("AffineGrid", ["t", "s"], ["y"], align_corners=corners)
            check([grid], {"t": floats(sizes[0], rank, rank + 1)}, {"s": np.array(sizes)})
