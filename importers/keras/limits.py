"""Limits of files of Keras: HDF5 that compresses or points elsewhere, and weights by their sizes.

Keras has limits of its own, for the archives of Keras 3 alone. None of them look at the sizes
that a config declares: a layer fills memory before its weights are missed in the file.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import IO, Any

from ...errors import InvalidModel
from ...patches import Patch, applied
from ..frameworks import conversion, require
from ..limits import Budget, check_archive


def check_keras_archive(path: str, limit: int | None) -> None:
    """Refuse an archive of Keras 3 whose entries, or arrays in them, are too large."""
    with conversion("Keras", path), zipfile.ZipFile(path) as archive:
        check_archive(archive, Budget(path, limit))
        arrays = Budget(path, limit)
        for entry in archive.infolist():
            if entry.filename.endswith((".h5", ".npz")):
                with archive.open(entry) as stream:
                    is_stored = entry.compress_type == zipfile.ZIP_STORED
                    _check_weights(stream if is_stored else io.BytesIO(stream.read()), arrays)


def _check_weights(file: IO[bytes], budget: Budget) -> None:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as arrays:
            check_archive(arrays, budget)
        return
    with require("h5py", "keras").File(file, "r") as weights:
        check_hdf5(weights, budget)


def check_hdf5(file: Any, budget: Budget) -> None:
    """Refuse datasets that lie in other files, or are too large.

    Parameters
    ----------
    file : h5py.File
    budget : Budget

    Raises
    ------
    InvalidModel
        A link or dataset leads to another file; names it.
    UnsupportedModel
        A dataset is too large; names it.
    """
    h5py = require("h5py", "keras")
    seen: set[Any] = set()
    groups = [file]
    while groups:
        group = groups.pop()
        address = h5py.h5o.get_info(group.id).addr
        if address in seen:  # links may lead in a circle
            continue
        seen.add(address)
        for name in group:
            what = f"{group.name.rstrip('/')}/{name}"
            if isinstance(group.get(name, getlink=True), h5py.ExternalLink):
                raise InvalidModel(f"{budget.path}: {what!r} lies in another file")
            item = group.get(name)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise InvalidModel(f"{budget.path}: {what!r} lies in another file")
                size = math.prod(item.shape or ()) * item.dtype.itemsize
                budget.spend(size, f"dataset {what!r}", item.shape)


def limited_weights(budget: Budget) -> AbstractContextManager[None]:
    """Count the weights of layers that are built meanwhile, and leave them zero.

    Their values are read after. Initial ones would take long: those of some layers are orthogonal
    matrices.
    """

    def counting(original: Callable[..., None]) -> Callable[..., None]:
        from keras import initializers
        from keras.src.backend.common.variables import current_path, standardize_dtype

        def init(
            variable: Any, initializer: Any, shape: Any = None, dtype: Any = None, **options: Any
        ) -> None:
            if callable(initializer) and shape is not None:
                where = "/".join(filter(None, (current_path(), options.get("name"))))
                width = 8 if dtype is None else _WIDTHS.get(standardize_dtype(dtype), 8)
                budget.spend(math.prod(shape) * width, f"weight {where!r}", shape)
                if isinstance(initializer, initializers.Initializer):
                    initializer = initializers.Zeros()
            original(variable, initializer, shape=shape, dtype=dtype, **options)

        return init

    patch = Patch(
        "keras",
        "keras.src.backend.common.variables.Variable.__init__",
        counting,
        "a config declares weights of any size, which the file need not hold",
        tested="3.15",
        during="a file is read",
    )
    return applied([patch])


_WIDTHS = {"float32": 4, "float16": 2, "bfloat16": 2, "int32": 4, "int8": 1, "uint8": 1, "bool": 1}
"""Bytes of an element; others are taken for the widest."""
