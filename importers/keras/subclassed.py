"""Subclassed models of Keras: the inputs that their calls took, and a functional model of them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ...errors import InvalidArgument
from ..frameworks import conversion


def functional(model: Any, example_inputs: Any = None) -> Any:
    """Return a model with inputs: the model itself, or one that calls a subclassed model.

    Parameters
    ----------
    model : keras.Model
        Functional, sequential, or subclassed and called, built or fitted.
    example_inputs : array, mapping or sequence, optional
        What a subclassed model is called with; a sequence is its positional arguments. By default
        the shapes that it was built with, and the floating-point type that it takes.

    Raises
    ------
    ImportFailed
        The model cannot be called with such inputs.
    InvalidArgument
        The shapes of its inputs are not known.
    """
    import keras

    if getattr(model, "inputs", None) or not hasattr(model, "call"):
        return model
    arguments = _examples(example_inputs) if example_inputs is not None else _recorded(model)
    parameters = [name for name in inspect.signature(model.call).parameters if name != "self"]
    named = dict(zip(parameters, arguments, strict=False))
    with conversion("Keras", f"the model {model.name!r}"):
        inputs = {name: _symbolic(name, value) for name, value in named.items()}
        outputs = model(*inputs.values())
        return keras.Model(keras.tree.flatten(list(inputs.values())), outputs, name=model.name)


def _examples(examples: Any) -> list[Any]:
    """Shapes and dtypes of the arguments, the first axis open."""
    import keras

    arguments = list(examples) if isinstance(examples, list | tuple) else [examples]

    def spec(array: Any) -> Any:
        dtype = keras.backend.standardize_dtype(getattr(array, "dtype", "float32"))
        return keras.InputSpec(shape=(None, *array.shape[1:]), dtype=dtype)

    return [keras.tree.map_structure(spec, argument) for argument in arguments]


def _recorded(model: Any) -> list[Any]:
    """Shapes of the arguments that a model was called or built with, as Keras records them."""
    import keras

    shapes = getattr(model, "_build_shapes_dict", None)
    if not shapes:
        raise InvalidArgument(
            f"the Keras model {model.name!r} is not built: give it an Input, call it once, or "
            "give example_inputs="
        )

    def spec(shape: Any) -> Any:
        if isinstance(shape, Mapping):
            return {name: spec(each) for name, each in shape.items()}
        if all(size is None or isinstance(size, int) for size in shape):
            return keras.InputSpec(shape=(None, *shape[1:]), dtype=model.input_dtype)
        return [spec(each) for each in shape]

    return [spec(shape) for shape in shapes.values()]


def _symbolic(name: str, value: Any) -> Any:
    """Inputs of a functional model for one argument: of a mapping one for each key."""
    import keras

    if isinstance(value, Mapping):
        return {key: _symbolic(str(key), each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_symbolic(f"{name}_{index}", each) for index, each in enumerate(value)]
    return keras.Input(value.shape[1:], dtype=value.dtype, name=name)
