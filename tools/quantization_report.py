"""Report of a quantization: layers or tensors that lose most, times, and sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from . import text
from .layer_report import print_layers

if TYPE_CHECKING:
    from rich.console import Console

    from .quantize import Quantization

_WORST = 3


def print_quantization(
    done: Quantization, console: Console, before: int, after: int | None, worst: int = _WORST
) -> None:
    """Print what was quantized, what loses most, times, and sizes in bytes.

    Parameters
    ----------
    done : Quantization
    console : Console
    before, after : int
        Sizes of the files, of which there is no second where none was written.
    worst : int
        Tensors to name, where layers were not measured.
    """
    if done.layers:
        print_layers(done.layers, console)
    rows = [] if done.layers else sorted(done.tensors, key=lambda each: -each.noise)[:worst]
    if rows:
        table = text.table("", "tensors that lose most", "range by", "least:", "largest:", "SQNR:")
        for each in rows:
            decibels = -10 * np.log10(each.noise) if each.noise else np.inf
            table.add_row(
                each.name, each.method, f"{each.low:.4g}", f"{each.high:.4g}", f"{decibels:.1f} dB"
            )
        text.show(console, table)
    for line in _summary(done, before, after):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _summary(done: Quantization, before: int, after: int | None) -> Iterator[str]:
    runs = f", {done.runs} runs of calibration" if done.runs else ""
    kinds = {"weights": "weights", "fp16": "operators", "bf16": "operators"}
    what = kinds.get(done.mode, "convolutions and products")
    became = "" if after is None else f"; {text.size(before)} became {text.size(after)}"
    yield (
        f"{done.count} {what} quantized ({done.mode}){runs}, {text.duration(1e9 * done.seconds)}"
        f"{became}"
    )
    if done.ns is not None and done.float_ns is not None:
        yield (
            f"one sample takes {text.duration(done.ns)}, {text.duration(done.float_ns)} in float: "
            f"{done.float_ns / done.ns:.2f} times as fast"
        )
    if done.drop is not None:
        yield (
            f"results lose {done.drop:.3g} points of {done.metric} on {done.verified} samples "
            "that calibration has not seen"
        )
    for reason in done.refusals:
        yield f"{'written all the same' if done.written else 'not written'}: {reason}"
