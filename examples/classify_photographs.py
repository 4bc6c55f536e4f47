"""Labels of photographs by a network that Keras trained on CIFAR-10: from its .h5 file to labels.

    python examples/classify_photographs.py
    python examples/classify_photographs.py holiday.jpg

The network comes from the package registry, the photographs from scikit-image where none is given.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sardonyx
from labelled_images import CIFAR10
from sardonyx.tools import text, zoo
from side_by_side import Times, times

if TYPE_CHECKING:
    from PIL import Image

_SIDE = 32
_BEST = 2


def photographs(paths: Sequence[Path]) -> dict[str, Image.Image]:
    """Open photographs; without any, a cat, the outline of a horse, and a motorcycle.

    CIFAR-10 has no class for the last.
    """
    from PIL import Image

    if paths:
        return {path.name: Image.open(path) for path in paths}
    from skimage import data

    return {
        "cat": Image.fromarray(data.chelsea()),
        "horse": Image.fromarray(data.horse().astype(np.uint8) * 255),
        "motorcycle": Image.fromarray(data.stereo_motorcycle()[0]),
    }


def prepared(photograph: Image.Image) -> np.ndarray:
    """Shrink a photograph to what the network takes: 32 x 32 x 3, float32 from 0 to 255."""
    from PIL import Image

    small = photograph.convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def probabilities(scores: np.ndarray) -> np.ndarray:
    """Softmax over the classes, the last axis, which the network leaves to its loss."""
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    shares: np.ndarray = powers / powers.sum(-1, keepdims=True)
    return shares


def print_table(names: Sequence[str], outputs: np.ndarray, error: float, measured: Times) -> None:
    """Print the most probable classes of each photograph, and the times of one."""
    table = text.table("photographs", "photograph", *(["label", "probability:"] * _BEST))
    for name, shares in zip(names, outputs, strict=True):
        best = np.argsort(-shares)[:_BEST]
        table.add_row(name, *(c for i in best for c in (CIFAR10[i], text.percent(shares[i]))))
    speed = text.table("one photograph", "error:", *Times.COLUMNS)
    speed.add_row(text.error(error), *measured.cells())
    text.show(text.console(), table, speed)


def main(argv: Sequence[str] | None = None) -> Mapping[str, str]:
    """Label photographs; give the label of each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("photographs", nargs="*", type=Path)
    arguments = parser.parse_args(argv)
    import keras  # after the arguments, so that --help need not wait

    chosen = photographs(arguments.photographs)
    images = np.stack([prepared(photograph) for photograph in chosen.values()])

    path = zoo.model("keras_cifar10")
    network = keras.models.load_model(path, compile=False)
    model = sardonyx.load(path)
    session = sardonyx.Session(model)
    outputs = probabilities(session(images))
    error = float(np.abs(outputs - probabilities(network.predict_on_batch(images))).max())
    one = images[:1]
    feeds = {session.get_inputs()[0].name: one}
    measured = times(model, session, feeds, lambda: network.predict_on_batch(one))
    print_table(list(chosen), outputs, error, measured)
    return {name: CIFAR10[row.argmax()] for name, row in zip(chosen, outputs, strict=True)}


if __name__ == "__main__":
    main()
