"""Weights that Keras 1 and 2 stored in HDF5, converted to those of Keras 3's layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import InvalidArgument, InvalidModel

Named = list[tuple[str, np.ndarray]]

_CONVOLUTIONS = ("Conv1D", "Conv2D", "Conv3D", "Conv2DTranspose", "Conv3DTranspose", "ConvLSTM2D")


@dataclasses.dataclass(frozen=True)
class Stored:
    """Weights of a file: for every layer that has some, their names and values, in order.

    Attributes
    ----------
    first
        Whether Keras 1 wrote them.
    backend
        What Keras ran on, ``""`` if the file does not say.
    """

    layers: dict[str, Named]
    first: bool
    backend: str


def read_weights(group: Any, backend: str | None) -> Stored:
    """Read the weights of a legacy file.

    Parameters
    ----------
    group : h5py.Group
        The one with the attribute ``layer_names``.
    backend : str, optional
        What the caller says Keras ran on.

    Raises
    ------
    InvalidModel
        The file names a layer or weight that it does not contain.
    """
    layers = {}
    for layer in _strings(group, "layer_names"):
        members = group.get(layer)
        if members is None:
            raise InvalidModel(f"{group.file.filename}: layer {layer!r} is named, but missing")
        names = _strings(members, "weight_names")
        if names:
            layers[layer] = [(name, _array(members, name)) for name in names]
    root = group.file.attrs
    version = text(group.attrs.get("keras_version", root.get("keras_version", "1")))
    writer = backend or text(group.attrs.get("backend", root.get("backend", "")))
    return Stored(layers, version.startswith("1"), writer)


def text(value: Any) -> str:
    """Return an attribute of a file as text: bytes, a string, or an array of one of these."""
    if isinstance(value, np.ndarray):
        value = value.item() if value.size == 1 else ""
    return value.decode("utf8", "replace") if isinstance(value, bytes) else str(value)


def _strings(group: Any, name: str) -> list[str]:
    """Return a list of strings; a long one is stored in numbered parts."""
    whole = group.attrs.get(name)
    if whole is not None:
        return [text(item) for item in np.atleast_1d(whole)]
    result: list[str] = []
    for number in range(len(group.attrs)):
        part = group.attrs.get(f"{name}{number}")
        if part is None:
            break
        result += [text(item) for item in np.atleast_1d(part)]
    return result


def _array(group: Any, name: str) -> np.ndarray:
    dataset = group.get(name)
    if dataset is None or not hasattr(dataset, "shape"):
        raise InvalidModel(f"{group.file.filename}: weight {name!r} is named, but missing")
    return np.asarray(dataset)


def assign_weights(model: Any, stored: Stored, by_name: bool) -> None:
    """Set the weights of a model.

    Layers are found by their names where those of the model and of the file are the same, else
    in order.

    Parameters
    ----------
    by_name : bool
        Only by their names; layers that the file does not have keep their weights.

    Raises
    ------
    InvalidArgument
        The layers of the file are not those of the model.
    InvalidModel
        A layer's weights have other shapes.
    """
    targets = {layer.name: layer for layer in _flat(model, stored) if layer.weights}
    sources = {flat(name): named for name, named in stored.layers.items()}
    left_over = sources.pop("top_level_model_weights", None)
    if left_over and not by_name:
        raise InvalidArgument("the file holds weights that belong to the model, not to its layers")
    if by_name or set(sources) == set(targets):
        pairs = [(targets[name], named) for name, named in sources.items() if name in targets]
        if not pairs and sources:
            raise InvalidArgument(
                f"no layer has a name of the file: it has {sorted(sources)[:8]}, the model "
                f"{sorted(targets)[:8]}"
            )
    elif len(sources) == len(targets):
        pairs = list(zip(targets.values(), sources.values(), strict=True))
    else:
        raise InvalidArgument(
            f"the file has weights for {len(sources)} layers, {list(sources)[:8]}, the model has "
            f"{len(targets)}, {list(targets)[:8]}"
        )
    for layer, named in pairs:
        for leaf, values in _by_leaf(layer, named, stored):
            _set(leaf, values)


def flat(name: str) -> str:
    """Return a layer's name as Keras 3 allows it."""
    return name.replace("/", "_")


def _flat(model: Any, stored: Stored) -> list[Any]:
    """Layers that the file may name: those inside of models, too, where it does."""
    names = {flat(name) for name in stored.layers}
    result = []
    for layer in model.layers:
        inner = getattr(layer, "layers", None)
        if inner and layer.name not in names and names & {part.name for part in inner}:
            result += _flat(layer, stored)
        else:
            result.append(layer)
    return result


def _leaves(layer: Any) -> list[Any]:
    """Layers with weights of a model inside a model."""
    inner = getattr(layer, "layers", None)
    if inner is None or not hasattr(layer, "inputs"):
        return [layer]
    return [leaf for part in inner for leaf in _leaves(part) if leaf.weights]


def _by_leaf(layer: Any, named: Named, stored: Stored) -> list[tuple[Any, list[np.ndarray]]]:
    """Give each layer inside a layer its weights: by their names, else in one of Keras' orders."""
    leaves = _leaves(layer)
    if leaves == [layer]:
        return [(layer, convert(layer, [value for _, value in named], stored))]
    by_leaf: dict[str, list[np.ndarray]] = {leaf.name: [] for leaf in leaves}
    for name, value in named:
        owners = [leaf for leaf in by_leaf if _owns(leaf, flat(name))]
        if not owners:
            break
        by_leaf[max(owners, key=len)].append(value)
    else:
        return [(leaf, convert(leaf, by_leaf[leaf.name], stored)) for leaf in leaves]
    trainable = [(leaf, v) for leaf in leaves for v in leaf.trainable_variables]
    fixed = [
        (leaf, v) for leaf in leaves for v in _variables(leaf)[len(leaf.trainable_variables) :]
    ]
    each = [(leaf, v) for leaf in leaves for v in _variables(leaf)]
    for order in (trainable + fixed, each):
        if len(order) == len(named) and all(
            sorted(v.shape) == sorted(value.shape)
            for (_, v), (_, value) in zip(order, named, strict=True)
        ):
            for (leaf, _), (_, value) in zip(order, named, strict=True):
                by_leaf[leaf.name].append(value)
            return [(leaf, convert(leaf, by_leaf[leaf.name], stored)) for leaf in leaves]
    raise InvalidModel(
        f"the weights of {layer.name!r} cannot be told apart: the file has "
        f"{[name for name, _ in named][:8]}, its layers are {list(by_leaf)[:8]}"
    )


def _owns(layer: str, weight: str) -> bool:
    return weight.startswith(layer + "_") or f"_{layer}_" in weight


def _variables(layer: Any) -> list[Any]:
    """Weights in the order of files, trainable ones first."""
    return sorted(layer.weights, key=lambda variable: not variable.trainable)


def _set(layer: Any, values: Sequence[np.ndarray]) -> None:
    variables = _variables(layer)
    shapes = [tuple(variable.shape) for variable in variables]
    stored = [value.shape for value in values]
    if shapes != stored:
        raise InvalidModel(
            f"layer {layer.name!r} ({type(layer).__name__}) has weights of the shapes {shapes}, "
            f"the file has {stored}"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    if hasattr(layer, "finalize_state"):  # of a normalization
        layer.finalize_state()


def convert(layer: Any, values: list[np.ndarray], stored: Stored) -> list[np.ndarray]:
    """Convert the weights of one layer."""
    kind = type(layer).__name__
    if kind == "Bidirectional":
        half = len(values) // 2
        return [
            *convert(layer.forward_layer, values[:half], stored),
            *convert(layer.backward_layer, values[half:], stored),
        ]
    if kind == "TimeDistributed":
        return convert(layer.layer, values, stored)
    if stored.first:
        values = _of_keras_1(layer, kind, values)
    if kind in _CONVOLUTIONS and stored.backend == "theano":
        values = [_rotated(v, v.ndim - 2) if v.ndim > 2 else v for v in values]
    return _of_cudnn(kind, values)


def _rotated(kernel: np.ndarray, axes: int) -> np.ndarray:
    """Rotate a kernel by half a turn: Theano convolves where others correlate."""
    return np.flip(kernel, tuple(range(axes)))


def _of_keras_1(layer: Any, kind: str, values: list[np.ndarray]) -> list[np.ndarray]:
    first = getattr(layer, "data_format", None) == "channels_first"
    if kind in ("LSTM", "ConvLSTM2D") and len(values) == 12:  # gates i, c, f, o
        values = _gates(values, (0, 2, 1, 3), 0 if first else -1)
    elif kind == "GRU" and len(values) == 9:
        values = _gates(values, (0, 1, 2), -1)
    if kind == "Conv1D":
        kernel = values[0]
        size = layer.kernel_size[0]
        if kernel.ndim == 4:
            # (out, in, size, 1) before 1.1, (size, 1, in, out) since
            if kernel.shape[:2] != (size, 1) or kernel.shape[3] != layer.filters:
                kernel = kernel.transpose(2, 3, 1, 0)
            values = [kernel[:, 0], *values[1:]]
    elif kind == "Conv2DTranspose":
        order = (2, 3, 0, 1) if first else (0, 1, 3, 2)
        values = [v.transpose(order) if v.ndim == 4 else v for v in values]
    elif first and kind in ("Conv2D", "SeparableConv2D", "DepthwiseConv2D", "ConvLSTM2D"):
        values = [v.transpose(2, 3, 1, 0) if v.ndim == 4 else v for v in values]
    elif first and kind == "Conv3D":
        values = [v.transpose(2, 3, 4, 1, 0) if v.ndim == 5 else v for v in values]
    return values


def _gates(values: list[np.ndarray], order: Sequence[int], axis: int) -> list[np.ndarray]:
    """Concatenate kernel, recurrent kernel and bias of the gates, stored one by one."""
    parts = [[values[3 * gate + part] for gate in order] for part in range(3)]
    return [np.concatenate(part, axis if part[0].ndim > 2 else -1) for part in parts]


def _of_cudnn(kind: str, values: list[np.ndarray]) -> list[np.ndarray]:
    """Convert from cuDNN's layout, which has two biases one after the other."""
    gates = {"LSTM": 4, "GRU": 3}.get(kind, 0)
    if not gates or len(values) != 3:
        return values
    kernel, recurrent, bias = values
    if bias.shape != (2 * gates * recurrent.shape[0],):
        return values
    parts = np.split(kernel, gates, axis=1)
    kernel = np.concatenate([part.T.reshape(part.shape, order="F") for part in parts], axis=1)
    recurrent = np.concatenate([part.T for part in np.split(recurrent, gates, axis=1)], axis=1)
    halves = bias.reshape(2, -1)
    return [kernel, recurrent, halves.sum(0) if kind == "LSTM" else halves]
