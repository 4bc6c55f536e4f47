"""Labelled images to train and to test on: scikit-learn's digits, or CIFAR-10 from its files."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sardonyx import InvalidArgument

CIFAR10 = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
"""Names of the ten classes of CIFAR-10."""

_CIFAR10_ADDRESS = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"


@dataclass(frozen=True)
class Images:
    """Images with their labels.

    Attributes
    ----------
    pixels : ndarray of float32, shape (n, height, width, channels)
        From 0 to 1.
    labels : ndarray of int64, shape (n,)
    """

    pixels: np.ndarray
    labels: np.ndarray

    def accuracy(self, probabilities: np.ndarray) -> float:
        """Share of the images whose most probable class, of (n, classes), is right."""
        return float(np.mean(probabilities.argmax(1) == self.labels))


@dataclass(frozen=True)
class Task:
    """Images to train on, others to test on, and what their classes are called."""

    train: Images
    test: Images
    names: tuple[str, ...]


def digits() -> Task:
    """Return scikit-learn's 1797 handwritten digits of 8 x 8 pixels, a quarter of them to test."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    pixels = (digits.images[..., None] / 16).astype(np.float32)
    train, test, train_labels, test_labels = train_test_split(
        pixels,
        digits.target.astype(np.int64),
        test_size=0.25,
        stratify=digits.target,
        random_state=0,
    )
    return Task(Images(train, train_labels), Images(test, test_labels), tuple(map(str, range(10))))


def cifar10(folder: Path) -> Task:
    """Read CIFAR-10's "python version", such as Keras keeps below ``~/.keras/datasets``.

    Parameters
    ----------
    folder : Path
        Holds ``data_batch_1`` to ``data_batch_5`` and ``test_batch``, or a folder with them.

    Raises
    ------
    InvalidArgument
        They are not there, or are not what they should be.
    """
    test = next(folder.rglob("test_batch"), None)
    if test is None:
        raise InvalidArgument(
            f"{folder} holds no CIFAR-10 (no test_batch); unpack {_CIFAR10_ADDRESS} there"
        )
    parts = [_batch(test.with_name(f"data_batch_{number}")) for number in range(1, 6)]
    train = Images(
        np.concatenate([part.pixels for part in parts]),
        np.concatenate([part.labels for part in parts]),
    )
    return Task(train, _batch(test), CIFAR10)


def _batch(path: Path) -> Images:
    try:
        with path.open("rb") as file:
            batch = _ArraysOnly(file, encoding="bytes").load()
        planes = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32)
        labels = np.asarray(batch[b"labels"], np.int64).reshape(len(planes))
    except (OSError, ValueError, LookupError, TypeError, EOFError, pickle.PickleError) as error:
        raise InvalidArgument(f"{path} is no batch of CIFAR-10: {error}") from error
    return Images(planes.transpose(0, 2, 3, 1).astype(np.float32) / 255, labels)


class _ArraysOnly(pickle.Unpickler):
    """Reads pickles of arrays, and runs no code that a file brings."""

    def find_class(self, module: str, name: str) -> Any:
        # Files of old versions of numpy name a module that has moved since.
        module = module.replace("numpy.core.", "numpy._core.")
        if (module, name) not in _NEEDED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return super().find_class(module, name)


_NEEDED = {
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}
