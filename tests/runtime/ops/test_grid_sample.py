"""GridSample: modes, paddings and corners, and positions that are no numbers."""

import numpy as np
import pytest
from onnx.helper import make_node
from onnx.reference import ReferenceEvaluator

from .conftest import build

MODES = ["linear", "nearest", "cubic"]
PADDINGS = ["zeros", "border", "reflection"]
FAR = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e10, -1e10, 0], np.float32)


def normal(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def positions(*shape, reach=2.5):
    return np.random.default_rng(1).uniform(-reach, reach, (*shape, 2)).astype(np.float32)


def sampling(**attributes):
    return make_node("GridSample", ["x", "g"], ["y"], **attributes)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_modes_and_paddings(check, mode, padding, corners):
    node = sampling(mode=mode, padding_mode=padding, align_corners=corners)
    for channels in (1, 3, 9, 37):
        feeds = {"x": normal(2, channels, 5, 7), "g": positions(2, 11, 6)}
        check([node], feeds, threads=[1, 4])
    for height, width in ((1, 6), (6, 2), (2, 1)):
        if corners and padding == "reflection" and 1 in (height, width):
            continue  # division by zero elsewhere: `test_one_pixel_is_its_own_reflection`
        check([node], {"x": normal(1, 3, height, width), "g": positions(1, 4, 5)})


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_pixels_and_the_edges_between_them(check, mode, padding, corners):
    """Positions in steps of a quarter of a pixel, beyond both ends: ties and borders."""
    steps = np.linspace(-2, 2, 33, dtype=np.float32)
    grid = np.stack(np.meshgrid(steps, steps), -1)[None]
    node = sampling(mode=mode, padding_mode=padding, align_corners=corners)
    for channels in (1, 5):
        check([node], {"x": normal(1, channels, 4, 4), "g": grid})


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_results_are_those_of_the_specification(check, mode, padding):
    """But for cubic weights at a border, where PyTorch and onnxruntime agree on others."""
    node = sampling(mode=mode, padding_mode=padding)
    reach = 0.5 if (mode, padding) == ("cubic", "border") else 2.5
    feeds = {"x": normal(1, 2, 5, 7), "g": positions(1, 4, 5, reach=reach)}
    wanted = ReferenceEvaluator(build([node], [feeds])).run(None, feeds)
    check([node], feeds, wanted=[wanted])


def test_named_sizes_and_layouts(check):
    node = sampling(mode="linear")
    dims = {"x": ["n", 3, "h", "w"], "g": ["n", "a", "b", 2]}
    feeds = [
        {"x": normal(n, 3, h, w), "g": positions(n, a, b)}
        for n, h, w, a, b in ((1, 4, 5, 3, 2), (2, 1, 1, 5, 5), (1, 3, 3, 0, 4), (0, 3, 3, 2, 4))
    ]
    check([node], feeds, dims=dims, threads=[1, 4])
    conv, relu = make_node("Conv", ["c", "w"], ["x"]), make_node("Relu", ["y"], ["z"])
    turn = make_node("Transpose", ["t"], ["g"], perm=[0, 2, 3, 1])
    join = make_node("Concat", ["y", "z"], ["u"], axis=1)
    offsets = np.moveaxis(positions(2, 6, 5), -1, 1)
    feeds = {"c": normal(2, 3, 4, 5), "t": np.ascontiguousarray(offsets)}
    check([conv, turn, node, relu, join], feeds, {"w": normal(17, 3, 1, 1)}, threads=[1, 4])


def test_names_of_older_opsets(check):
    feeds = {"x": normal(1, 3, 5, 7), "g": positions(1, 3, 4)}
    for mode in ("bilinear", "bicubic"):
        check([sampling(mode=mode)], feeds, opset=16)


@pytest.mark.parametrize("corners", [0, 1])
@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("mode", MODES)
def test_positions_far_away_read_nothing_outside(check, mode, padding, corners):
    """ONNX does not say what they give: as in PyTorch, NaN is -1."""
    node = sampling(mode=mode, padding_mode=padding, align_corners=corners)
    grid = np.stack(np.meshgrid(FAR, FAR), -1)[None]
    near = np.clip(np.where(np.isnan(grid), np.float32(-1), grid), -10, 10)
    x = np.ones((1, 6, 5, 4), np.float32)
    wanted = check([node], {"x": x, "g": near}).run(None, {"x": x, "g": near})
    check([node], {"x": x, "g": grid}, wanted=[wanted])


@pytest.mark.parametrize("mode", MODES)
def test_one_pixel_is_its_own_reflection(check, mode):
    node = sampling(mode=mode, padding_mode="reflection", align_corners=1)
    x = normal(1, 3, 1, 1)
    for grid in (positions(1, 4, 5), np.stack(np.meshgrid(FAR, FAR), -1)[None]):
        wanted = [[np.broadcast_to(x, (1, 3, *grid.shape[1:3]))]]
        check([node], {"x": x, "g": grid}, wanted=wanted)


def test_infinite_pixels_outside_of_the_window_do_not_count(check):
    x = normal(1, 6, 4, 4)
    x[..., 0, 0] = np.inf
    for mode in MODES:
        check([sampling(mode=mode)], {"x": x, "g": positions(1, 9, 9)})


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((1, 3, 4, 3), "size of axis 3 of the grid 'g': 3 and 2"),
        ((2, 3, 4, 2), "size of axis 0 of the grid 'g': 2 and 1"),
        ((1, 3, 4, 5, 3), "rank"),
    ],
)
def test_grids_of_other_sizes_are_refused(refused, shape, text):
    feeds = {"x": normal(1, 2, 5, 5), "g": np.zeros(shape, np.float32)}
    assert "sampler" in refused([sampling(name="sampler")], feeds)
    names = {"x": ["a", "b", "c", "d"], "g": [f"g{axis}" for axis in range(len(shape))]}
    assert text in refused([sampling()], feeds, dims=names)


def test_empty_images_and_unknown_words_are_refused(refused):
    feeds = {"x": normal(1, 2, 0, 5), "g": positions(1, 2, 2)}
    assert "over zero elements" in refused([sampling()], feeds)
    feeds = {"x": normal(1, 2, 5, 5), "g": positions(1, 2, 2)}
    assert "padding_mode" in refused([sampling(padding_mode="wrap")], feeds)
    assert "mode" in refused([sampling(mode="area")], feeds)


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_volumes(check, mode):
    for padding in ("zeros", "border", "reflection"):
        node = sampling(mode=mode, padding_mode=padding, align_corners=int(padding == "border"))
        feeds = []
        for channels, sizes, out in ((2, (3, 4, 5), (2, 3, 4)), (37, (1, 2, 1), (1, 1, 7))):
            grid = np.random.default_rng(1).uniform(-1.7, 1.7, (2, *out, 3)).astype(np.float32)
            feeds.append({"x": normal(2, channels, *sizes), "g": grid})
        check([node], feeds, threads=[1, 3], opset=20)


def test_doubles(check):
    double = {"x": normal(1, 2, 3, 3).astype(np.float64), "g": positions(1, 2, 2)}
    double["g"] = double["g"].astype(np.float64)
    check([sampling()], double, tolerance=1e-12)
