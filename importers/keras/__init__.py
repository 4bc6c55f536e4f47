"""Keras importer: models and files of Keras 1 to 3, on each backend of Keras."""

from __future__ import annotations

from ..importer import Importer, Reader


def _reader() -> Reader:
    from .convert import from_keras

    return from_keras


KERAS = Importer(
    "Keras",
    _reader,
    modules=("keras", "tf_keras"),
    suffixes=(".keras", ".h5", ".hdf5"),
    packages=("keras",),
    extra="keras",
    unsafe={"safe_mode": False},  # runs Lambda layers
)
