"""Demo (``make demo``): a small trained network on real images, from file to profile.

`train_demo` wrote the network; these images were not used in its training.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from rich.console import Console

from ..difference import difference
from ..errors import SardonyxError
from . import report, text
from .bench import interleave
from .profile import profile

DATA = Path(__file__).parent / "data"
LEAST_ACCURACY = 0.97
_SECONDS = 0.5


@dataclass(frozen=True)
class Images:
    """Labelled images: pixels (n, 1, 8, 8) float32 from 0 to 16, labels (n,)."""

    pixels: np.ndarray
    labels: np.ndarray


def held_out_images() -> Images:
    """Return the handwritten digits that the network was not trained on."""
    with np.load(DATA / "digits.npz") as data:
        return Images(data["images"].astype(np.float32), data["labels"])


def main(console: Console | None = None) -> None:
    """Convert, optimize, classify, compare, time and profile; fail if anything is not right.

    Raises
    ------
    SardonyxError
        The accuracy is too low, or the results are not those of onnxruntime.
    """
    from ..importers import load, save
    from ..runtime.session import Session
    from . import reference

    out = console or text.console()
    images = held_out_images()
    feeds = {"pixels": images.pixels}
    with tempfile.TemporaryDirectory(prefix="sardonyx-") as folder:
        path = Path(folder) / "digits.onnx"
        model = load(DATA / "digits.onnx")
        save(model, path)
        out.print(f"converted: {len(model.graph)} nodes, {text.size(path.stat().st_size)}")
        with Session(path, threads=1) as session:
            out.print(f"optimized: {len(session.optimized_model().graph)} nodes")
            (result,) = session.run(None, feeds)
            accuracy = float(np.mean(result.argmax(1) == images.labels))
            out.print(f"accuracy on {len(images.labels)} held-out images: {100 * accuracy:.1f} %")
            other = reference.open_session(path, threads=1)
            helped = reference.open_session(session.optimized_model(), threads=1)
            (expected,) = other.run(None, feeds)
            apart = difference("probabilities", result, expected)
            same = int(np.sum(result.argmax(1) == expected.argmax(1)))
            out.print(
                f"agreement with onnxruntime: {same} of {len(result)} classes, "
                f"probabilities within {text.error(apart.max_abs)}"
            )
            for count in (1, 64):
                batch = {"pixels": images.pixels[:count]}
                runs = {
                    "own": partial(session.run, None, batch),
                    "other": partial(other.run, None, batch),
                    "helped": partial(helped.run, None, batch),
                }
                times = interleave(runs, _SECONDS)
                own, theirs, ours = (float(np.median(times[name])) for name in runs)
                out.print(
                    f"{count} image(s): {text.duration(own)}, onnxruntime {text.duration(theirs)}, "
                    f"ratio {theirs / own:.2f}; on the optimized model onnxruntime takes "
                    f"{text.duration(ours)}, ratio {ours / own:.2f}"
                )
            batch = {"pixels": images.pixels[:64]}
            report.print_profile(profile(session, batch, model="digits, 64 images"), out)
    if accuracy < LEAST_ACCURACY:
        raise SardonyxError(f"accuracy {accuracy:.3f} is below {LEAST_ACCURACY}")
    if not apart.agrees or same != len(result):
        raise SardonyxError(f"the results are not onnxruntime's: {apart.reason}")


if __name__ == "__main__":
    main()
