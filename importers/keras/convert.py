"""Conversion of Keras models and files to ONNX, on each backend of Keras."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import InvalidArgument
from ...patches import applied
from ..frameworks import plain_array
from ..notes import Notes, Run
from .backends import argument, through_jax, through_tensorflow, through_torch
from .files import read_file, set_weights
from .patches import ALL_BACKENDS
from .subclassed import functional

if TYPE_CHECKING:
    import onnx_ir as ir

_TRAINING = (
    "Dropout", "GaussianNoise", "ActivityRegularization", "Random", "RandAugment", "AugMix",
    "MixUp", "CutMix",
)  # fmt: skip
"""Words in the names of layers that do nothing in inference."""

_OLD_BACKENDS = ("tensorflow", "theano", "cntk")


def from_keras(
    source: Any,
    notes: Notes,
    *,
    config: Any = None,
    model: Any = None,
    by_name: bool = False,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
    backend: str | None = None,
    example_inputs: Any = None,
    expansion_limit: int | None = None,
) -> ir.Model:
    """Convert a built Keras model, or a ``.keras``, ``.h5`` or ``.hdf5`` file of Keras 1 to 3.

    On the TensorFlow backend the model is traced as a function and converted by tf2onnx (whose
    own Keras route does not know Keras 3); on PyTorch it is exported or traced, on JAX exported by
    jax2onnx.

    Parameters
    ----------
    source
        The model or file.
    notes : Notes
        Filled in: how to run the source, labels, normalization.
    config : path, str or mapping, optional
        The architecture (as ``to_json`` returns it) for a file that holds only weights.
    model : keras.Model, optional
        A built model for a file that holds weights. Afterwards it has its own again.
    by_name : bool
        Give the weights of a file to the layers of `model` with the same names only. Otherwise
        they go by names if all are the same, else in order.
    custom_objects : mapping, optional
        Your own classes and functions that a file names.
    safe_mode : bool
        Refuse Lambda layers, which bring code of their own. False runs it.
    backend : {"tensorflow", "theano", "cntk"}, optional
        What Keras ran on when it wrote a file of Keras 1 or 2, if the file does not say it, or says
        it wrongly. Theano's kernels are rotated, and both Theano and CNTK pad in ways of their own.
    example_inputs : array, mapping or sequence, optional
        What a subclassed model is called with, for the shapes and dtypes of its inputs. Without
        them they are floats of the shapes that it was built with.
    expansion_limit : int, optional
        Bytes that the weights of a file may take in memory, or what its archive holds; by default
        256 MiB, or eight times the file's size.

    Raises
    ------
    ImportFailed
        The converter of Keras' backend is not installed, or the conversion failed; says why.
    InvalidArgument
        The model is not built, so that the shapes of its inputs are not known; or a file holds
        only weights, or those of another model.
    InvalidModel
        The file is not one of Keras, or broken.
    UnsupportedModel
        A layer cannot be expressed by Keras 3, or a file takes too much memory; names it.
    """
    if backend not in (None, *_OLD_BACKENDS):
        raise InvalidArgument(f"backend is {backend!r}: it is one of {', '.join(_OLD_BACKENDS)}")
    if not isinstance(source, str | os.PathLike):
        return _convert(functional(source, example_inputs), notes)
    path = os.fspath(source)
    if model is None:
        model = read_file(path, config, custom_objects or {}, safe_mode, backend, expansion_limit)
        return _convert(functional(model, example_inputs), notes)
    model = functional(model, example_inputs)
    before = model.get_weights()
    try:
        set_weights(model, path, by_name, backend, expansion_limit)
        return _convert(model, notes)
    finally:
        model.set_weights(before)


def _convert(source: Any, notes: Notes) -> ir.Model:
    import keras

    title = f"the model {source.name!r}"
    notes.drop(_training_only(source))
    backend = keras.backend.backend()
    with applied(ALL_BACKENDS):
        if backend == "tensorflow":
            model = through_tensorflow(source, title, notes)
        elif backend == "torch":
            model = through_torch(source, title)
        else:
            model = through_jax(source, title)
    notes.run = _runner(source, [str(value.name) for value in model.graph.inputs])
    notes.framework = f"Keras {keras.__version__} on {backend}"
    return model


def _training_only(model: Any) -> Iterator[tuple[str, str]]:
    for layer in model._flatten_layers(include_self=False):
        kind = type(layer).__name__
        if any(word in kind for word in _TRAINING):
            yield kind, layer.name


def _runner(model: Any, names: list[str]) -> Run:
    import keras

    def run(feeds: Mapping[str, np.ndarray]) -> list[Any]:
        tensors = [keras.ops.convert_to_tensor(feeds[name]) for name in names]
        results = model(argument(tensors), training=False)
        arrays = (keras.ops.convert_to_numpy(value) for value in keras.tree.flatten(results))
        return [plain_array(array) for array in arrays]

    return run
