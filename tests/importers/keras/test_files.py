"""Weights apart from their model, and files that cannot be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import sardonyx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WHY = "Keras with TensorFlow is not installed: pip install sardonyx[keras]"
pytest.importorskip("tensorflow", reason=WHY)
keras = pytest.importorskip("keras", reason=WHY)
h5py = pytest.importorskip("h5py", reason=WHY)
layers = keras.layers


def network(*names):
    first, norm, last = names or ("first", "norm", "last")
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            layers.Conv2D(3, 3, name=first, activation="relu"),
            layers.BatchNormalization(name=norm),
            layers.Flatten(),
            layers.Dense(4, name=last),
        ]
    )


@pytest.fixture
def trained(rng):
    made = network()
    made.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in made.get_weights()])
    return made


def legacy_weights(path, model, names=None):
    """Write what Keras 2 wrote as ``save_weights``."""
    with h5py.File(path, "w") as file:
        owners = [layer for layer in model.layers if layer.weights]
        names = names or [layer.name for layer in owners]
        file.attrs["layer_names"] = [name.encode() for name in names]
        file.attrs["backend"], file.attrs["keras_version"] = b"tensorflow", b"2.3.1"
        for name, layer in zip(names, owners, strict=True):
            group = file.create_group(name)
            stored = [f"{name}/{v.name}:0" for v in layer.weights]
            group.attrs["weight_names"] = [entry.encode() for entry in stored]
            for entry, variable in zip(stored, layer.weights, strict=True):
                group.create_dataset(entry, data=keras.ops.convert_to_numpy(variable))
    return path


CONFIG_OF_KERAS_2 = {
    "class_name": "Sequential",
    "keras_version": "2.3.1",
    "backend": "tensorflow",
    "config": {
        "name": "sequential_1",
        "layers": [
            {
                "class_name": "Conv2D",
                "config": {
                    "name": "first", "filters": 3, "kernel_size": [3, 3], "activation": "relu",
                    "batch_input_shape": [None, 6, 6, 2], "dtype": "float32",
                    "data_format": "channels_last", "padding": "valid",
                },
            },
            {"class_name": "BatchNormalization", "config": {"name": "norm", "axis": -1}},
            {"class_name": "Flatten", "config": {"name": "flat", "data_format": "channels_last"}},
            {"class_name": "Dense", "config": {"name": "last", "units": 4, "use_bias": True}},
        ],
    },
}  # fmt: skip


def check(model, framework, rng):
    x = rng.standard_normal((2, 6, 6, 2)).astype(np.float32)
    wanted = keras.ops.convert_to_numpy(framework(x, training=False))
    np.testing.assert_allclose(sardonyx.Session(model)(x), wanted, rtol=1e-4, atol=1e-5)


def test_weights_with_a_config(trained, rng, tmp_path):
    path = legacy_weights(tmp_path / "weights.h5", trained)
    (tmp_path / "net.json").write_text(json.dumps(CONFIG_OF_KERAS_2))
    configs = [tmp_path / "net.json", str(tmp_path / "net.json"), json.dumps(CONFIG_OF_KERAS_2)]
    for config in [*configs, CONFIG_OF_KERAS_2, trained.to_json()]:
        check(sardonyx.load(path, config=config), trained, rng)
    trained.save_weights(tmp_path / "net.weights.h5")
    os.link(tmp_path / "net.weights.h5", tmp_path / "other.h5")
    for name in ("net.weights.h5", "other.h5"):
        check(sardonyx.load(tmp_path / name, config=trained.to_json()), trained, rng)
    with pytest.raises(sardonyx.InvalidArgument, match=r"only weights.*config="):
        sardonyx.load(path)
    with pytest.raises(sardonyx.InvalidModel, match="JSON"):
        sardonyx.load(path, config="{broken")


def test_weights_with_a_model_which_keeps_its_own(trained, rng, tmp_path):
    other = network("a", "b", "c")
    before = other.get_weights()
    legacy = legacy_weights(tmp_path / "weights.h5", trained)
    trained.save(tmp_path / "net.keras")
    trained.save(tmp_path / "net.h5")
    trained.save_weights(tmp_path / "net.weights.h5")
    for name in ("weights.h5", "net.h5", "net.weights.h5", "net.keras"):
        check(sardonyx.load(tmp_path / name, model=other), trained, rng)
    for kept, value in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(kept, value)
    with pytest.raises(sardonyx.InvalidArgument, match=r"no layer has a name.*first.*model.*'a'"):
        sardonyx.load(legacy, model=other, by_name=True)


def test_weights_by_name(trained, rng, tmp_path):
    # In another order, and one layer has no weights in the file.
    path = legacy_weights(tmp_path / "weights.h5", trained, ["norm", "first", "other"])
    with h5py.File(path, "r+") as file:
        file.move("norm", "swap"), file.move("first", "norm"), file.move("swap", "first")
    other = network()
    model = sardonyx.load(path, model=other, by_name=True)
    for i, layer in enumerate(other.layers[:2]):
        layer.set_weights(trained.layers[i].get_weights())
    check(model, other, rng)


def test_weights_of_another_model(trained, tmp_path):
    path = legacy_weights(tmp_path / "weights.h5", trained)
    small = keras.Sequential([keras.Input((6, 6, 2)), layers.Conv2D(3, 3, name="first")])
    with pytest.raises(sardonyx.InvalidArgument, match=r"3 layers.*has 1"):
        sardonyx.load(path, model=small)
    wide = keras.Sequential([keras.Input((6, 6, 2)), layers.Conv2D(5, 3, name="first")])
    with pytest.raises(sardonyx.InvalidModel, match=r"'first' \(Conv2D\).*3, 3, 2, 5.*3, 3, 2, 3"):
        sardonyx.load(path, model=wide, by_name=True)


class Doubled(layers.Layer):
    def call(self, x):
        return 2 * x


@pytest.mark.parametrize("ending", ["keras", "h5"])
def test_classes_and_functions_of_the_caller(rng, tmp_path, ending):
    def twice(x):
        return x * 2

    made = keras.Sequential([keras.Input((3,)), Doubled(), layers.Activation(twice, name="act")])
    made.save(tmp_path / f"net.{ending}")
    with pytest.raises(
        sardonyx.ImportFailed, match=r"Doubled.*custom_objects=|custom_objects=.*Doubled"
    ):
        sardonyx.load(tmp_path / f"net.{ending}")
    objects = {"Doubled": Doubled, "twice": twice}
    model = sardonyx.load(tmp_path / f"net.{ending}", custom_objects=objects)
    x = rng.standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_allclose(sardonyx.Session(model)(x), 4 * x, rtol=1e-6)


@pytest.mark.parametrize("ending", ["keras", "h5", "hdf5"])
def test_lambda_layers_need_the_callers_word(rng, tmp_path, ending):
    made = keras.Sequential([keras.Input((3,)), layers.Lambda(lambda x: x + 1, name="plus")])
    made.save(tmp_path / f"net.{ending}")
    with pytest.raises(sardonyx.ImportFailed, match=r"'plus' is a Lambda.*safe_mode=False"):
        sardonyx.load(tmp_path / f"net.{ending}")
    model = sardonyx.load(tmp_path / f"net.{ending}", safe_mode=False)
    x = rng.standard_normal((2, 3)).astype(np.float32)
    np.testing.assert_allclose(sardonyx.Session(model)(x), x + 1, rtol=1e-6)


def old_file(path, *entries):
    """Write a model of Keras 2 without weights."""
    first = {"class_name": "Flatten", "config": {"name": "f", "batch_input_shape": [None, 4]}}
    with h5py.File(path, "w") as file:
        config = {"class_name": "Sequential", "config": [first, *entries]}
        file.attrs["model_config"] = json.dumps(config).encode()
        file.attrs["keras_version"], file.attrs["backend"] = b"2.1.6", b"tensorflow"
        file.create_group("model_weights").attrs["layer_names"] = np.zeros(0, "S1")
    return path


def entry(class_name, **config):
    return {"class_name": class_name, "config": {"name": "it", **config}}


def test_old_files_with_functions(rng, tmp_path):
    x = rng.standard_normal((2, 4)).astype(np.float32)
    activation = old_file(tmp_path / "a.h5", entry("Activation", activation="mine"))
    with pytest.raises(sardonyx.ImportFailed, match=r"'it' \(Activation\).*custom_objects="):
        sardonyx.load(activation)
    objects = {"mine": lambda x: 3 * x}
    found = sardonyx.Session(sardonyx.load(activation, custom_objects=objects))(x)
    np.testing.assert_allclose(found, 3 * x, rtol=1e-6)
    named = entry("Lambda", function="mine", function_type="function", arguments={})
    path = old_file(tmp_path / "b.h5", named)
    with pytest.raises(sardonyx.ImportFailed, match="'it' is a Lambda"):
        sardonyx.load(path)
    with pytest.raises(sardonyx.ImportFailed, match=r"function 'mine'.*custom_objects="):
        sardonyx.load(path, safe_mode=False)
    model = sardonyx.load(path, safe_mode=False, custom_objects=objects)
    np.testing.assert_allclose(sardonyx.Session(model)(x), 3 * x, rtol=1e-6)


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (entry("Strange"), "ImportFailed", "'it' is a Strange.*custom_objects"),
        (entry("LocallyConnected1D"), "UnsupportedModel", "'it' is a LocallyConnected1D.*ONNX"),
        (entry("TFOpLambda"), "UnsupportedModel", "'it' is a TFOpLambda"),
        (entry("Merge", mode="<code>......"), "UnsupportedModel", "'it' merges by a function"),
        (entry("BatchNormalization", mode=2), "UnsupportedModel", r"'it' .*mode=2"),
        (entry("Dense", units=3, new=1), "UnsupportedModel", r"'it' \(Dense\) has new=1"),
        (entry("Conv2D", filters=3, kernel_size=[3, 3]), "ImportFailed", r"'it' .*refuses its"),
        (entry("Dense", units=-3), "ImportFailed", r"'it' \(Dense\)"),
    ],
)
def test_layers_that_cannot_be_imported_are_named(tmp_path, made, error, message):
    with pytest.raises(getattr(sardonyx, error), match=message):
        sardonyx.load(old_file(tmp_path / "net.h5", made))


def test_files_that_are_none_of_keras(trained, tmp_path):
    for name in ("a.h5", "a.keras", "a.hdf5"):
        (tmp_path / name).write_bytes(b"no model")
        with pytest.raises(sardonyx.InvalidModel, match="is not a Keras file"):
            sardonyx.load(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "b.keras", "w") as archive:
        archive.writestr("other.json", "{}")
    with pytest.raises(sardonyx.InvalidModel, match=r"no config\.json"):
        sardonyx.load(tmp_path / "b.keras")
    with h5py.File(tmp_path / "c.h5", "w") as file:
        file["data"] = np.zeros(3)
    with pytest.raises(sardonyx.InvalidModel, match="neither a Keras model nor weights"):
        sardonyx.load(tmp_path / "c.h5")
    path = legacy_weights(tmp_path / "d.h5", trained)
    with h5py.File(path, "r+") as file:
        del file["first"]
    with pytest.raises(sardonyx.InvalidModel, match="'first' is named, but missing"):
        sardonyx.load(path, model=trained)
    with h5py.File(path, "r+") as file:
        file["first"] = h5py.ExternalLink(str(tmp_path / "e.h5"), "first")
    legacy_weights(tmp_path / "e.h5", trained)
    with pytest.raises(sardonyx.InvalidModel, match="lies in another file"):
        sardonyx.load(path, model=trained)
    with pytest.raises(sardonyx.InvalidArgument, match="backend is 'mxnet'"):
        sardonyx.load(path, model=trained, backend="mxnet")


@pytest.mark.parametrize("backend", ["tensorflow", "torch", "jax"])
def test_the_same_from_each_backend(trained, rng, tmp_path, backend):
    if backend != "tensorflow":
        pytest.importorskip(backend, reason=f"{backend} is not installed")
    if backend == "jax":
        for package in ("flax", "jax2onnx"):
            pytest.importorskip(package, reason=f"Keras exports from JAX through {package}")
    legacy_weights(tmp_path / "net.h5", trained)
    (tmp_path / "net.json").write_text(json.dumps(CONFIG_OF_KERAS_2))
    trained.save(tmp_path / "net.keras")
    x = rng.standard_normal((3, 6, 6, 2)).astype(np.float32)
    wanted = keras.ops.convert_to_numpy(trained(x, training=False))
    np.savez(tmp_path / "values.npz", x=x, wanted=wanted)
    code = """
import keras, numpy as np, sardonyx
values = np.load("values.npz")
x, wanted = values["x"], values["wanted"]
def check(model, x=x, wanted=wanted):
    found = sardonyx.Session(model)(x)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
model = sardonyx.load("net.keras")
assert model.graph.inputs[0].shape[0].value == "batch", model.graph.inputs[0]
check(model)
check(sardonyx.load("net.h5", config="net.json"))
first = keras.Sequential([keras.Input((2, 6, 6)), keras.layers.Conv2D(
    3, 3, activation="relu", data_format="channels_first", name="first"),
    keras.layers.BatchNormalization(axis=1, name="norm"),
    keras.layers.Flatten("channels_first"), keras.layers.Dense(4, name="last")])
check(sardonyx.load("net.h5", model=first), x.transpose(0, 3, 1, 2))
a, b = keras.Input((3,), name="a"), keras.Input((3,), name="b")
both = keras.layers.Subtract(name="d")([a, b]), keras.layers.Add(name="s")([a, b])
two = keras.Model([a, b], list(both))
model = sardonyx.load(two)
assert [v.name for v in model.graph.outputs] == ["d", "s"], model.graph.outputs
p, q = x[:, 0, 0, :1].repeat(3, 1), x[:, 0, :3, 0]
names = [v.name for v in model.graph.inputs]
assert names == ["a", "b"], names
d, s = sardonyx.Session(model).run(None, {"a": p, "b": q})
np.testing.assert_allclose(d, p - q, rtol=1e-5, atol=1e-6)
np.testing.assert_allclose(s, p + q, rtol=1e-5, atol=1e-6)
images = keras.Input((None, None, 2))
for layers in (
    [keras.layers.Conv2D(3, 3, strides=2, padding="same")],
    [keras.layers.Conv2D(3, (3, 2), dilation_rate=2), keras.layers.Resizing(5, 7)],
    [keras.layers.UpSampling2D((2, 3), interpolation="bilinear")],
    [keras.layers.SeparableConv2D(4, 3, strides=2), keras.layers.Resizing(3, 2, "nearest")],
):
    result = images
    for layer in layers:
        result = layer(result)
    network = keras.Model(images, result)
    found = sardonyx.Session(sardonyx.load(network))(x[:, :5])
    wanted = keras.ops.convert_to_numpy(network(x[:, :5], training=False))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
sequence = keras.Input((None, 2))
network = keras.Model(sequence, keras.layers.LayerNormalization()(sequence))
model = sardonyx.load(network)
for steps in (1, 6):
    found = sardonyx.Session(model)(x[:, :steps, 0])
    wanted = keras.ops.convert_to_numpy(network(x[:, :steps, 0], training=False))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
if keras.backend.backend() == "torch":
    layer = keras.layers.AveragePooling2D(3, 2, padding="same")
    try:
        sardonyx.load(keras.Model(images, layer(images)))
    except sardonyx.UnsupportedModel as error:
        assert "decides by dimension" in str(error)
    else:
        raise AssertionError("Keras pads one side by repeating pixels, and both by leaving out")
print("done", keras.backend.backend())
"""
    environment = os.environ | {"KERAS_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert done.stdout.strip().endswith(f"done {backend}"), done.stderr[-3000:]
