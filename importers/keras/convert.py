"""Keras 3: models and files, on whichever backend Keras runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgument, UnsupportedModel
from . import keras_files
from .frameworks import conversion, numbered, rename, require
from .keras_images import open_sizes
from .keras_recurrent import recurrent_operators
from .keras_time import steps_at_once
from .notes import Notes, Run
from .onnx import from_onnx

if TYPE_CHECKING:
    import onnx_ir as ir

_TRAINING = (
    "Dropout", "GaussianNoise", "ActivityRegularization", "Random", "RandAugment", "AugMix",
    "MixUp", "CutMix",
)  # fmt: skip
"""Words in the names of layers that do nothing in inference."""

_BATCH, _STEPS = 4, 64
"""Sizes of open dimensions in examples: small, and enough for windows."""

_BACKENDS = ("tensorflow", "theano", "cntk")


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
        Gets what is learnt besides.
    config : path, str or mapping, optional
        The architecture (as ``to_json`` gives it) for a file that holds only weights.
    model : keras.Model, optional
        A built model for a file that holds weights. Afterwards it has its own again.
    by_name : bool
        Give the weights of a file to the layers of `model` with the same names only. Otherwise
        they go by names if all are the same, else in order.
    custom_objects : mapping, optional
        Classes and functions of yours that a file names.
    safe_mode : bool
        Refuse Lambda layers, which bring code of their own. False runs it.
    backend : {"tensorflow", "theano", "cntk"}, optional
        What Keras ran on when it wrote a file of Keras 1 or 2, if the file does not say or not
        rightly. Theano's kernels are rotated, and both Theano and CNTK pad in ways of their own.

    Raises
    ------
    ImportFailed
        Keras or its backend's converter is not installed, or the conversion failed; says why.
    InvalidArgument
        The model is not built, so that the shapes of its inputs are not known; or a file holds
        only weights, or those of another model.
    InvalidModel
        The file is none of Keras, or broken.
    UnsupportedModel
        A layer cannot be expressed by Keras 3; names it.
    """
    keras = require("keras", "keras")
    if backend not in (None, *_BACKENDS):
        raise InvalidArgument(f"backend is {backend!r}: it is one of {', '.join(_BACKENDS)}")
    if not isinstance(source, str | os.PathLike):
        return _convert(keras, source, notes)
    path = os.fspath(source)
    if model is None:
        objects = custom_objects or {}
        read = keras_files.read(keras, path, config, objects, safe_mode, backend)
        return _convert(keras, read, notes)
    _inputs(model)
    before = model.get_weights()
    try:
        keras_files.set_weights(model, path, by_name, backend)
        return _convert(keras, model, notes)
    finally:
        model.set_weights(before)


def _inputs(model: Any) -> Any:
    inputs = getattr(model, "inputs", None)
    if not inputs:
        raise InvalidArgument(
            f"the Keras model {model.name!r} is not built: give it an Input, or call it once"
        )
    return inputs


def _convert(keras: Any, source: Any, notes: Notes) -> ir.Model:
    _inputs(source)
    what = f"the model {source.name!r}"
    notes.drop(_training_only(source))
    on = keras.backend.backend()
    with steps_at_once(keras), open_sizes(keras):
        if on == "tensorflow":
            model = _through_tensorflow(source, what, notes)
        elif on == "torch":
            model = _through_torch(keras, source, what)
        else:
            model = _through_jax(keras, source, what)
    notes.run = _runner(keras, source, [str(value.name) for value in model.graph.inputs])
    notes.framework = f"Keras {keras.__version__} on {on}"
    return model


def _training_only(model: Any) -> Iterator[tuple[str, str]]:
    for layer in model._flatten_layers(include_self=False):
        kind = type(layer).__name__
        if any(word in kind for word in _TRAINING):
            yield kind, layer.name


def _runner(keras: Any, model: Any, names: list[str]) -> Run:
    def run(feeds: Mapping[str, np.ndarray]) -> list[Any]:
        arrays = [keras.ops.convert_to_tensor(feeds[name]) for name in names]
        results = model(_argument(arrays), training=False)
        return [keras.ops.convert_to_numpy(value) for value in keras.tree.flatten(results)]

    return run


def _argument(tensors: Sequence[Any]) -> Any:
    """What a model of so many inputs is called with."""
    return list(tensors) if len(tensors) > 1 else tensors[0]


def _through_jax(keras: Any, source: Any, what: str) -> ir.Model:
    jax, jax2onnx = (require(package, "jax") for package in ("jax", "jax2onnx"))
    from .jax_operators import operator
    from .keras_jax import whole_operators

    def call(*tensors: Any) -> list[Any]:
        with recurrent_operators(keras, operator), whole_operators():
            variables = source.trainable_variables, source.non_trainable_variables
            values = [[variable.value for variable in some] for some in variables]
            result, _ = source.stateless_call(*values, _argument(tensors), training=False)
            return list(keras.tree.flatten(result))

    names = [_plain(value.name) for value in source.inputs]
    inputs = [
        jax.ShapeDtypeStruct([dims.get(i, size) for i, size in enumerate(value.shape)], value.dtype)
        for value, dims in zip(source.inputs, _open_dimensions(source), strict=True)
    ]
    with conversion("Keras", what):
        made = jax2onnx.to_onnx(call, inputs, input_names=names, return_mode="ir")
    model = from_onnx(made)
    rename(model, model.graph.outputs, _output_names(source))
    return model


def _open_dimensions(model: Any) -> list[dict[int, str]]:
    """Names of each input's open dimensions, by axis."""
    return [
        {
            axis: f"{_plain(value.name)}_{axis}" if axis else "batch"
            for axis, size in enumerate(value.shape)
            if size is None
        }
        for value in model.inputs
    ]


def _through_torch(keras: Any, source: Any, what: str) -> ir.Model:
    """Export the model, or trace it for two sizes of its open dimensions.

    Keras' own export traces it for one, which holds for no other where layers count steps.
    """
    from . import torch_script
    from .torch import export_with
    from .torch_operators import operator

    torch = require("torch", "torch")

    class Flat(torch.nn.Module):  # type: ignore[name-defined]
        """Takes one tensor after the other, and gives a tuple."""

        def __init__(self) -> None:
            super().__init__()
            self.model = source

        def forward(self, *tensors: Any) -> Any:
            exported = torch.compiler.is_exporting()
            with recurrent_operators(keras, operator) if exported else contextlib.nullcontext():
                return tuple(keras.tree.flatten(self.model(_argument(tensors), training=False)))

    examples, dims = [], _open_dimensions(source)
    names = [_plain(value.name) for value in source.inputs]
    for value in source.inputs:
        shape = [size or (_STEPS if i else _BATCH) for i, size in enumerate(value.shape)]
        ones = keras.ops.ones(shape, value.dtype)  # as integers, fit to be tokens
        examples.append(torch.rand_like(ones) if ones.is_floating_point() else ones)
    given = {"input_names": names, "output_names": _output_names(source)}
    with conversion("Keras", what), torch.no_grad():
        module = Flat().eval()
        call: tuple[tuple[Any, ...], dict[str, Any]] = (tuple(examples), {})
        try:
            return export_with(torch, module, what, call, dims, given)
        except UnsupportedModel:
            raise
        except Exception:  # what it refuses, the other exporter may know
            return torch_script.trace(torch, module, what, call, dims, given)


def _through_tensorflow(keras_model: Any, what: str, notes: Notes) -> ir.Model:
    from .tensorflow import convert

    tf = require("tensorflow", "keras")
    require("tf2onnx", "keras")
    specs = [
        tf.TensorSpec(value.shape, value.dtype, _plain(value.name)) for value in keras_model.inputs
    ]

    def call(*tensors: Any) -> Any:
        return keras_model(_argument(tensors), training=False)

    with conversion("Keras", what):
        function = tf.function(call).get_concrete_function(*specs)
    model = convert(tf, function, what, notes, one_batch=True)
    rename(model, model.graph.outputs, _output_names(keras_model))
    return model


def _output_names(model: Any) -> list[str]:
    """Names of the layers that make the outputs; numbered where one makes several."""
    names: list[str] = []
    for value in model.outputs:
        name = value._keras_history.operation.name
        names.append(name if name not in names else numbered(name, names))
    return names


def _plain(name: str) -> str:
    return name.partition(":")[0]
