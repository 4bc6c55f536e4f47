"""Images of a folder become what a model says it takes, or what options say."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper, numpy_helper
from sardonyx import InvalidArgument
from sardonyx.importers import load
from sardonyx.tools.calibration_images import ImageFolder, ImageOptions

Image = pytest.importorskip("PIL.Image")
COLOUR = (200, 100, 50)
F32 = np.float32


def model(
    shape: Any, first: tuple[str, Any] | None = None, kind: int = 1, **metadata: str
) -> onnx.ModelProto:
    """Image to the mean of each channel, behind one operator on it, and a small convolution."""
    nodes, arrays, x = [], [], "x"
    if kind != 1:
        nodes.append(helper.make_node("Cast", [x], ["floats"], to=1))
        x = "floats"
    if first is not None:
        arrays.append(numpy_helper.from_array(np.asarray(first[1], F32), "operand"))
        nodes.append(helper.make_node(first[0], [x, "operand"], ["prepared"]))
        x = "prepared"
    if shape[1] not in (1, 3):
        nodes.append(helper.make_node("Transpose", [x], ["moved"], perm=[0, 3, 1, 2]))
        x = "moved"
    channels = shape[1] if shape[1] in (1, 3) else shape[3]
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((4, channels, 3, 3)).astype(F32)
    arrays.append(numpy_helper.from_array(weights, "weights"))
    nodes.append(helper.make_node("Conv", [x, "weights"], ["y"]))
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    outputs = [helper.make_tensor_value_info("y", 1, [None] * 4)]
    graph = helper.make_graph(nodes, "net", inputs, outputs, arrays)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    helper.set_model_props(made, {key.replace("_", "."): text for key, text in metadata.items()})
    return made


@pytest.fixture
def folder(tmp_path):
    for number in range(5):
        Image.new("RGB", (60, 40), COLOUR).save(tmp_path / f"{number}.png")
    return tmp_path


def feeds(source: onnx.ModelProto, folder: Any, **options: Any) -> list[np.ndarray]:
    found = ImageFolder(load(source), folder, ImageOptions(**options))
    return [feed["x"] for feed in found]


def test_the_shape_gives_size_and_layout(folder):
    (first,) = feeds(model(("n", 3, 24, 32), ("Div", 255.0)), folder)
    (last,) = feeds(model(("n", 24, 32, 3), ("Div", 255.0)), folder)
    assert first.shape == (5, 3, 24, 32) and last.shape == (5, 24, 32, 3)
    assert (first[0, :, 0, 0] == COLOUR).all() and (last[0, 0, 0] == COLOUR).all()


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (model(("n", 3, 8, 8), ("Div", 255.0)), COLOUR),
        (model(("n", 3, 8, 8), ("Mul", 1 / 127.5)), COLOUR),
        (model(("n", 3, 8, 8), ("Sub", 0.5)), np.divide(COLOUR, 255)),
        (model(("n", 3, 8, 8), Image_NominalPixelRange="Normalized_1_1"),
         np.divide(COLOUR, 127.5) - 1),
        (model(("n", 3, 8, 8), ("Div", 255.0), Image_BitmapPixelFormat="Bgr8"), COLOUR[::-1]),
        (model(("n", 3, 8, 8), ("Div", 255.0), kind=2), COLOUR),
    ],
)  # fmt: skip
def test_the_model_gives_range_and_order(source, expected, folder):
    (images,) = feeds(source, folder)
    np.testing.assert_allclose(images[0, :, 4, 4], expected, rtol=1e-6)


def test_options_come_before_what_a_model_says(folder):
    source = model((2, 3, 8, 8), ("Div", 255.0))
    found = feeds(source, folder, mean=[10, 20, 30], scale=[2], order="bgr")
    assert len(found) == 2 and found[0].shape == (2, 3, 8, 8)
    expected = (np.array(COLOUR[::-1]) - [10, 20, 30]) / 2
    np.testing.assert_allclose(found[0][0, :, 0, 0], expected)


def test_open_width_keeps_proportions(folder):
    found = feeds(model(("n", 3, 20, "w")), folder, mean=[0], scale=[255])
    assert [each.shape for each in found] == [(1, 3, 20, 30)] * 5


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (model(("n", 3, 8, 8)), {}, "does not say which values input 'x' takes"),
        (model(("n", 3, "h", "w")), {"scale": [255]}, "any size"),
        (model(("n", 3, 8, 3)), {"scale": [255]}, "give a layout"),
        (model(("n", 3, 8, 8)), {"scale": [255], "resize": (4, 4)}, "resize is"),
        (model((9, 3, 8, 8)), {"scale": [255]}, "takes 9 images"),
    ],
)
def test_what_is_not_said_is_asked_for(source, options, message, folder):
    with pytest.raises(InvalidArgument, match=message):
        feeds(source, folder, **options)


def test_files_that_are_no_images_are_named(folder):
    (folder / "3.png").write_bytes(b"no image")
    with pytest.raises(InvalidArgument, match=r"3\.png is no image"):
        feeds(model(("n", 3, 8, 8)), folder, scale=[255])


@pytest.mark.parametrize("content", [b"GIF89a", b"RIFF\x10\0\0\0WEBPVP8 ", b"II*\0\x08\0\0\0"])
def test_broken_files_are_named_whatever_their_decoder_raises(content, folder):
    (folder / "3.tiff").write_bytes(content)
    with pytest.raises(InvalidArgument, match=r"3\.tiff is no image"):
        feeds(model(("n", 3, 8, 8)), folder, scale=[255])


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_of_16_bits_become_8(channels, tmp_path):
    Image.fromarray(np.full((9, 9), 257 * 200, np.uint16)).save(tmp_path / "a.png")
    (found,) = feeds(model((1, channels, 9, 9), ("Div", 255.0)), tmp_path)
    assert (found == 200).all() and found.shape == (1, channels, 9, 9)


def test_pixels_of_floats_have_no_known_range(tmp_path):
    Image.fromarray(np.full((9, 9), 0.5, F32)).save(tmp_path / "a.tiff")
    with pytest.raises(InvalidArgument, match="pixels are floats, of no known range"):
        feeds(model((1, 1, 9, 9), ("Div", 255.0)), tmp_path)


@pytest.mark.parametrize(
    "options",
    [
        {"layout": "CHW"},
        {"order": "rbg"},
        {"scale": [0.0]},
        {"scale": [np.nan]},
        {"mean": [np.inf]},
    ],
)
def test_unknown_options_are_refused(options):
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        ImageOptions(**options)


def test_a_folder_of_images_calibrates(folder, call, tmp_path):
    source = tmp_path / "model.onnx"
    onnx.save(model(("n", 3, 8, 8)), source)
    command = ["quantize", source, "-o", tmp_path / "q.onnx", "--data", folder]
    found = call(*command)
    assert found.exit_code == 1 and "give mean and scale" in found.stderr
    found = call(*command, "--mean", "123.7,116.3,103.5", "--scale", 58, "--force")
    assert found.exit_code == 0, found.stderr
    done = sardonyx.quantize(model(("n", 3, 8, 8), ("Div", 255.0)), str(folder))
    assert done.runs == 1 and done.count == 1
