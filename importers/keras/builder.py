"""Builder of Keras 3 models from the configs that Keras 1 or 2 wrote."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...errors import ImportFailed, InvalidModel, SardonyxError, UnsupportedModel, reason
from .legacy import accepted, layers_of, plain, translate
from .padding import PaddedLayer, apply_same
from .weights import flat

_MODELS = ("Functional", "Model", "Sequential")
_INNER = ("layer", "backward_layer", "cell")  # arguments that are layers

Applier = Callable[..., Any]


@dataclasses.dataclass
class Builder:
    """Builds layers and models of Keras 3.

    Attributes
    ----------
    custom_objects
        Classes and functions by the names that configs give them.
    backend
        The backend that the model was trained on.
    safe_mode
        Whether Lambda layers are refused.
    """

    custom_objects: Mapping[str, Any]
    backend: str
    safe_mode: bool

    @functools.cached_property
    def hard_sigmoid(self) -> Callable[[Any], Any]:
        """Return the hard sigmoid of Keras 1 and 2: that of Keras 3 is flatter."""
        import keras

        def hard_sigmoid_of_keras_2(x: Any) -> Any:
            return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)

        return hard_sigmoid_of_keras_2

    def model(self, entry: Mapping[str, Any]) -> Any:
        """Build a model from ``{"class_name": ..., "config": ...}``.

        Raises
        ------
        InvalidModel
            The config is broken.
        ImportFailed, UnsupportedModel
            A layer cannot be built; names it.
        """
        from keras import saving

        scope = {**self.custom_objects, self.hard_sigmoid.__name__: self.hard_sigmoid}
        with saving.custom_object_scope(scope):
            return self._model(entry)

    def _model(self, entry: Mapping[str, Any]) -> Any:
        class_name: Any = entry.get("class_name")
        config: Any = entry.get("config")
        if class_name not in _MODELS:
            raise UnsupportedModel(
                f"the model is a {class_name}, a custom class, whose code no config holds: "
                "build it, load its weights and import the object"
            )
        name = config.get("name") if isinstance(config, dict) else None
        if class_name == "Sequential":
            return self._sequential(config, name)
        try:
            return _Graph(self, config).build(name)
        except (KeyError, IndexError, TypeError) as error:
            raise InvalidModel(
                f"the config of the Keras model {name!r} is broken: {error!r}"
            ) from (error)

    def _sequential(self, config: Any, name: str | None) -> Any:
        entries = layers_of(config)
        if not entries:
            raise InvalidModel(f"the Keras model {name!r} has no layers")
        first = entries[0]
        branches = first.get("config", {}).get("layers") if first["class_name"] == "Merge" else None
        if branches:
            models = [self._model(branch) for branch in branches]
            inputs = [value for model in models for value in model.inputs]
            value = self.layer(first)([model.outputs[0] for model in models])
            entries = entries[1:]
        else:
            inputs, value, entries = self._begin(config, entries)
        for entry in entries:
            value = self.call(self.layer(entry), entry, value)
        return self.finish(inputs, [value], name)

    def finish(self, inputs: list[Any], outputs: list[Any], name: str | None) -> Any:
        """Make a model that is called with one value where it has one input."""
        import keras

        arguments = [values if len(values) > 1 else values[0] for values in (inputs, outputs)]
        return keras.Model(*arguments, name=flat(name) if name else None)

    def _begin(self, config: Any, entries: list[dict[str, Any]]) -> tuple[list[Any], Any, Any]:
        """Make the inputs of a sequential model, which its first layer describes."""
        import keras

        first = entries[0]
        if first["class_name"] == "InputLayer":
            value = self.layer(first)(None)
            return [value], value, entries[1:]
        if first["class_name"] in _MODELS:
            model = self._model(first)
            return list(model.inputs), model.outputs[0], entries[1:]
        inner = first.get("config", {})
        shape = inner.get("batch_input_shape", inner.get("batch_shape"))
        if shape is None and isinstance(config, dict):
            shape = config.get("build_input_shape")
        if shape is None and first["class_name"] == "TimeDistributed":
            shape = inner.get("layer", {}).get("config", {}).get("batch_input_shape")
        if shape is None:
            raise InvalidModel(
                f"layer {inner.get('name')!r} is the first and has no shape of the input"
            )
        kind = inner.get("input_dtype") or "float32"
        if first["class_name"] == "Embedding":
            kind = "int32"
        value = keras.Input(
            batch_shape=plain(shape), dtype=kind, name=flat(f"{inner.get('name')}_input")
        )
        return [value], value, entries

    def layer(self, entry: Mapping[str, Any]) -> Applier:
        """Make a layer: a function of values of Keras.

        Raises
        ------
        ImportFailed, UnsupportedModel
            It cannot be built, or not without the caller's permission.
        """
        class_name, config = entry["class_name"], dict(entry["config"] or {})
        name = config.setdefault("name", entry.get("name", class_name.lower()))
        if class_name in _MODELS:
            return self._model(entry)
        config["name"] = flat(name)
        try:
            if class_name == "InputLayer":
                return self._input(config)
            if class_name == "Merge" and config.get("mode") == "cos":
                return self._cosine(config)
            layer = self._make(class_name, config)
        except SardonyxError:
            raise
        except Exception as error:
            raise ImportFailed(
                f"layer {name!r} ({class_name}) cannot be built by Keras 3: "
                f"{reason(error)}; if it needs a function or class of your own, give "
                "custom_objects="
            ) from error
        return apply_same(layer, self.backend)

    def _make(self, class_name: str, config: dict[str, Any]) -> Any:
        if class_name in self.custom_objects:
            return self.custom_objects[class_name].from_config(config)
        if class_name == "Lambda":
            return self._lambda(config)
        from keras import layers

        class_name, config = translate(class_name, config)
        kind = getattr(layers, class_name, None)
        if not isinstance(kind, type):
            raise ImportFailed(
                f"layer {config.get('name')!r} is a {class_name}, a class that Keras 3 does not "
                f"have: give custom_objects={{{class_name!r}: its class}}"
            )
        for key, value in config.items():
            if key in _INNER and isinstance(value, dict):
                config[key] = self._inner(value)
            elif key == "cells" or (key == "cell" and isinstance(value, list)):
                config[key] = [self._inner(cell) for cell in value]
            elif key.endswith("activation"):
                config[key] = self._activation(value)
        return kind(**accepted(kind, config))

    def _inner(self, entry: Mapping[str, Any]) -> Any:
        """Make a layer inside a layer, where "same" padding cannot be a layer of its own."""
        if entry["class_name"] in _MODELS:
            return self._model(entry)
        layer = self.layer(entry)
        if isinstance(layer, PaddedLayer):
            raise UnsupportedModel(
                f"layer {layer.layer.name!r} pads as {self.backend} did, inside another layer"
            )
        return layer

    def _activation(self, value: Any) -> Any:
        from keras import layers

        if value == "hard_sigmoid":
            return self.hard_sigmoid
        if isinstance(value, str):
            return self.custom_objects.get(value, value)
        if isinstance(value, dict) and value.get("class_name") in dir(layers):
            return self._inner(value)
        return value

    def _input(self, config: dict[str, Any]) -> Applier:
        import keras

        shape = config.get("batch_input_shape", config.get("batch_shape"))
        kind = config.get("input_dtype") or config.get("dtype") or "float32"
        value = keras.Input(batch_shape=plain(shape), dtype=kind, name=config["name"])
        return lambda _: value

    def _cosine(self, config: dict[str, Any]) -> Applier:
        """Make the cosine of two vectors, which has an axis more in Keras 1 than their product."""
        import keras

        _, new = translate("Merge", config | {"mode": "dot"})
        product = keras.layers.Dot(normalize=True, **new)
        return lambda values: keras.ops.expand_dims(product(values), 1)

    def _lambda(self, config: dict[str, Any]) -> Any:
        from keras import layers

        function: Any = config.get("function")
        if self.safe_mode:
            raise ImportFailed(lambda_refused([config["name"]]))
        if config.get("function_type") == "function" or isinstance(function, str):
            if function not in self.custom_objects:
                raise ImportFailed(
                    f"layer {config['name']!r} calls the function {function!r}, which the "
                    f"file does not contain: give custom_objects={{{function!r}: ...}}"
                )
            function = self.custom_objects[function]
        elif isinstance(function, list):
            parts = dict(zip(("code", "defaults", "closure"), function, strict=False))
            function = {"class_name": "__lambda__", "config": parts}
        options = {"name": config["name"], "function": function}
        options["arguments"] = config.get("arguments") or {}
        if callable(function):
            return layers.Lambda(**options)
        return layers.Lambda.from_config(options, safe_mode=False)

    def call(self, layer: Applier, entry: Mapping[str, Any], value: Any, **options: Any) -> Any:
        """Apply a layer.

        Raises
        ------
        ImportFailed
            It refuses the value; names it.
        """
        try:
            return layer(value, **options)
        except SardonyxError:
            raise
        except Exception as error:
            name = entry.get("config", {}).get("name", entry.get("name"))
            raise ImportFailed(
                f"layer {name!r} ({entry['class_name']}) refuses its inputs: {reason(error)}"
            ) from error


def lambda_refused(names: list[str]) -> str:
    """Return the error text for Lambda layers that may not run."""
    return (
        f"layer {', '.join(map(repr, names))} is a Lambda, whose Python code the file holds: "
        "safe_mode=False runs it, if you trust the author of the file (and it was written by the "
        "same version of Python)"
    )


class _Graph:
    """A functional model: each layer is applied as soon as its inputs are computed."""

    def __init__(self, builder: Builder, config: Mapping[str, Any]) -> None:
        self.builder, self.config = builder, config
        self.entries = {entry["name"]: entry for entry in layers_of(config)}
        self.layers: dict[str, Applier] = {}
        self.results: dict[tuple[str, int], list[Any]] = {}

    def build(self, name: str | None) -> Any:
        for key, entry in self.entries.items():
            self.layers[key] = self.builder.layer(entry)
        calls = [(key, i, call) for key in self.entries for i, call in enumerate(self._calls(key))]
        while calls:
            waiting = [item for item in calls if not self._apply(*item)]
            if len(waiting) == len(calls):
                names = sorted({key for key, _, _ in waiting})
                raise InvalidModel(f"layers {names[:8]} have inputs that no layer computes")
            calls = waiting
        return self.builder.finish(
            self._values("input_layers"), self._values("output_layers"), name
        )

    def _calls(self, key: str) -> list[Any]:
        nodes = self.entries[key].get("inbound_nodes") or []
        return nodes or ([None] if self.entries[key]["class_name"] == "InputLayer" else [])

    def _values(self, key: str) -> list[Any]:
        refs = self.config[key]
        refs = [refs] if refs and isinstance(refs[0], str) else refs
        return [self._value(ref) for ref in refs]

    def _apply(self, key: str, number: int, call: Any) -> bool:
        """Apply a layer, if its inputs are computed; return whether they are."""
        if call is None:
            self.results[key, number] = [self.layers[key](None)]
            return True
        refs = [call] if _is_ref(call) else list(call)
        options = {name: v for ref in refs if len(ref) > 3 for name, v in ref[3].items()}
        if not all(self._is_computed(ref) for ref in [*refs, *options.values()] if _is_ref(ref)):
            return False
        values = [self._value(ref) for ref in refs]
        options = {
            name: self._value(v) if self._names_layer(v) else v
            for name, v in options.items()
            if v is not None and name != "training"
        }
        value = values[0] if len(values) == 1 else values
        result = self.builder.call(self.layers[key], self.entries[key], value, **options)
        self.results[key, number] = list(result) if isinstance(result, list | tuple) else [result]
        return True

    def _names_layer(self, ref: Any) -> bool:
        return _is_ref(ref) and ref[0] in self.entries

    def _is_computed(self, ref: Any) -> bool:
        return self._call_of(ref) in self.results or ref[0] not in self.entries

    def _value(self, ref: Any) -> Any:
        return self.results[self._call_of(ref)][ref[2]]

    def _call_of(self, ref: Any) -> tuple[str, int]:
        return ref[0], ref[1] - self.first_calls.get(ref[0], 0)

    @functools.cached_property
    def first_calls(self) -> dict[str, int]:
        """Numbers of the first calls of inner models: 1 where Keras counted their construction."""
        seen: dict[str, int] = {}
        for name, number in _refs([self.config, *self.entries.values()]):
            seen[name] = min(number, seen.get(name, number))
        models = [key for key, entry in self.entries.items() if entry["class_name"] in _MODELS]
        return {key: min(seen.get(key, 0), 1) for key in models}


def _refs(holders: list[Any]) -> Iterator[tuple[str, int]]:
    """Walk over the inputs of layers and outputs: a layer's name, and the number of its call."""
    stack = [
        holder[key]
        for holder in holders
        for key in ("inbound_nodes", "output_layers")
        if holder.get(key)
    ]
    while stack:
        value = stack.pop()
        if _is_ref(value):
            yield value[0], value[1]
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list):
            stack += value


def _is_ref(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= 3
        and isinstance(value[0], str)
        and all(isinstance(part, int) for part in value[1:3])
    )
