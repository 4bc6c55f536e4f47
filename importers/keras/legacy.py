"""Layers of Keras 1 and 2: their classes and arguments, translated to those of Keras 3."""

from __future__ import annotations

import inspect
from typing import Any

from ...errors import InvalidModel, UnsupportedModel

_CLASSES = {
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "BatchNormalizationV1": "BatchNormalization",
    "BatchNormalizationV2": "BatchNormalization",
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "CuDNNGRU": "GRU",
    "CuDNNLSTM": "LSTM",
    "Deconvolution2D": "Conv2DTranspose",
    "SeparableConvolution2D": "SeparableConv2D",
    "SyncBatchNormalization": "BatchNormalization",
    "ThresholdedReLU": "ReLU",
    "TimeDistributedDense": "Dense",  # which takes the last axis of any number
}

_ARGUMENTS = {
    "atrous_rate": "dilation_rate",
    "bias": "use_bias",
    "border_mode": "padding",
    "filter_length": "kernel_size",
    "inner_activation": "recurrent_activation",
    "nb_filter": "filters",
    "p": "rate",
    "pool_length": "pool_size",
    "sigma": "stddev",
    "stride": "strides",
    "subsample": "strides",
    "subsample_length": "strides",
    "theta": "threshold",
}
"""New names of arguments, where these mean the same in all classes."""

_IGNORED = {
    "batch_input_shape", "b_constraint", "b_regularizer", "consume_less", "dropout", "dropout_U",
    "dropout_W", "forget_bias_init", "implementation", "init", "inner_init",
    "input_dim", "input_dtype", "input_length", "output_shape", "ragged", "renorm_momentum",
    "sparse", "synchronized", "trainable", "unit_forget_bias", "U_regularizer", "W_constraint",
    "W_regularizer", "weights",
}  # fmt: skip
"""Arguments that change nothing in inference, where a class of Keras 3 does not have them."""

_NEUTRAL = {
    "fused": (True, False, None),
    "groups": (1,),
    "mode": (0, None),
    "noise_shape": (None,),
    "output_padding": (None,),
    "renorm": (False,),
    "shared_axes": (None,),
    "time_major": (False,),
    "virtual_batch_size": (None,),
    "zero_output_for_mask": (False,),
}
"""Values of arguments that classes of Keras 3 do not have which change nothing either."""

_REMOVED = (
    "Highway", "LocallyConnected1D", "LocallyConnected2D", "MaxoutDense", "ParametricSoftplus",
    "SReLU", "SlicingOpLambda", "TFOpLambda", "TensorFlowOpLayer",
)  # fmt: skip

_MERGES = {
    "sum": "Add",
    "mul": "Multiply",
    "ave": "Average",
    "max": "Maximum",
    "concat": "Concatenate",
    "dot": "Dot",
}
_ORDERS = {"th": "channels_first", "tf": "channels_last"}


def translate(class_name: str, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Translate the class and arguments of a layer.

    Layers of Keras 2 and of Keras 1 are told apart by the names of their arguments only, so
    that a config needs no version.

    Raises
    ------
    UnsupportedModel
        Keras 3 cannot express the layer.
    """
    name = config.get("name", class_name)
    if class_name in _REMOVED:
        raise UnsupportedModel(
            f"layer {name!r} is a {class_name}, a class that Keras 3 does not have: export the "
            "model as a SavedModel or to ONNX with the version of Keras that wrote it, or give "
            "custom_objects="
        )
    if class_name == "Merge":
        return _merge(name, config)
    new_class = _CLASSES.get(class_name, class_name)
    new = {_ARGUMENTS.get(key, key): plain(value) for key, value in config.items()}
    if "dim_ordering" in new:
        new["data_format"] = _ORDERS.get(new.pop("dim_ordering"), "channels_last")
    if "output_dim" in new and new_class != "Embedding":
        new["units"] = new.pop("output_dim")
    _sizes(new)
    if class_name.startswith("CuDNN"):
        new["recurrent_activation"] = "sigmoid"
    if new_class == "GRU":
        new.setdefault("reset_after", class_name == "CuDNNGRU")
    elif new_class == "LeakyReLU" and "alpha" in new:
        new["negative_slope"] = new.pop("alpha")
    elif new_class == "UpSampling1D" and "length" in new:
        new["size"] = new.pop("length")
    elif new_class == "ZeroPadding2D":
        new["padding"] = _sides(new.get("padding", 1))
    elif new_class == "Flatten":
        # Without a format it takes the axes as they lie.
        new["data_format"] = new.get("data_format") or "channels_last"
    elif new_class == "BatchNormalization":
        axis = new.get("axis", -1)
        new["axis"] = axis[0] if isinstance(axis, list) and len(axis) == 1 else axis
    elif new_class == "ConvLSTM2D" and "units" in new:
        new["filters"] = new.pop("units")
    return new_class, new


def _merge(name: str, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    mode = config.get("mode", "sum")
    if mode not in _MERGES:
        what = f"by {mode!r}" if isinstance(mode, str) and len(mode) < 10 else "by a function"
        raise UnsupportedModel(
            f"layer {name!r} merges {what}: only {', '.join(_MERGES)} can be imported"
        )
    new: dict[str, Any] = {"name": name}
    if mode == "concat":
        new["axis"] = config.get("concat_axis", -1)
    elif mode == "dot":
        axes = config.get("dot_axes", -1)
        new["axes"] = axes if isinstance(axes, int) else [_axis(axis) for axis in axes]
    return _MERGES[mode], new


def _axis(axis: Any) -> int:
    return int(axis[0] if isinstance(axis, list | tuple) else axis)


def _sizes(config: dict[str, Any]) -> None:
    """Join the sizes of a window, which are arguments of their own in Keras 1."""
    for names in (("nb_row", "nb_col"), ("kernel_dim1", "kernel_dim2", "kernel_dim3")):
        if names[0] in config:
            config["kernel_size"] = [config.pop(key) for key in names]


def _sides(padding: Any) -> Any:
    """Padding of an image, for which Keras 1 has a number per axis or per side."""
    if isinstance(padding, dict):
        keys = ("top_pad", "bottom_pad", "left_pad", "right_pad")
        padding = [padding.get(key, 0) for key in keys]
    if isinstance(padding, list) and len(padding) == 4:
        return padding[:2], padding[2:]
    return padding


def plain(value: Any) -> Any:
    """Return a value of a config as Python's own: Keras wrapped arrays and tuples in mappings."""
    if isinstance(value, dict):
        kind = value.get("type", value.get("class_name"))
        if kind == "ndarray" and "value" in value:
            return value["value"]
        if kind in ("__tuple__", "TensorShape") and "items" in value:
            return [plain(item) for item in value["items"]]
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def accepted(kind: type, config: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments that a class of Keras 3 takes and that matter in inference.

    Raises
    ------
    UnsupportedModel
        One matters, but the class does not take it.
    """
    known = {"name", "dtype"}
    for base in kind.__mro__:
        if base is not object and "__init__" in vars(base):
            known |= set(inspect.signature(vars(base)["__init__"]).parameters)
    result = {}
    for key, value in config.items():
        training = key.endswith(("_init", "_initializer", "_regularizer", "_constraint"))
        if key in known and not training:
            result[key] = value
        elif not (training or key in _IGNORED or value in _NEUTRAL.get(key, ())):
            raise UnsupportedModel(
                f"layer {config.get('name')!r} ({kind.__name__}) has {key}={value!r}, an argument "
                "that Keras 3 does not have"
            )
    if isinstance(result.get("dtype"), dict):  # a policy
        result["dtype"] = result["dtype"].get("config", {}).get("name", "float32")
    return result


def layers_of(config: Any) -> list[dict[str, Any]]:
    """Return the entries of the layers of a model's config.

    Raises
    ------
    InvalidModel
        It has none.
    """
    layers = config if isinstance(config, list) else None
    if isinstance(config, dict):
        layers = config.get("layers")
    if not isinstance(layers, list) or not all(isinstance(entry, dict) for entry in layers):
        raise InvalidModel("the config of a Keras model has no list of layers")
    return layers
