"""Each layer of keras.layers alone, with its usual options: converted, run, compared with Keras.

On TensorFlow; with ``KERAS_BACKEND``, on another of its backends.

A case is how to build the layer, and the shapes of its inputs without the batch. Names that are
two for one layer have one case.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import sardonyx

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
WHY = "Keras with TensorFlow is not installed: pip install sardonyx[keras]"
pytest.importorskip("tensorflow", reason=WHY)
keras = pytest.importorskip("keras", reason=WHY)


class Case(NamedTuple):
    """A layer, the shapes of its inputs, and what integers among them are below."""

    build: Callable[[Any], Any]
    shapes: tuple[tuple[int, ...], ...]
    below: int = 0
    together: bool = False
    """Several inputs are given as a list."""


SIGNAL, IMAGE, VOLUME = (20, 4), (12, 10, 4), (6, 7, 8, 4)
SEQUENCE = (7, 6)


def _same(name: str, shape: tuple[int, ...], *args: Any, **options: Any) -> Case:
    return Case(lambda layers: getattr(layers, name)(*args, **options), (shape,))


_ELEMENTWISE = (
    "ELU", "LeakyReLU", "PReLU", "ReLU", "Softmax", "Identity", "ActivityRegularization",
    "Flatten", "BatchNormalization", "LayerNormalization", "RMSNormalization",
    "UnitNormalization",
)  # fmt: skip
_DROPOUTS = ("Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise", "SpatialDropout2D")

CASES: dict[str, Case] = {name: _same(name, IMAGE) for name in _ELEMENTWISE}
CASES |= {name: _same(name, IMAGE, 0.2) for name in _DROPOUTS}
CASES |= {
    "Activation": _same("Activation", IMAGE, "gelu"),
    "GroupNormalization": _same("GroupNormalization", IMAGE, groups=2),
    "SpatialDropout1D": _same("SpatialDropout1D", SIGNAL, 0.2),
    "SpatialDropout3D": _same("SpatialDropout3D", VOLUME, 0.2),
    "Dense": _same("Dense", SEQUENCE, 5, activation="relu"),
    "EinsumDense": _same("EinsumDense", SEQUENCE, "abc,cd->abd", output_shape=(None, 5)),
    "Embedding": Case(lambda layers: layers.Embedding(11, 6), ((5,),), 11),
    "ReversibleEmbedding": Case(lambda layers: layers.ReversibleEmbedding(11, 6), ((5,),), 11),
    "Rescaling": _same("Rescaling", IMAGE, 1 / 127.5, offset=-1),
    "Normalization": _same("Normalization", IMAGE, mean=[1.0, 2, 3, 4], variance=[1.0, 2, 3, 4]),
    "Resizing": _same("Resizing", IMAGE, 17, 15),
    "CenterCrop": _same("CenterCrop", IMAGE, 8, 6),
    "Permute": _same("Permute", IMAGE, (3, 1, 2)),
    "RepeatVector": _same("RepeatVector", (6,), 3),
    "Reshape": _same("Reshape", IMAGE, (10, -1)),
    "Masking": _same("Masking", SEQUENCE, 0.0),
    "CategoryEncoding": Case(
        lambda layers: layers.CategoryEncoding(11, output_mode="multi_hot"), ((5,),), 11
    ),
    "Discretization": _same("Discretization", SEQUENCE, bin_boundaries=[-0.5, 0.0, 0.5]),
    "SimpleRNN": _same("SimpleRNN", SEQUENCE, 5, return_sequences=True),
    "LSTM": _same("LSTM", SEQUENCE, 5, return_sequences=True),
    "GRU": _same("GRU", SEQUENCE, 5),
    "RNN": Case(lambda layers: layers.RNN(layers.LSTMCell(5)), (SEQUENCE,)),
    "StackedRNNCells": Case(
        lambda layers: layers.RNN(layers.StackedRNNCells([layers.GRUCell(5), layers.LSTMCell(4)])),
        (SEQUENCE,),
    ),
    "SimpleRNNCell": Case(lambda layers: layers.RNN(layers.SimpleRNNCell(5)), (SEQUENCE,)),
    "LSTMCell": Case(
        lambda layers: layers.RNN(layers.LSTMCell(5), return_sequences=True), (SEQUENCE,)
    ),
    "GRUCell": Case(lambda layers: layers.RNN(layers.GRUCell(5, reset_after=False)), (SEQUENCE,)),
    "Bidirectional": Case(
        lambda layers: layers.Bidirectional(layers.LSTM(5, return_sequences=True)), (SEQUENCE,)
    ),
    "TimeDistributed": Case(lambda layers: layers.TimeDistributed(layers.Dense(5)), (SEQUENCE,)),
    "ConvLSTM1D": _same("ConvLSTM1D", (5, 12, 3), 4, 3, padding="same"),
    "ConvLSTM2D": _same("ConvLSTM2D", (5, 8, 9, 3), 4, 3, padding="same"),
    "ConvLSTM3D": _same("ConvLSTM3D", (3, 5, 6, 7, 2), 3, 3, padding="same"),
    "SpectralNormalization": Case(
        lambda layers: layers.SpectralNormalization(layers.Dense(5)), (SEQUENCE,)
    ),
    "Attention": Case(lambda layers: layers.Attention(), (SEQUENCE, (9, 6)), 0, True),
    "AdditiveAttention": Case(
        lambda layers: layers.AdditiveAttention(), (SEQUENCE, (9, 6)), 0, True
    ),
    "MultiHeadAttention": Case(lambda layers: layers.MultiHeadAttention(2, 4), (SEQUENCE, (9, 6))),
    "GroupQueryAttention": Case(
        lambda layers: layers.GroupQueryAttention(4, 4, 2), (SEQUENCE, (9, 6))
    ),
    "Dot": Case(lambda layers: layers.Dot(axes=(1, 2)), (SEQUENCE, (9, 7)), 0, True),
    "MelSpectrogram": _same("MelSpectrogram", (1600,), fft_length=256, sequence_stride=128),
    "STFTSpectrogram": _same("STFTSpectrogram", (400, 1), frame_length=64, frame_step=32),
    "Solarization": _same("Solarization", (8, 8, 3), 0.0, 0.5, value_range=(0.0, 1.0)),
    "Pipeline": Case(
        lambda layers: layers.Pipeline([layers.Rescaling(2.0), layers.CenterCrop(4, 4)]), (IMAGE,)
    ),
    "DepthwiseConv1D": _same("DepthwiseConv1D", SIGNAL, 3, strides=2, depth_multiplier=2),
    "DepthwiseConv2D": _same("DepthwiseConv2D", IMAGE, 3, padding="same"),
    "SeparableConv1D": _same("SeparableConv1D", SIGNAL, 6, 3, padding="same"),
    "SeparableConv2D": _same("SeparableConv2D", IMAGE, 6, 3, strides=2, padding="same"),
    "Cropping1D": _same("Cropping1D", SIGNAL, (1, 2)),
    "Cropping2D": _same("Cropping2D", IMAGE, ((1, 2), (0, 3))),
    "Cropping3D": _same("Cropping3D", VOLUME, 1),
    "UpSampling1D": _same("UpSampling1D", SIGNAL, 2),
    "UpSampling2D": _same("UpSampling2D", IMAGE, 2, interpolation="bilinear"),
    "UpSampling3D": _same("UpSampling3D", VOLUME, 2),
}
CASES |= {
    name: Case(lambda layers, name=name: getattr(layers, name)(), (IMAGE, IMAGE), 0, True)
    for name in ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract")
}
for axes, shape in ((1, SIGNAL), (2, IMAGE), (3, VOLUME)):
    CASES |= {
        f"Conv{axes}D": _same(f"Conv{axes}D", shape, 6, 3, strides=2, padding="same"),
        f"Conv{axes}DTranspose": _same(
            f"Conv{axes}DTranspose", shape, 6, 3, strides=2, padding="same"
        ),
        f"MaxPooling{axes}D": _same(f"MaxPooling{axes}D", shape, 2, padding="same"),
        f"AveragePooling{axes}D": _same(f"AveragePooling{axes}D", shape, 2),
        f"GlobalMaxPooling{axes}D": _same(f"GlobalMaxPooling{axes}D", shape),
        f"GlobalAveragePooling{axes}D": _same(f"GlobalAveragePooling{axes}D", shape),
        f"AdaptiveMaxPooling{axes}D": _same(f"AdaptiveMaxPooling{axes}D", shape, 2),
        f"AdaptiveAveragePooling{axes}D": _same(f"AdaptiveAveragePooling{axes}D", shape, 2),
        f"ZeroPadding{axes}D": _same(f"ZeroPadding{axes}D", shape, 2),
    }

_AUGMENTATIONS = (
    "Rand", "AugMix", "AutoContrast", "CutMix", "MixUp", "Equalization",
    "ContrastLimitedAdaptiveHistogramEqualization",
)  # fmt: skip
_OTHER_CODE = ("FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper", "Lambda")
_TEXT = ("Hashing", "HashedCrossing", "IntegerLookup", "StringLookup", "TextVectorization")
_BASES = ("Layer", "Wrapper", "InputLayer", "MaxNumBoundingBoxes")


def left_out(name: str) -> bool:
    """Tell whether a layer has no case of its own on purpose.

    Training's augmentations, wrappers of other code, lookups of text, bases, and second names.
    """
    second = name.replace("Convolution", "Conv").replace("AvgPool", "AveragePooling")
    second = second.replace("MaxPool", "MaxPooling").replace("Poolinging", "Pooling")
    alias = second != name and second in CASES
    listed = (*_OTHER_CODE, *_TEXT, *_BASES)
    return name.startswith(_AUGMENTATIONS) or name in listed or alias


BACKEND = keras.backend.backend()
FAILURES = {"MelSpectrogram": "complex numbers of an FFT have no ONNX type"}
FAILURES |= {
    "torch": {
        "AdaptiveAveragePooling3D": "PyTorch's exporters know none of volumes",
        "AdaptiveMaxPooling3D": "PyTorch's exporters know none of volumes",
        "ConvLSTM3D": "PyTorch's exporters want a fixed batch for it, or know no memory format",
    },
    "jax": {"Conv3DTranspose": "jax2onnx wants the channels of volumes first"},
}.get(BACKEND, {})
"""What does not work on this backend of Keras, and why."""


def layers() -> list[str]:
    """Names of all layers that mean something in inference."""
    kinds = ((name, kind) for name, kind in vars(keras.layers).items() if isinstance(kind, type))
    return [n for n, kind in kinds if issubclass(kind, keras.layers.Layer) and not left_out(n)]


def check(name: str, case: Case) -> None:
    if name == "STFTSpectrogram":
        pytest.importorskip("scipy", reason="Keras takes its windows from scipy, not installed")
    keras.utils.set_random_seed(0)
    dtype = "int32" if case.below else "float32"
    inputs = [keras.Input(shape, dtype=dtype) for shape in case.shapes]
    layer = case.build(keras.layers)
    output = layer(inputs) if case.together else layer(*inputs)
    network = keras.Model(inputs, output)
    rng = np.random.default_rng(0)
    for weight in network.weights:  # fresh biases and moving averages would hide mistakes
        if weight.dtype == "float32" and "seed" not in weight.path:
            weight.assign(rng.uniform(0.2, 0.8, weight.shape).astype(np.float32))
    arrays = [
        rng.integers(0, case.below, (3, *shape)).astype(np.int32) if case.below
        else rng.standard_normal((3, *shape)).astype(np.float32)
        for shape in case.shapes
    ]  # fmt: skip
    expected = keras.tree.flatten(network(arrays, training=False))
    session = sardonyx.Session(sardonyx.load(network))
    names = [port.name for port in session.get_inputs()]
    found = session.run(None, dict(zip(names, arrays, strict=True)))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, keras.ops.convert_to_numpy(b), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_alone(name, attempt):
    column = "" if BACKEND == "tensorflow" else BACKEND
    attempt(f"keras.layers.{name}", lambda: check(name, CASES[name]), FAILURES.get(name), column)


def test_nearly_all_have_a_case_and_work():
    wanted = layers()
    missing = sorted(set(wanted) - set(CASES))
    assert len(missing) + len(FAILURES) <= 0.05 * len(wanted), missing
