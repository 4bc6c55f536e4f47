"""TensorFlow Lite files, against TensorFlow Lite's interpreter."""

from __future__ import annotations

import os

import numpy as np
import pytest
import sardonyx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WHY = "TensorFlow is not installed: pip install sardonyx[tensorflow]"
tf = pytest.importorskip("tensorflow", reason=WHY)
pytest.importorskip("tf2onnx", reason=WHY)
pytestmark = pytest.mark.filterwarnings("ignore:[^a-z]*Warning. tf.lite.Interpreter:UserWarning")


class Network(tf.Module):
    """A small convolutional network, and a product that is no part of it."""

    def __init__(self, rng):
        super().__init__()
        shapes = {"first": (3, 3, 3, 8), "depthwise": (3, 3, 8, 1), "bias": (8,), "last": (8, 4)}
        for name, shape in shapes.items():
            setattr(self, name, tf.Variable(rng.normal(0, 0.3, shape).astype(np.float32)))

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 3], tf.float32, name="image")])
    def __call__(self, image):
        x = tf.nn.relu(tf.nn.conv2d(image, self.first, 2, "SAME") + self.bias)
        x = tf.nn.relu6(tf.nn.depthwise_conv2d(x, self.depthwise, [1, 1, 1, 1], "SAME"))
        x = tf.reduce_mean(tf.nn.max_pool2d(x, 2, 2, "VALID"), [1, 2])
        return {"scores": tf.nn.softmax(x @ self.last), "mean": x}

    @tf.function(input_signature=[tf.TensorSpec([2, 8], tf.float32, name="row")])
    def product(self, row):
        return {"product": row @ self.last}


def write(path, rng, kind, *signatures):
    network = Network(rng)
    functions = {name: getattr(network, name) for name in signatures or ("__call__",)}
    if signatures:
        folder = str(path.parent / "saved")
        tf.saved_model.save(network, folder, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, list(functions))
    else:
        traced = [network.__call__.get_concrete_function()]
        converter = tf.lite.TFLiteConverter.from_concrete_functions(traced, network)
    if kind != "float":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if kind == "int8":
        images = rng.standard_normal((20, 1, 16, 16, 3)).astype(np.float32)
        converter.representative_dataset = lambda: ([image] for image in images)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    path.write_bytes(converter.convert())
    return path


def interpreted(path, signature="serving_default", **feeds):
    kind = tf.lite.experimental.OpResolverType.BUILTIN_REF
    interpreter = tf.lite.Interpreter(str(path), experimental_op_resolver_type=kind)
    (given,) = feeds.values()
    for details in interpreter.get_input_details():
        interpreter.resize_tensor_input(details["index"], given.shape)
    return interpreter.get_signature_runner(signature)(**feeds)


def run(model, **feeds):
    session = sardonyx.Session(model)
    assert [port.name for port in session.get_inputs()] == list(feeds)
    names = [port.name for port in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


@pytest.mark.parametrize("batch", [1, 3])
def test_float(rng, tmp_path, batch):
    path = write(tmp_path / "model.tflite", rng, "float")
    model = sardonyx.load(path)
    assert [value.shape[0].value for value in model.graph.inputs] == ["batch"]
    image = rng.standard_normal((batch, 16, 16, 3)).astype(np.float32)
    found, wanted = run(model, image=image), interpreted(path, image=image)
    assert found.keys() == wanted.keys() == {"scores", "mean"}
    for name in wanted:
        np.testing.assert_allclose(found[name], wanted[name], rtol=1e-4, atol=1e-5)


def test_quantized_weights(rng, tmp_path):
    path = write(tmp_path / "model.tflite", rng, "dynamic")
    image = rng.standard_normal((2, 16, 16, 3)).astype(np.float32)
    found, wanted = run(sardonyx.load(path), image=image), interpreted(path, image=image)
    for name in wanted:
        # The interpreter also rounds what it multiplies the weights with to eight bits.
        np.testing.assert_allclose(found[name], wanted[name], atol=0.01)


@pytest.mark.parametrize("optimized", [False, True])
def test_integers_within_one_step(rng, tmp_path, optimized):
    path = write(tmp_path / "model.tflite", rng, "int8")
    model = sardonyx.load(path)
    image = rng.integers(-128, 128, (4, 16, 16, 3)).astype(np.int8)
    found = run(sardonyx.optimize(model) if optimized else model, image=image)
    wanted = interpreted(path, image=image)
    for name in wanted:
        assert found[name].dtype == np.int8
        assert len(np.unique(wanted[name])) > 4
        steps = np.abs(found[name].astype(int) - wanted[name])
        assert steps.max() <= 1


def test_three_forms_of_a_real_model(zoo_model, rng):
    audio = (np.sin(np.arange(43844) * 0.13) * 0.5).astype(np.float32).reshape(1, -1, 1)
    audio += rng.normal(0, 0.01, audio.shape).astype(np.float32)
    lite = run(sardonyx.load(zoo_model("basic_pitch_tflite")), input_2=audio)
    saved = run(sardonyx.load(zoo_model("basic_pitch_saved_model")), input_2=audio)
    session = sardonyx.Session(zoo_model("basic_pitch"))
    ports = ["StatefulPartitionedCall:1", "StatefulPartitionedCall:2", "StatefulPartitionedCall:0"]
    wanted = session.run(ports, {session.get_inputs()[0].name: audio})
    for name, array in zip(["note", "onset", "contour"], wanted, strict=True):
        assert array.max() > 0.3
        np.testing.assert_allclose(lite[name], array, atol=1e-4)
        np.testing.assert_allclose(saved[name], array, atol=1e-4)


def test_signatures(rng, tmp_path):
    path = write(tmp_path / "model.tflite", rng, "float", "__call__", "product")
    with pytest.raises(sardonyx.InvalidArgument, match=r"choose with signature=.*'product'"):
        sardonyx.load(path)
    with pytest.raises(sardonyx.InvalidArgument, match=r"'other', only .*'product'"):
        sardonyx.load(path, signature="other")
    converted = 0
    for name, feeds in {
        "__call__": {"image": rng.standard_normal((1, 16, 16, 3)).astype(np.float32)},
        "product": {"row": rng.standard_normal((2, 8)).astype(np.float32)},
    }.items():
        try:
            model = sardonyx.load(path, signature=name)
        except sardonyx.UnsupportedModel as reason:
            assert "only its main graph" in str(reason)
            continue
        converted += 1
        found, wanted = run(model, **feeds), interpreted(path, name, **feeds)
        for key in wanted:
            np.testing.assert_allclose(found[key], wanted[key], rtol=1e-4, atol=1e-5)
    assert converted == 1


def test_damaged_files(rng, tmp_path):
    path = write(tmp_path / "model.tflite", rng, "float")
    data = path.read_bytes()
    for length in (0, 3, 8, 20, 200, len(data) // 2, len(data) - 4000):
        path.write_bytes(data[:length])
        with pytest.raises(sardonyx.InvalidModel, match=r"model\.tflite"):
            sardonyx.load(path)
    path.write_bytes(b"not a model, but text")
    with pytest.raises(sardonyx.InvalidModel, match="not a TensorFlow Lite model"):
        sardonyx.load(path)


def test_operators_that_onnx_lacks_are_named(tmp_path):
    path = tmp_path / "model.tflite"

    @tf.function(input_signature=[tf.TensorSpec([4], tf.float32, name="x")])
    def function(x):
        return tf.raw_ops.Betainc(a=x, b=x, x=x)

    concrete = function.get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.allow_custom_ops = True
    path.write_bytes(converter.convert())
    with pytest.raises(sardonyx.UnsupportedModel, match=r"model\.tflite.*Betainc.*standard"):
        sardonyx.load(path)


def test_options_of_other_forms_are_refused(rng, tmp_path):
    path = write(tmp_path / "model.tflite", rng, "float")
    with pytest.raises(
        sardonyx.InvalidArgument, match=r"inputs= is no option for the format TensorFlow Lite"
    ):
        sardonyx.load(path, inputs=["image"])


def _lite(function, shape, optimizations=()):
    spec = tf.TensorSpec(shape, tf.float32, "x")
    concrete = tf.function(function, input_signature=[spec]).get_concrete_function()
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
    converter.optimizations = list(optimizations)
    return converter.convert()


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu(tmp_path, approximate):
    path = tmp_path / "gelu.tflite"
    path.write_bytes(_lite(lambda x: tf.nn.gelu(x, approximate=approximate), [2, 8]))
    assert sardonyx.convert(path).agrees


@pytest.mark.parametrize("shape", [(64, 48), (3, 3, 16, 32)], ids=str)
def test_sparse_weights(tmp_path, rng, shape):
    weights = rng.standard_normal(shape).astype(np.float32)
    weights[np.abs(weights) < 1.5] = 0

    def layer(x):
        return tf.matmul(x, weights) if len(shape) == 2 else tf.nn.conv2d(x, weights, 1, "SAME")

    x = [2, 64] if len(shape) == 2 else [1, 8, 8, 16]
    path = tmp_path / "sparse.tflite"
    path.write_bytes(_lite(layer, x, [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]))
    assert sardonyx.convert(path).agrees
