from __future__ import annotations

import dataclasses
import os

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import sardonyx
from sardonyx.tools import batches, feeds, zoo


def outputs(path, feeds):
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(str(path), options).run(None, feeds)


@pytest.mark.parametrize("name", zoo.BUILT)
def test_a_built_network_is_valid_and_answers_to_its_input(name, rng):
    path = zoo.model(name)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    first, second = (outputs(path, zoo.inputs(name, rng))[0] for _ in range(2))
    assert np.abs(first - second).max() > 0.01 * first.std()  # the tolerance is 1e-4


@pytest.mark.parametrize("name", [n for n in zoo.BUILT if n != "yolo"])  # its boxes are in pixels
def test_the_signal_of_a_built_network_neither_grows_nor_dies(name, rng):
    (found,) = outputs(zoo.model(name), zoo.inputs(name, rng))
    assert 0.3 < found.std() < 5


# Million parameters of the papers' networks, with biases and normalization.
@pytest.mark.parametrize(
    ("name", "millions"),
    [("mobilenet_v2", 3.5), ("mobilenet_v3", 5.5), ("efficientnet_b0", 5.3), ("resnet18", 11.7)],
)
def test_a_built_network_is_as_large_as_in_its_paper(name, millions):
    stored = onnx.load(zoo.model(name)).graph.initializer
    parameters = sum(np.prod(tensor.dims) for tensor in stored)
    assert parameters / 1e6 == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "inception_v1", "resnet50"])
def test_a_light_model_answers_to_its_input(name, zoo_model, rng):
    """Neither dead nor saturated: another input gives another answer, beyond any tolerance."""
    path = zoo_model(name)
    first, second = (outputs(path, zoo.inputs(name, rng))[0].ravel() for _ in range(2))
    assert first.std() > 0.5 * first.mean() > 0
    assert first.max() < 0.9
    assert np.abs(first - second).max() > 0.01 * first.max()  # the tolerance is 1e-4


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet", "inception_v1", "mnist"])
def test_a_fixed_batch_is_freed(name, zoo_model, rng):
    fixed, free = zoo_model(name), zoo.with_free_batch(name)
    assert fixed != free
    made = zoo.inputs(name, rng, 3)
    ((key, images),) = made.items()
    for batch in (3, 1):
        found = outputs(free, {key: images[:batch]})[0]
        wanted = [outputs(fixed, {key: images[i : i + 1]})[0] for i in range(batch)]
        np.testing.assert_allclose(found, np.concatenate(wanted), rtol=1e-4, atol=1e-6)


def test_a_free_batch_is_left_as_it_is():
    assert zoo.with_free_batch("resnet18") == zoo.model("resnet18")


def test_a_model_that_computes_with_its_batch_is_refused(rng):
    text = """
        <ir_version: 9, opset_import: ["": 17]>
        g (float[1, 6] x) => (float[2, 3] y) <int64[2] shape = {2, 3}> { y = Reshape(x, shape) }
    """
    model = ir.to_proto(ir.from_onnx_text(text))
    with pytest.raises(sardonyx.InvalidArgument, match=r"Reshape.*changes the batch"):
        batches.free(model)


def test_random_inputs_fit_the_model(rng):
    model = ir.from_onnx_text("""
        <ir_version: 9, opset_import: ["": 17]>
        g (float16[N, 3, M] x, int64[N] i, bool[2] b, string[2] s, float[?, 4] k, float[1] w)
          => (float[1] y) <float[1] w = {1.0}> { y = Identity(w) }
    """)
    made = feeds.random_inputs(model, {"N": 5, "k": (6, 4)}, rng, {"i": [7]})
    assert {name: (value.shape, value.dtype) for name, value in made.items()} == {
        "x": ((5, 3, 1), np.float16),
        "i": ((1,), np.int64),
        "b": ((2,), np.bool_),
        "s": ((2,), object),
        "k": ((6, 4), np.float32),
    }


def test_a_file_with_another_digest_is_not_given_out(monkeypatch, tmp_path):
    monkeypatch.setenv("SARDONYX_TEST_MODELS", str(tmp_path))
    entry = dataclasses.replace(zoo.PACKAGED["mnist"], package="fake==1", path="a/m.onnx")
    monkeypatch.setitem(zoo.PACKAGED, "fake", entry)
    (tmp_path / "fake-1" / "a").mkdir(parents=True)
    (tmp_path / "fake-1" / "a" / "m.onnx").write_bytes(b"something else")
    with pytest.raises(zoo.Unavailable, match="does not hold the expected"):
        zoo.model("fake")


def test_an_unreachable_registry_is_said_so(monkeypatch, tmp_path):
    monkeypatch.setenv("SARDONYX_TEST_MODELS", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(zoo.Unavailable, match="pip cannot download qonnx"):
        zoo.model("mnist")


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(sardonyx.InvalidArgument, match=r"there are resnet50, .* mnist"):
        zoo.model("nothing")


def test_the_folder_for_models_leaves_the_cache_private(tmp_path, monkeypatch):
    monkeypatch.delenv("SARDONYX_TEST_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    before = os.umask(0)
    try:
        folder = zoo.cache_folder()
    finally:
        os.umask(before)
    assert folder == tmp_path / "cache" / "sardonyx" / "models"
    assert {path.stat().st_mode & 0o77 for path in (folder, *folder.parents[:2])} == {0}
