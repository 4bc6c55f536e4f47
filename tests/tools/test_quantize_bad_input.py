"""What `quantize` cannot do is refused by name, and nothing is written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sardonyx
from sardonyx import InvalidArgument
from sardonyx.tools.demo import held_out_images

from .quantize_cases import DIGITS, F32, Net, image_net, in_onnxruntime, samples


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "needs calibration data"),
        ([], "calibration data is empty"),
        ({"x": np.zeros((0, 4, 8, 8), F32)}, "calibration data is empty"),
        ([{"z": np.zeros((1, 4, 8, 8), F32)}], "no input 'z'; the model has x"),
        ([{}], "input 'x' is missing"),
        ([np.zeros((1, 4, 8, 8))], "'x' is float64, expected float32"),
        ([np.zeros((1, 3, 8, 8), F32)], r"'x' has the shape \(1, 3, 8, 8\)"),
        ([np.full((1, 4, 8, 8), np.nan, F32)], "run 1 .* input 'x' is NaN"),
        (7, "not a int"),
        ([[[1.0], [1.0, 2.0]]], "run 1 .* input 'x' is no array"),
    ],
)
def test_bad_data_is_refused_and_nothing_written(data, message, tmp_path):
    path = tmp_path / "q.onnx"
    with pytest.raises(InvalidArgument, match=message):
        sardonyx.quantize(image_net("add"), data, path)
    assert not path.exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04broken", "objects.npy", "objects.npz"])
def test_files_that_hold_no_arrays_are_named(content, tmp_path):
    path = tmp_path / (content if isinstance(content, str) else "x.npz")
    objects = np.array([{}], object)
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".npy":
        np.save(path, objects, allow_pickle=True)
    else:
        np.savez(path, x=objects)
    with pytest.raises(InvalidArgument, match=f"{path.name}: not a readable .npy or .npz file"):
        sardonyx.quantize(image_net("add"), path)


def test_a_folder_without_arrays_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(InvalidArgument, match=f"{tmp_path} holds no file of .npy, .npz, nor"):
        sardonyx.quantize(image_net("add"), tmp_path)


def test_a_tensor_that_overflows_is_named(tmp_path):
    net = Net()
    y = net.conv(net.op("Exp", net.op("Mul", "x", F32(1e30))), 4, 4)
    with pytest.raises(InvalidArgument, match=r"tensor 'v1_0' is NaN or infinite in run 1"):
        sardonyx.quantize(net.model(y), [np.ones((1, 4, 8, 8), F32)])


def test_a_tensor_that_is_zero_is_named(rng, tmp_path):
    net = Net()
    y = net.conv(net.op("Relu", net.conv("x", 4, 8)), 8, 4)
    model, path = net.model(y), tmp_path / "q.onnx"
    with pytest.warns(UserWarning, match="'x' is zero in all runs"):
        sardonyx.quantize(model, [np.zeros((1, 4, 8, 8), F32)], path)
    assert np.isfinite(in_onnxruntime(str(path), samples(rng, 2))).all()


def test_what_is_quantized_already_is_refused(rng, tmp_path):
    path = tmp_path / "q.onnx"
    sardonyx.quantize(image_net("add"), samples(rng), path)
    for mode in ("static", "dynamic", "weights"):
        with pytest.raises(InvalidArgument, match="quantized already: node"):
            sardonyx.quantize(str(path), samples(rng), mode=mode)


@pytest.mark.parametrize(
    "options",
    [{"mode": "int8"}, {"method": "max"}, {"bits": 5}, {"block": 24}, {"rounding": "awq"},
     {"percentile": 0.9}, {"percentile": "99"}, {"block": 32.0}, {"keep": "conv"},
     {"rounding": "mse"}, {"max_drop": "1"}, {"labels": 3}],
)  # fmt: skip
def test_unknown_options_are_refused(options):
    with pytest.raises(InvalidArgument, match=next(iter(options))):
        sardonyx.quantize(DIGITS, held_out_images().pixels, **options)


@pytest.mark.parametrize(("mode", "options"), [
    ("dynamic", {"rounding": "gptq"}), ("dynamic", {"keep": ["node_linear"]}),
    ("weights", {"equalize": True}), ("weights", {"plots": "pictures"}),
    ("fp16", {"correct": True}), ("static", {"ports": True}), ("bf16", {"products": True}),
])  # fmt: skip
def test_options_that_a_mode_does_not_read_are_refused(mode, options):
    name = next(iter(options))
    with pytest.raises(InvalidArgument, match=f"{name}=.* changes nothing with mode '{mode}'"):
        sardonyx.quantize(DIGITS, held_out_images().pixels[:8], mode=mode, **options)


def test_places_that_cannot_be_written_to_are_refused_first(tmp_path):
    (tmp_path / "file").write_text("")
    for path, options, message in (
        (tmp_path / "none" / "q.onnx", {}, "there is no folder"),
        (tmp_path, {}, "is a folder: name a file"),
        (tmp_path / "q.onnx", {"plots": tmp_path / "file"}, "is no folder"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            sardonyx.quantize(DIGITS, "data that is not read", path, **options)


def test_models_without_products_are_refused(rng):
    net = Net()
    with pytest.raises(InvalidArgument, match="nothing to quantize"):
        sardonyx.quantize(net.model(net.op("Relu", "x")), samples(rng))


def test_images_are_no_arrays(call, tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    found = call("quantize", DIGITS, "-o", tmp_path / "q.onnx", "--data", tmp_path)
    assert found.exit_code == 1 and "give mean and scale" in found.stderr


def test_weights_that_are_no_numbers_are_named() -> None:
    net = Net()
    weights = net.rng.standard_normal((8 * 8 * 4, 64)).astype(F32)
    weights[3, 5] = np.nan
    flat = net.op("Reshape", "x", np.array([0, -1]))
    made = net.model(net.op("MatMul", flat, net.constant(weights)))
    with pytest.warns(UserWarning, match=r"NaN or infinite: 'c1' of node .*MatMul"):
        sardonyx.quantize(made, mode="fp16")


def test_what_is_kept_has_to_be_there() -> None:
    net = Net()
    made = net.model(net.conv("x", 4, 8))
    with pytest.raises(InvalidArgument, match="no node or operator 'nope'"):
        sardonyx.quantize(made, mode="fp16", keep=["nope"])
    assert sardonyx.quantize(made, mode="fp16", keep=["Softmax"]).count


def test_opsets_that_are_too_new_are_refused_before_calibrating() -> None:
    def data() -> Any:
        raise AssertionError("calibrated")
        yield

    net = Net()
    with pytest.raises(InvalidArgument, match="target_opset must be at most"):
        sardonyx.quantize(net.model(net.conv("x", 4, 8)), data(), target_opset=99)


def test_labels_that_are_no_class_are_refused() -> None:
    flat = Net()
    made = flat.model(flat.op("Flatten", flat.op("GlobalAveragePool", flat.conv("x", 4, 8))))
    x = flat.rng.standard_normal((16, 4, 8, 8)).astype(F32)
    with pytest.raises(InvalidArgument, match="label 8 is none of the 8 classes"):
        sardonyx.quantize(made, x, max_drop=1, labels=np.full(16, 8), force=True)
