"""Backends of Keras, each with its way from a model to ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import UnsupportedModel
from ...patches import applied
from ...unique_names import UniqueNames
from ..frameworks import conversion, require
from ..names import rename
from ..notes import Notes
from ..onnx.loader import from_onnx
from ..tensorflow.function import convert_function
from ..torch.call import Call
from ..torch.program import ProgramExport
from ..torch.script import ScriptExport
from .patches import JAX, RECURRENT, TORCH

if TYPE_CHECKING:
    import onnx_ir as ir

_BATCH, _STEPS = 4, 64
"""Sizes of open dimensions in examples: small, and enough for windows."""


def argument(tensors: Sequence[Any]) -> Any:
    """Make the argument that a model of so many inputs is called with."""
    return list(tensors) if len(tensors) > 1 else tensors[0]


def through_jax(source: Any, title: str) -> ir.Model:
    """Export a model with jax2onnx."""
    import keras

    jax, jax2onnx = (require(package, "jax") for package in ("jax", "jax2onnx"))

    def call(*tensors: Any) -> list[Any]:
        with applied([*RECURRENT, *JAX]):
            variables = source.trainable_variables, source.non_trainable_variables
            values = [[variable.value for variable in some] for some in variables]
            result, _ = source.stateless_call(*values, argument(tensors), training=False)
            return list(keras.tree.flatten(result))

    names = [_plain(value.name) for value in source.inputs]
    inputs = [
        jax.ShapeDtypeStruct([dims.get(i, size) for i, size in enumerate(value.shape)], value.dtype)
        for value, dims in zip(source.inputs, _open_dimensions(source), strict=True)
    ]
    with conversion("Keras", title):
        exported = jax2onnx.to_onnx(call, inputs, input_names=names, return_mode="ir")
    model = from_onnx(exported)
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


def through_torch(source: Any, title: str) -> ir.Model:
    """Export the model, or trace it for several sizes of its open dimensions.

    Keras' own export traces it for one, which holds for no other where layers count steps.
    """
    import keras

    torch = require("torch", "torch")

    class Flat(torch.nn.Module):  # type: ignore[name-defined]
        """Takes tensors as arguments of their own, and returns a tuple."""

        def __init__(self) -> None:
            super().__init__()
            self.model = source

        def forward(self, *tensors: Any) -> Any:
            with applied(RECURRENT if torch.compiler.is_exporting() else ()):
                return tuple(keras.tree.flatten(self.model(argument(tensors), training=False)))

    examples, dims = [], _open_dimensions(source)
    names = [_plain(value.name) for value in source.inputs]
    for value in source.inputs:
        shape = [size or (_STEPS if i else _BATCH) for i, size in enumerate(value.shape)]
        ones = keras.ops.ones(shape, value.dtype)  # as integers, fit to be tokens
        examples.append(torch.rand_like(ones) if ones.is_floating_point() else ones)
    with conversion("Keras", title), torch.no_grad(), applied(TORCH):
        call = Call(tuple(examples), {})
        export = ProgramExport(Flat().eval(), title, call, names, _output_names(source))
        try:
            return export.with_dimensions(dims)
        except UnsupportedModel:
            raise
        except Exception:  # what one exporter refuses, the other may convert
            return ScriptExport.like(export).with_dimensions(dims)


def through_tensorflow(source: Any, title: str, notes: Notes) -> ir.Model:
    """Trace a model as a function of TensorFlow, and convert that."""
    tf = require("tensorflow", "keras")
    require("tf2onnx", "keras")
    specs = [tf.TensorSpec(value.shape, value.dtype, _plain(value.name)) for value in source.inputs]

    def call(*tensors: Any) -> Any:
        return source(argument(tensors), training=False)

    with conversion("Keras", title):
        function = tf.function(call).get_concrete_function(*specs)
    model = convert_function(tf, function, title, notes, one_batch=True)
    rename(model, model.graph.outputs, _output_names(source))
    return model


def _output_names(model: Any) -> list[str]:
    """Names of the layers that make the outputs; numbered where one makes several."""
    names = UniqueNames()
    return [names.unique(value._keras_history.operation.name) for value in model.outputs]


def _plain(name: str) -> str:
    return name.partition(":")[0]
