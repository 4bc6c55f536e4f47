"""Real models against onnxruntime."""

import numpy as np
import onnxruntime as ort
import pytest
import sardonyx
from sardonyx.kernels.amx_permission import has_amx
from sardonyx.tools import zoo

OCR = [
    ("ocr_det", (1, 3, 96, 160)),
    ("ocr_det", (2, 3, 64, 64)),
    ("ocr_rec", (1, 3, 48, 160)),
    ("ocr_rec", (3, 3, 48, 96)),
    ("ocr_cls", (2, 3, 48, 192)),
]


def check(path, feeds, threads):
    settings = ort.SessionOptions()
    settings.log_severity_level = 4
    wanted = ort.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"]).run(
        None, feeds
    )
    found = sardonyx.Session(path, threads=threads).run(None, feeds)
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape and a.dtype == b.dtype
        if has_amx():  # errors of products of bfloat16 terms are relative to the largest value
            largest = max(1.0, float(np.abs(b).max(initial=0)))
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * largest)
        else:
            # Weights of 24 bits, of a last product, are off by 2 ** -16.
            np.testing.assert_allclose(a / unit(b), b / unit(b), rtol=1e-4, atol=2e-5)


def unit(wanted):
    """Typical size of each column of an output: pixels of a box, probabilities of its class."""
    if not wanted.size or wanted.dtype.kind != "f":
        return 1.0
    squares = np.square(wanted, dtype=np.float64)
    return np.maximum(1.0, np.sqrt(squares.mean(axis=tuple(range(wanted.ndim - 1)))))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", [n for n in zoo.LIGHT if n != "vgg19"])
def test_light_models(zoo_model, name, threads):
    path = zoo_model(name)
    check(path, zoo.inputs(name, np.random.default_rng(1)), threads)


def test_vgg19(zoo_model):
    check(zoo_model("vgg19"), zoo.inputs("vgg19", np.random.default_rng(1)), 2)


@pytest.mark.parametrize(("batch", "threads"), [(1, 1), (2, 2)])
@pytest.mark.parametrize("name", zoo.BUILT)
def test_networks_of_the_literature(name, batch, threads):
    check(zoo.model(name), zoo.inputs(name, np.random.default_rng(5), batch), threads)


@pytest.mark.parametrize(("name", "shape"), OCR)
def test_text_recognition_at_several_sizes(zoo_model, name, shape):
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    check(zoo_model(name), {"x": x}, 2)


@pytest.mark.parametrize("name", ["basic_pitch", "mnist", "silero", "silero_16k_op15", "magika"])
def test_other_models(zoo_model, name):
    check(zoo_model(name), zoo.inputs(name, np.random.default_rng(3)), 1)


def test_file_types(zoo_model):
    # Whole range of bytes: a file of only zeros and ones leaves its LayerNorm almost no variance.
    feeds = {"bytes": np.random.default_rng(4).integers(0, 256, (2, 2048)).astype(np.int32)}
    check(zoo_model("magika"), feeds, 1)
