"""CIFAR-10's files: their format, and what is refused."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
import sardonyx

BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


@pytest.fixture
def images(example):
    return example("labelled_images")


def write(folder, rng, count=4):
    """Write batches; give the pixels of the first image of each, (32, 32, 3)."""
    folder.mkdir(parents=True)
    pixels = rng.integers(0, 256, (len(BATCHES), count, 32, 32, 3), np.uint8)
    for name, part in zip(BATCHES, pixels, strict=True):
        rows = part.transpose(0, 3, 1, 2).reshape(count, -1)
        content = {
            b"data": rows,
            b"labels": [index % 10 for index in range(count)],
            b"batch_label": name.encode(),
        }
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
    return pixels[:, 0]


def test_batches_become_images(images, tmp_path, rng):
    first = write(tmp_path / "datasets" / "cifar-10-batches-py", rng)
    task = images.cifar10(tmp_path)
    assert task.train.pixels.shape == (20, 32, 32, 3) and task.test.pixels.shape == (4, 32, 32, 3)
    assert task.train.pixels.dtype == np.float32 and task.train.labels.tolist() == [0, 1, 2, 3] * 5
    np.testing.assert_array_equal(task.train.pixels[::4], first[:5].astype(np.float32) / 255)
    np.testing.assert_array_equal(task.test.pixels[0], first[5].astype(np.float32) / 255)


def test_old_pickles_are_read(images, tmp_path, rng):
    """Python 2 wrote the original files: strings of bytes, and the old name of numpy's module."""
    write(tmp_path / "batches", rng)
    path = tmp_path / "batches" / "test_batch"
    before = images.cifar10(tmp_path).test
    path.write_bytes(path.read_bytes().replace(b"numpy._core.", b"numpy.core."))
    assert b"numpy.core.multiarray" in path.read_bytes()
    np.testing.assert_array_equal(images.cifar10(tmp_path).test.pixels, before.pixels)


class Bomb:
    def __reduce__(self):
        return os.system, ("true",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps({b"data": Bomb(), b"labels": []}), "system, which no array needs"),
        (pickle.dumps({b"data": np.zeros((2, 5), np.uint8), b"labels": [0, 1]}), "reshape"),
        (pickle.dumps({b"labels": [0]}), "data"),
        (pickle.dumps([1]), "no batch"),
        (b"", "no batch"),
        (b"text", "no batch"),
    ],
)
def test_what_is_no_batch_is_refused(content, reason, images, tmp_path, rng):
    write(tmp_path / "batches", rng)
    (tmp_path / "batches" / "data_batch_3").write_bytes(content)
    with pytest.raises(sardonyx.InvalidArgument, match=f"data_batch_3.*{reason}"):
        images.cifar10(tmp_path)


def test_a_folder_without_batches_is_refused_with_what_to_do(images, tmp_path):
    with pytest.raises(sardonyx.InvalidArgument, match=r"no CIFAR-10 .*unpack https"):
        images.cifar10(tmp_path)


def test_digits_are_split_by_class(images):
    pytest.importorskip(
        "sklearn", reason="scikit-learn is not installed: pip install sardonyx[examples]"
    )
    task = images.digits()
    assert task.train.pixels.shape == (1347, 8, 8, 1) and task.test.pixels.shape == (450, 8, 8, 1)
    assert task.train.pixels.min() == 0 and task.train.pixels.max() == 1
    assert set(np.bincount(task.test.labels)) <= set(range(43, 48))
