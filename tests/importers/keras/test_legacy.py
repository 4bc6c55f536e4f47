"""Files as Keras 1 and 2 wrote them, on Theano, CNTK and TensorFlow, against numpy."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import sardonyx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WHY = "Keras with TensorFlow is not installed: pip install sardonyx[keras]"
pytest.importorskip("tensorflow", reason=WHY)
keras = pytest.importorskip("keras", reason=WHY)
h5py = pytest.importorskip("h5py", reason=WHY)


def write(path, config, weights, version="2.2.4", backend="tensorflow"):
    """Write a file: `weights` are, by layer, names and values."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version.encode()
        file.attrs["model_config"] = json.dumps(config).encode()
        if backend is not None:
            file.attrs["backend"] = backend.encode()
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [name.encode() for name in weights]
        for layer, named in weights.items():
            members = group.create_group(layer)
            members.attrs["weight_names"] = [name.encode() for name in named]
            for name, value in named.items():
                members.create_dataset(name, data=value)
    return path


def layer(class_name, name, **config):
    return {"class_name": class_name, "config": {"name": name, **config}}


def sequential(*layers):
    return {"class_name": "Sequential", "config": list(layers)}


def functional(inputs, outputs, *nodes):
    """Take nodes: each a layer and the names of those it takes."""
    layers = [
        entry
        | {
            "name": entry["config"]["name"],
            "inbound_nodes": [[[name, 0, 0] for name in names]] if names else [],
        }
        for entry, *names in nodes
    ]
    ends = {
        "input_layers": [[name, 0, 0] for name in inputs],
        "output_layers": [[name, 0, 0] for name in outputs],
    }
    return {"class_name": "Model", "config": {"name": "model_1", "layers": layers, **ends}}


def given(name, *shape):
    return layer("InputLayer", name, batch_input_shape=[None, *shape], input_dtype="float32")


def run(path, *inputs, **options):
    model = sardonyx.load(path, **options)
    names = [value.name for value in model.graph.inputs]
    return sardonyx.Session(model).run(None, dict(zip(names, inputs, strict=True)))[0]


def floats(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def close(found, wanted):
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


def relu(x):
    return np.maximum(x, 0)


def hard_sigmoid(x):
    return np.clip(0.2 * x + 0.5, 0, 1)


def windows(x, sizes, stride=1, fill=0.0, pads=((0, 0), (0, 0))):
    """Windows over images (n, c, h, w): (n, c, rows, columns, *sizes)."""
    x = np.pad(x, ((0, 0), (0, 0), *pads), constant_values=fill)
    view = np.lib.stride_tricks.sliding_window_view(x, sizes, (2, 3))
    return view[:, :, ::stride, ::stride]


def correlate(x, kernel, **options):
    """Images (n, c, h, w) with a kernel (out, in, h, w)."""
    return np.einsum("nchwij,ocij->nohw", windows(x, kernel.shape[2:], **options), kernel)


def convolve(x, kernel, **options):
    return correlate(x, kernel[:, :, ::-1, ::-1], **options)


def images_of_keras_1(order, shape, **last):
    conv = {"dim_ordering": order, "activation": "relu", "init": "glorot_uniform", "bias": True}
    return sequential(
        layer(
            "Convolution2D", "convolution2d_1", nb_filter=4, nb_row=3, nb_col=3, W_constraint=None,
            border_mode="same", subsample=[1, 1], batch_input_shape=[None, *shape],
            input_dtype="float32", trainable=True, W_regularizer=None, **conv,
        ),
        layer(
            "MaxPooling2D", "maxpooling2d_1", pool_size=[2, 2], strides=[2, 2],
            border_mode="valid", dim_ordering=order, trainable=True,
        ),
        layer(
            "ZeroPadding2D", "zeropadding2d_1", padding=[1, 2], dim_ordering=order, trainable=True
        ),
        layer(
            "AtrousConvolution2D", "atrousconvolution2d_1", nb_filter=5, nb_row=2, nb_col=3,
            border_mode="valid", subsample=[1, 1], atrous_rate=[1, 1], **conv,
        ),
        layer(
            "BatchNormalization", "batchnormalization_1", mode=0, epsilon=1e-3, momentum=0.99,
            axis=1 if order == "th" else -1, gamma_regularizer=None, beta_regularizer=None,
        ),
        layer("Dropout", "dropout_1", p=0.5),
        layer("Flatten", "flatten_1"),
        layer(
            "Dense", "dense_1", output_dim=3, init="glorot_uniform", activation="softmax",
            input_dim=None, bias=True,
        ),
    )  # fmt: skip


@pytest.mark.parametrize("backend", ["theano", "tensorflow"])
@pytest.mark.parametrize("order", ["th", "tf"])
@pytest.mark.parametrize("told", ["by the file", "by the caller"])
def test_images_of_keras_1(rng, tmp_path, backend, order, told):
    x, first, second = floats(rng, 2, 3, 8, 10), floats(rng, 4, 3, 3, 3), floats(rng, 5, 4, 2, 3)
    biases, dense = (floats(rng, 4), floats(rng, 5)), floats(rng, 5 * 5 * 7, 3) * 0.02
    scale = [rng.uniform(0.5, 1.5, 5).astype(np.float32) for _ in range(4)]
    apply = convolve if backend == "theano" else correlate
    y = relu(apply(x, first, pads=((1, 1), (1, 1))) + biases[0][:, None, None])
    y = windows(y, (2, 2), 2).max((-1, -2))
    y = relu(apply(y, second, pads=((1, 1), (2, 2))) + biases[1][:, None, None])
    gamma, beta, mean, variance = (part[:, None, None] for part in scale)
    y = gamma * (y - mean) / np.sqrt(variance + 1e-3) + beta
    if order == "tf":
        x, y = x.transpose(0, 2, 3, 1), y.transpose(0, 2, 3, 1)
        first, second = first.transpose(2, 3, 1, 0), second.transpose(2, 3, 1, 0)
    y = y.reshape(2, -1) @ dense
    wanted = np.exp(y) / np.exp(y).sum(1, keepdims=True)
    weights = {
        "convolution2d_1": {"convolution2d_1_W": first, "convolution2d_1_b": biases[0]},
        "maxpooling2d_1": {},
        "atrousconvolution2d_1": {"atrous_W": second, "atrous_b": biases[1]},
        "batchnormalization_1": dict(zip(("g", "b", "m", "s"), scale, strict=True)),
        "dense_1": {"dense_1_W": dense, "dense_1_b": np.zeros(3, np.float32)},
    }
    known = backend if told == "by the file" else None
    config = images_of_keras_1(order, x.shape[1:])
    path = write(tmp_path / "net.h5", config, weights, "1.2.2", known)
    close(run(path, x, **({} if known else {"backend": backend})), wanted)


def test_a_file_that_does_not_say_its_backend_is_taken_as_tensorflows(rng, tmp_path):
    kernel = floats(rng, 2, 2, 1, 1)
    config = sequential(
        layer(
            "Convolution2D", "c", nb_filter=1, nb_row=2, nb_col=2, border_mode="valid",
            dim_ordering="tf", batch_input_shape=[None, 4, 4, 1], bias=False,
        )
    )  # fmt: skip
    path = write(tmp_path / "net.h5", config, {"c": {"c_W": kernel}}, "1.1.0", None)
    x = floats(rng, 1, 4, 4, 1)
    with pytest.warns(UserWarning, match="backend='theano'"):
        found = run(path, x)
    close(found[..., 0], correlate(x[..., 0][:, None], kernel.transpose(3, 2, 0, 1))[:, 0])


# Where the window begins with "same" padding: sizes, stride, then padding before by backend.
STARTS = [
    ("Conv2D", 3, 2, 8, {"theano": 1, "cntk": 1, "tensorflow": 0}),
    ("Conv2D", 2, 1, 7, {"theano": 1, "cntk": 0, "tensorflow": 0}),
    ("Conv2D", 5, 3, 9, {"theano": 2, "cntk": 1, "tensorflow": 1}),
    ("Conv2D", 3, 1, 9, {"theano": 1, "cntk": 1, "tensorflow": 1}),
    ("MaxPooling2D", 2, 2, 8, {"theano": 1, "cntk": 0, "tensorflow": 0}),
    ("AveragePooling2D", 3, 2, 8, {"theano": 1, "cntk": 1, "tensorflow": 0}),
    ("MaxPooling2D", 5, 2, 8, {"theano": 3, "cntk": 2, "tensorflow": 1}),
]


@pytest.mark.parametrize("backend", ["theano", "cntk", "tensorflow"])
@pytest.mark.parametrize(("kind", "size", "stride", "length", "starts"), STARTS)
@pytest.mark.parametrize("order", ["channels_first", "channels_last"])
def test_same_padding(rng, tmp_path, backend, kind, size, stride, length, starts, order):
    x, kernel = floats(rng, 2, 2, length, length), floats(rng, size, size, 2, 3)
    before, count = starts[backend], -(-length // stride)
    pads = (before, max((count - 1) * stride + size - length - before, 0))
    options = {"stride": stride, "pads": (pads, pads)}
    config = {"strides": [stride] * 2, "padding": "same", "data_format": order}
    if kind == "Conv2D":
        weights = {"it": {"it/kernel:0": kernel}}
        config |= {"filters": 3, "kernel_size": [size] * 2, "use_bias": False}
        apply = convolve if backend == "theano" else correlate
        wanted = apply(x, kernel.transpose(3, 2, 0, 1), **options)
    else:
        weights = {"it": {}}
        config |= {"pool_size": [size] * 2}
        view = windows(x, (size, size), fill=np.nan, **options)
        wanted = (np.nanmax if kind.startswith("Max") else np.nanmean)(view, (-1, -2))
    last = order == "channels_last"
    x, wanted = (v.transpose(0, 2, 3, 1) if last else v for v in (x, wanted))
    whole = sequential(layer(kind, "it", batch_input_shape=[None, *x.shape[1:]], **config))
    close(run(write(tmp_path / "net.h5", whole, weights, backend=backend), x), wanted)


def lstm(x, kernel, recurrent, bias, inner):
    """Gates i, f, c, o; returns all states."""
    h = c = np.zeros((len(x), recurrent.shape[0]), np.float32)
    result = []
    for step in range(x.shape[1]):
        i, f, g, o = np.split(x[:, step] @ kernel + h @ recurrent + bias, 4, axis=1)
        c = inner(f) * c + inner(i) * np.tanh(g)
        h = inner(o) * np.tanh(c)
        result.append(h)
    return np.stack(result, 1)


def gru(x, kernel, recurrent, bias, inner):
    """Gates z, r, h, which resets before its product."""
    h = np.zeros((len(x), recurrent.shape[0]), np.float32)
    for step in range(x.shape[1]):
        kz, kr, kh = np.split(x[:, step] @ kernel + bias, 3, axis=1)
        uz, ur, uh = np.split(recurrent, 3, axis=1)
        z, r = inner(kz + h @ uz), inner(kr + h @ ur)
        h = z * h + (1 - z) * np.tanh(kh + (r * h) @ uh)
    return h


def gate_weights(letters, gates):
    return {
        f"{name}_{letter}": value
        for letter, parts in zip(letters, gates, strict=True)
        for name, value in zip("WUb", parts, strict=True)
    }


def test_recurrent_layers_of_keras_1(rng, tmp_path):
    rnn = {"init": "glorot_uniform", "inner_init": "orthogonal", "activation": "tanh"}
    rnn |= {"inner_activation": "hard_sigmoid", "consume_less": "cpu", "dropout_W": 0.0}
    config = sequential(
        layer(
            "Embedding", "embedding_1", input_dim=11, output_dim=6, input_length=5, init="uniform",
            batch_input_shape=[None, 5], input_dtype="int32", mask_zero=False, dropout=0.0,
        ),
        layer(
            "Convolution1D", "convolution1d_1", nb_filter=4, filter_length=2, border_mode="valid",
            subsample_length=1, activation="linear", bias=True,
        ),
        layer("LSTM", "lstm_1", output_dim=3, return_sequences=True, go_backwards=False, **rnn),
        layer("TimeDistributedDense", "timedense_1", output_dim=3, activation="relu"),
        layer("GRU", "gru_1", output_dim=2, return_sequences=False, **rnn),
    )  # fmt: skip
    table, kernel, bias = floats(rng, 11, 6), floats(rng, 2, 1, 6, 4), floats(rng, 4)
    gates = [(floats(rng, 4, 3), floats(rng, 3, 3), floats(rng, 3)) for _ in "icfo"]
    dense = floats(rng, 3, 3), floats(rng, 3)
    others = [(floats(rng, 3, 2), floats(rng, 2, 2), floats(rng, 2)) for _ in "zrh"]
    weights = {
        "embedding_1": {"embedding_1_W": table},
        "convolution1d_1": {"W": kernel, "b": bias},
        "lstm_1": gate_weights("icfo", gates),
        "timedense_1": {"W": dense[0], "b": dense[1]},
        "gru_1": gate_weights("zrh", others),
    }  # fmt: skip
    x = rng.integers(0, 11, (3, 5)).astype(np.int32)
    y = table[x]
    y = y[:, :-1] @ kernel[0, 0] + y[:, 1:] @ kernel[1, 0] + bias
    i, c, f, o = gates
    y = lstm(
        y, *(np.concatenate(parts, -1) for parts in zip(i, f, c, o, strict=True)), hard_sigmoid
    )
    y = relu(y @ dense[0] + dense[1])
    wanted = gru(
        y, *(np.concatenate(parts, -1) for parts in zip(*others, strict=True)), hard_sigmoid
    )
    path = write(tmp_path / "net.h5", config, weights, "1.2.0", "tensorflow")
    close(run(path, x), wanted)
    assert layers_left(path) == ["LSTM", "GRU"]


def layers_left(path):
    """Recurrent operators of a file, and loops."""
    nodes = sardonyx.optimize(sardonyx.load(path)).graph.all_nodes()
    return [node.op_type for node in nodes if node.op_type in ("LSTM", "GRU", "RNN", "Loop")]


def test_recurrent_layers_of_keras_2(rng, tmp_path):
    rnn = {"units": 3, "activation": "tanh", "recurrent_activation": "hard_sigmoid"}
    inner = layer("LSTM", "lstm_1", return_sequences=True, implementation=1, **rnn)
    config = sequential(
        layer(
            "Bidirectional", "both", merge_mode="concat", layer=inner,
            batch_input_shape=[None, 4, 2],
        ),
        layer("CuDNNLSTM", "cudnn", units=2, return_sequences=True, unit_forget_bias=True),
        layer("GRU", "gru", implementation=1, **rnn),
    )  # fmt: skip
    ahead, back = ([floats(rng, 2, 12), floats(rng, 3, 12), floats(rng, 12)] for _ in range(2))
    fast = [floats(rng, 6, 8), floats(rng, 2, 8), floats(rng, 16)]
    last = [floats(rng, 2, 9), floats(rng, 3, 9), floats(rng, 9)]
    kernel = [part.ravel().reshape(2, 6).T for part in np.split(fast[0], 4, 1)]
    stored = [np.concatenate([k.T.reshape(6, 2) for k in kernel], 1), *fast[1:]]
    recurrent = np.concatenate([part.T for part in np.split(fast[1], 4, 1)], 1)
    weights = {
        "both": {f"both/{i}": value for i, value in enumerate(ahead + back)},
        "cudnn": {f"cudnn/{i}": value for i, value in enumerate(stored)},
        "gru": {f"gru/{i}": value for i, value in enumerate(last)},
    }
    x = floats(rng, 2, 4, 2)
    behind = lstm(x[:, ::-1], *back, hard_sigmoid)[:, ::-1]
    y = np.concatenate([lstm(x, *ahead, hard_sigmoid), behind], -1)
    # cuDNN keeps each gate as a matrix from inputs to units, row after row.
    y = lstm(
        y,
        np.concatenate(kernel, 1),
        recurrent,
        fast[2].reshape(2, -1).sum(0),
        lambda v: 1 / (1 + np.exp(-v)),
    )
    path = write(tmp_path / "net.h5", config, weights)
    close(run(path, x), gru(y, *last, hard_sigmoid))
    assert layers_left(path) == ["LSTM", "LSTM", "LSTM", "GRU"]


@pytest.mark.parametrize("mode", ["sum", "mul", "ave", "max", "concat", "dot", "cos"])
@pytest.mark.parametrize("kind", ["functional", "sequential"])
def test_merges_of_keras_1(rng, tmp_path, mode, kind):
    a, b = floats(rng, 3, 4), floats(rng, 3, 5)
    left, right = floats(rng, 4, 6), floats(rng, 5, 6)
    merge = layer("Merge", "merge_1", mode=mode, concat_axis=-1, dot_axes=[1, 1], mode_type="raw")
    dense = {"output_dim": 6, "bias": False, "activation": "linear"}
    if kind == "functional":
        config = functional(
            ["a", "b"], ["merge_1"], (given("a", 4),), (given("b", 5),),
            (layer("Dense", "left", **dense), "a"), (layer("Dense", "right", **dense), "b"),
            (merge, "left", "right"),
        )  # fmt: skip
    else:
        merge["config"]["layers"] = [
            sequential(layer("Dense", name, batch_input_shape=[None, size], **dense))
            for name, size in (("left", 4), ("right", 5))
        ]
        config = sequential(merge, layer("Activation", "activation_1", activation="linear"))
    p, q = a @ left, b @ right
    dot = (p * q).sum(1, keepdims=True)
    norms = np.linalg.norm(p, axis=1, keepdims=True) * np.linalg.norm(q, axis=1, keepdims=True)
    wanted = {
        "sum": p + q, "mul": p * q, "ave": (p + q) / 2, "max": np.maximum(p, q), "dot": dot,
        "concat": np.concatenate([p, q], 1), "cos": (dot / norms)[:, None],
    }[mode]  # fmt: skip
    weights = {"left": {"left_W": left}, "right": {"right_W": right}}
    close(run(write(tmp_path / "net.h5", config, weights, "1.2.2", "theano"), a, b), wanted)


def test_a_frozen_model_inside_a_model_and_names_with_slashes(rng, tmp_path):
    inner = functional(
        ["x"], ["bn"], (given("x", 4),), (layer("Dense", "block/dense", units=4), "x"),
        (layer("BatchNormalization", "bn", axis=[1], trainable=False), "block/dense"),
    )  # fmt: skip
    inner["class_name"], inner["config"]["name"] = "Functional", "base"
    whole = functional(
        ["in"], ["out"], (given("in", 4),), (inner, "in"), (layer("Dense", "out", units=2), "base")
    )
    # The model inside is called twice; its own making counts as call 0.
    layers = whole["config"]["layers"]
    layers[1]["inbound_nodes"] = [[["in", 0, 0, {}]], [["base", 1, 0, {"training": False}]]]
    layers[2]["inbound_nodes"] = [[["base", 2, 0, {}]]]
    kernel, bias, out = floats(rng, 4, 4), floats(rng, 4), floats(rng, 4, 2)
    scale = [rng.uniform(0.5, 1.5, 4).astype(np.float32) for _ in range(4)]
    named = dict(
        zip(("gamma:0", "beta:0", "moving_mean:0", "moving_variance:0"), scale, strict=True)
    )
    weights = {
        "base": {
            "block/dense/kernel:0": kernel,
            "block/dense/bias:0": bias,
            **{f"bn/{name}": value for name, value in named.items()},
        },
        "out": {"out/kernel:0": out, "out/bias:0": np.zeros(2, np.float32)},
    }
    x = y = floats(rng, 3, 4)
    for _ in range(2):
        y = (y @ kernel + bias - scale[2]) / np.sqrt(scale[3] + 1e-3) * scale[0] + scale[1]
    close(run(write(tmp_path / "net.h5", whole, weights, "2.9.0"), x), y @ out)


@pytest.mark.parametrize("name", ["keras_cifar10", "keras_emotion"])
def test_real_files(zoo_model, rng, name):
    path = zoo_model(name)
    framework = keras.saving.load_model(path, compile=False)
    x = rng.random((2, *framework.inputs[0].shape[1:])).astype(np.float32)
    model = sardonyx.load(path)
    wanted = keras.ops.convert_to_numpy(framework([x], training=False))
    np.testing.assert_allclose(sardonyx.Session(model)(x), wanted, atol=1e-4)
    transposes = [n for n in sardonyx.optimize(model).graph if n.op_type == "Transpose"]
    assert len(transposes) <= 2
