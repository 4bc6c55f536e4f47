"""Benchmark of networks that we quantize: integers beside our float32, and beside onnxruntime.

``python -m sardonyx.tools.quantized_bench --threads 1`` quantizes each network to 8 bits (static,
weights by channel) with random inputs, and prints a line for each with the time of its standard
file: how many times as long our float32 takes, onnxruntime with the same file, and onnxruntime with
the float model; then the geometric means.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from . import zoo
from .bench import SUITE, Race, race
from .quantize import quantize

_SAMPLES = 3
"""Random inputs that ranges are taken from."""
FLOAT, OTHER, OTHER_FLOAT = "float32", "onnxruntime", "onnxruntime float32"


def quantized(name: str, folder: Path) -> Path:
    """Return the file of a network in 8 bits, which is written unless the folder has it."""
    path = folder / f"{name}.onnx"
    if not path.exists():
        rng = np.random.default_rng(0)
        samples = [zoo.inputs(name, rng) for _ in range(_SAMPLES)]
        quantize(str(zoo.model(name)), samples, path, force=True)
    return path


def measure(name: str, folder: Path, threads: int, seconds: float) -> Race:
    """Let engines run a network in 8 bits and in float32, in turns."""
    original, small = zoo.model(name), quantized(name, folder)
    files = {"sardonyx": small, OTHER: small, FLOAT: original, OTHER_FLOAT: original}
    feeds = zoo.inputs(name, np.random.default_rng(1))
    engines = {FLOAT: "sardonyx", OTHER_FLOAT: "onnxruntime"}
    return race(files, feeds, threads, seconds, engines)


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"of {', '.join(SUITE)}")] = None,
    threads: int = 1,
    seconds: float = 0.5,
    folder: Annotated[Path | None, typer.Option(help="keeps the quantized files")] = None,
) -> None:
    """Print times of integers, and how many times as long others take, by two quantiles."""
    found: dict[str, Race] = {}
    with tempfile.TemporaryDirectory() as temporary:
        kept = folder or Path(temporary)
        kept.mkdir(parents=True, exist_ok=True)
        for name in names or SUITE:
            found[name] = measure(name, kept, threads, seconds)
            print(f"{name:16} {found[name]}", flush=True)
    for quantile in (0.5, Race.LOW):
        rows = [each.ratios(quantile) for each in found.values()]
        means = {key: np.exp(np.mean([np.log(row[key]) for row in rows])) for key in rows[0]}
        text = ", ".join(f"{key} {mean:.2f}" for key, mean in means.items())
        print(f"{len(rows)} networks, quantile {quantile}, geometric means: {text}")


if __name__ == "__main__":
    typer.run(main)
