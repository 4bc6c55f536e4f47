"""Files of Keras: their kinds, and the models and weights in them."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ...errors import ImportFailed, InvalidArgument, InvalidModel
from ..frameworks import conversion, require
from ..limits import Budget
from .builder import Builder, lambda_refused
from .limits import check_hdf5, check_keras_archive, limited_weights
from .weights import assign_weights, read_weights, text

_WEIGHTS = ".weights.h5"
_CONVOLUTIONS = ("Conv", "AtrousConv", "Deconv")


def read_file(
    path: str,
    config: Any,
    custom_objects: Mapping[str, Any],
    safe_mode: bool,
    backend: str | None,
    limit: int | None = None,
) -> Any:
    """Read a file as a model of Keras.

    Files of Keras 3 are read by Keras; those of Keras 1 and 2 by `Builder`, since Keras 3 refuses
    some of them and reads some wrongly (hard sigmoids, kernels of Theano).

    Parameters
    ----------
    config : path, str or mapping, optional
        The architecture, as ``to_json`` returns it, of a file that holds only weights.
    custom_objects, safe_mode
        As Keras takes them.
    backend : str, optional
        What Keras ran on when it wrote the file, where that does not say.
    limit : int, optional
        Bytes that the file's weights may take in memory.

    Raises
    ------
    InvalidModel
        The file is not one of Keras, or it is broken.
    InvalidArgument
        It holds no architecture and there is no config.
    ImportFailed, UnsupportedModel
        A layer cannot be built, or is too large; names it and says what to do.
    """
    if zipfile.is_zipfile(path):
        check_keras_archive(path, limit)
        with limited_weights(Budget(path, limit)):
            return _archive(path, custom_objects, safe_mode)
    with _open(path, limit) as file, limited_weights(Budget(path, limit)):
        weights = file if "layer_names" in file.attrs else file.get("model_weights")
        stored = file.attrs.get("model_config")
        version = text(file.attrs.get("keras_version", "1"))
        if config is not None:
            stored = config = _json(config)
            version = str(config.get("keras_version", version))
        elif stored is not None:
            stored = _json(text(stored))
        if weights is None and not _of_keras_3(file):
            raise InvalidModel(f"{path} is HDF5, but it holds neither a Keras model nor weights")
        if stored is None:
            raise InvalidArgument(
                f"{path} holds only weights: give config= (the result of to_json()) or model="
            )
        names = _lambdas(stored)
        if names and safe_mode:
            raise ImportFailed(lambda_refused(names))
        if weights is None:
            model = _from_json(stored, custom_objects, safe_mode, path)
            return _with_weights_of_keras_3(model, path)
        if int(version.partition(".")[0] or 1) >= 3 and config is None:
            with _reading(path):
                return _load(path, custom_objects, safe_mode)
        values = read_weights(weights, backend)
        if _is_of_keras_3(stored):
            model = _from_json(stored, custom_objects, safe_mode, path)
        else:
            if not values.backend and _convolves(stored):
                warnings.warn(
                    f"{path} does not name the backend of Keras, so its kernels are read as "
                    "TensorFlow's: if it was Theano, give backend='theano'",
                    stacklevel=5,
                )
            model = Builder(custom_objects, values.backend, safe_mode).model(stored)
        assign_weights(model, values, by_name=False)
        return model


def set_weights(
    model: Any, path: str, by_name: bool, backend: str | None, limit: int | None = None
) -> None:
    """Set the weights of a model from a file of Keras, with or without an architecture.

    Raises
    ------
    InvalidModel, InvalidArgument
        The file holds no weights, or those of another model.
    """
    if zipfile.is_zipfile(path):
        check_keras_archive(path, limit)
        with _reading(path):
            model.load_weights(path)
        return
    with _open(path, limit) as file:
        weights = file if "layer_names" in file.attrs else file.get("model_weights")
        if weights is not None:
            assign_weights(model, read_weights(weights, backend), by_name)
        elif _of_keras_3(file):
            _with_weights_of_keras_3(model, path)
        else:
            raise InvalidModel(f"{path} is HDF5, but it holds no weights of Keras")


@contextmanager
def _open(path: str, limit: int | None) -> Iterator[Any]:
    h5py = require("h5py", "keras")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise InvalidModel(
            f"{path} is not a Keras file: neither a .keras archive nor HDF5"
        ) from error
    with file:
        check_hdf5(file, Budget(path, limit))
        yield file


def _archive(path: str, custom_objects: Mapping[str, Any], safe_mode: bool) -> Any:
    with zipfile.ZipFile(path) as archive:
        if "config.json" not in archive.namelist():
            raise InvalidModel(f"{path} is not a Keras file: the archive has no config.json")
        config = _json(archive.read("config.json"))
    names = _lambdas(config)
    if names and safe_mode:
        raise ImportFailed(lambda_refused(names))
    with _reading(path, _foreign(config, custom_objects)):
        return _load(path, custom_objects, safe_mode)


def _reading(path: str, foreign: Sequence[str] = ()) -> Any:
    named = f" such as {', '.join(foreign)}" if foreign else ""
    what = f"{path} (your own classes and functions{named} belong into custom_objects=)"
    return conversion("Keras", what)


def _foreign(config: Any, known: Mapping[str, Any]) -> list[str]:
    """Classes and functions that a config of Keras 3 takes from elsewhere, with their layers."""
    names = []
    for entry in _entries(config):
        own = str(entry.get("module") or "").partition(".")[0] in ("keras", "builtins")
        if "registered_name" in entry and not own and entry["class_name"] not in known:
            inner = entry.get("config")
            name = inner.get("name") if isinstance(inner, Mapping) else inner
            names.append(f"{entry['class_name']} (layer {name!r})")
    return sorted(names)[:8]


def _json(source: Any) -> dict[str, Any]:
    """Return a config given as a file, as JSON or as a mapping."""
    if isinstance(source, Mapping):
        source = json.dumps(source)
    if isinstance(source, os.PathLike) or (
        isinstance(source, str) and not source.lstrip().startswith("{") and os.path.exists(source)
    ):
        with open(source, "rb") as file:
            source = file.read()
    try:
        config = json.loads(source)
    except (ValueError, TypeError) as error:
        raise InvalidModel(f"the config of the Keras model is not JSON: {error}") from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise InvalidModel("the config of the Keras model has no class_name")
    return config


def _of_keras_3(file: Any) -> bool:
    return "layers" in file or "_layer_checkpoint_dependencies" in file


def _is_of_keras_3(config: Mapping[str, Any]) -> bool:
    return "module" in config or "registered_name" in config


def _from_json(config: Any, custom_objects: Mapping[str, Any], safe_mode: bool, path: str) -> Any:
    from keras import saving

    with _reading(path):
        if not _is_of_keras_3(config):
            return Builder(custom_objects, "", safe_mode).model(config)
        return saving.deserialize_keras_object(
            config, custom_objects=dict(custom_objects), safe_mode=safe_mode
        )


def _load(path: str, custom_objects: Mapping[str, Any], safe_mode: bool) -> Any:
    from keras import saving

    return saving.load_model(
        path, custom_objects=dict(custom_objects), compile=False, safe_mode=safe_mode
    )


def _with_weights_of_keras_3(model: Any, path: str) -> Any:
    with _reading(path), tempfile.TemporaryDirectory() as folder:
        if not path.endswith(_WEIGHTS):  # by which Keras tells such files from others
            path = shutil.copy(path, os.path.join(folder, "model" + _WEIGHTS))
        model.load_weights(path)
    return model


def _lambdas(config: Any) -> list[str]:
    """Names of the Lambda layers anywhere in a config."""
    entries = [entry for entry in _entries(config) if entry["class_name"] == "Lambda"]
    return sorted(str((entry.get("config") or {}).get("name", "lambda")) for entry in entries)


def _convolves(config: Any) -> bool:
    """Whether a model has convolutions, which Theano would have stored in another way."""
    return any(str(entry["class_name"]).startswith(_CONVOLUTIONS) for entry in _entries(config))


def _entries(config: Any) -> Iterator[dict[str, Any]]:
    """Walk over all entries that name a class, at any depth."""
    stack = [config]
    while stack:
        value = stack.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            stack += value.values()
        elif isinstance(value, list):
            stack += value
