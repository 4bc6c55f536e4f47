"""The command ``quantize``: its arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import text
from .cli_options import Output, Source, Threads


def quantize(
    source: Source,
    output: Output,
    data: Annotated[
        str | None,
        typer.Option(help="Inputs to calibrate on: .npz or .npy file, or a folder of them."),
    ] = None,
    mode: Annotated[str, typer.Option(help="static, dynamic or weights.")] = "static",
    method: Annotated[
        str, typer.Option(help="auto, minmax, average, percentile, entropy or mse.")
    ] = "auto",
    percentile: Annotated[float, typer.Option(help="What `--method percentile` keeps.")] = 99.99,
    products: Annotated[
        bool, typer.Option("--products", help="Also products of two activations (attention).")
    ] = False,
    bits: Annotated[int, typer.Option(help="8 or 4, of `--mode weights`.")] = 8,
    block: Annotated[int, typer.Option(help="Weights with one scale, of 4 bits.")] = 32,
    rounding: Annotated[str, typer.Option(help="nearest or mse, of 4 bits.")] = "nearest",
    threads: Threads = None,
    opset: Annotated[int | None, typer.Option(help="An older opset, for older consumers.")] = None,
) -> None:
    """Quantize a model to 8 bits (or weights to 4), as standard ONNX."""
    from .quantize import print_quantization
    from .quantize import quantize as run

    done = run(
        source, data, output, mode=mode, method=method, percentile=percentile, products=products,
        bits=bits, block=block, rounding=rounding, threads=threads, target_opset=opset,
    )  # fmt: skip
    before = Path(source).stat().st_size
    print_quantization(done, text.console(), before, output.stat().st_size)
