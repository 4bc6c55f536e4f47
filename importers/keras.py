"""Keras 3: models and files, on whichever backend Keras runs."""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Any

from .. import InvalidArgument
from .frameworks import conversion, rename, require
from .onnx import from_onnx

if TYPE_CHECKING:
    import onnx_ir as ir


def from_keras(source: Any) -> ir.Model:
    """Convert a built Keras model, or a ``.keras`` or ``.h5`` file.

    On the TensorFlow backend the model is traced as a function and converted by tf2onnx (whose
    own Keras route does not know Keras 3); on others by Keras' ONNX export. Files are read with
    Keras' safe mode on: they cannot bring code of their own.

    Raises
    ------
    ImportFailed
        Keras or its backend's converter is not installed, or the conversion failed; says why.
    InvalidArgument
        The model is not built, so that the shapes of its inputs are not known.
    """
    keras = require("keras", "keras")
    if isinstance(source, str | os.PathLike):
        with conversion("Keras", os.fspath(source)):
            source = keras.saving.load_model(source, compile=False, safe_mode=True)
    inputs = getattr(source, "inputs", None)
    if not inputs:
        raise InvalidArgument(
            f"the Keras model {source.name!r} is not built: give it an Input, or call it once"
        )
    what = f"the model {source.name!r}"
    if keras.backend.backend() == "tensorflow":
        return _through_tensorflow(source, what)
    with conversion("Keras", what), tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.onnx")
        source.export(path, format="onnx", verbose=False)
        with open(path, "rb") as file:
            model = from_onnx(file.read())
    rename(model, model.graph.outputs, _output_names(source))
    return model


def _through_tensorflow(keras_model: Any, what: str) -> ir.Model:
    from .tensorflow import convert

    tf = require("tensorflow", "keras")
    require("tf2onnx", "keras")
    specs = [
        tf.TensorSpec(value.shape, value.dtype, _plain(value.name)) for value in keras_model.inputs
    ]

    def call(*tensors: Any) -> Any:
        return keras_model(list(tensors) if len(tensors) > 1 else tensors[0], training=False)

    with conversion("Keras", what):
        function = tf.function(call).get_concrete_function(*specs)
    model = convert(tf, function, what, one_batch=True)
    rename(model, model.graph.outputs, _output_names(keras_model))
    return model


def _output_names(model: Any) -> list[str]:
    """Names of the layers that make the outputs."""
    return [value._keras_history.operation.name for value in model.outputs]


def _plain(name: str) -> str:
    return name.partition(":")[0]
