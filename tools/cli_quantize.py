"""The command ``quantize``: its arguments."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Annotated

import typer

from ..errors import InvalidArgument
from . import text
from .cli_options import Output, Source, Threads


def quantize(
    source: Source,
    output: Output,
    data: Annotated[
        str | None,
        typer.Option(help="Inputs to calibrate on: .npz or .npy files, or a folder of images."),
    ] = None,
    mode: Annotated[str, typer.Option(help="static, dynamic, weights, fp16 or bf16.")] = "static",
    method: Annotated[
        str, typer.Option(help="auto, minmax, average, percentile, entropy or mse.")
    ] = "auto",
    percentile: Annotated[float, typer.Option(help="What `--method percentile` keeps.")] = 99.99,
    products: Annotated[
        bool, typer.Option("--products", help="Also products of two activations (attention).")
    ] = False,
    bits: Annotated[int, typer.Option(help="8 or 4, of `--mode weights`.")] = 8,
    block: Annotated[int, typer.Option(help="Weights with one scale, of 4 bits.")] = 32,
    rounding: Annotated[str, typer.Option(help="nearest, mse, hqq, gptq or adaround.")] = "nearest",
    offsets: Annotated[
        bool, typer.Option("--offsets", help="Of hqq: zero points between whole numbers.")
    ] = False,
    equalize: Annotated[
        bool, typer.Option("--equalize", help="Even out channels of activations where it helps.")
    ] = False,
    correct: Annotated[
        bool, typer.Option("--correct", help="Let biases take up mean errors of weights.")
    ] = False,
    ports: Annotated[
        bool, typer.Option("--ports", help="Inputs and outputs, too, become fp16 or bf16.")
    ] = False,
    mean: Annotated[
        str | None,
        typer.Option(help="Of images: (pixel - mean) / scale, pixels from 0 to 255; a,b,c."),
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="Of images: what pixels are divided by.")
    ] = None,
    layout: Annotated[str | None, typer.Option(help="Of images: NCHW or NHWC.")] = None,
    resize: Annotated[str | None, typer.Option(help="Of images: HEIGHTxWIDTH.")] = None,
    order: Annotated[str | None, typer.Option(help="Of channels of images: rgb or bgr.")] = None,
    keep: Annotated[list[str], typer.Option(help="A layer that stays float; repeatable.")] = [],  # noqa: B006
    max_drop: Annotated[
        float | None,
        typer.Option(help="Points of the metric that may be lost: finds the fastest such mix."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="accuracy (with --labels, default), cosine (default), top1 or kl."),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="An .npy file: classes, for accuracy.", exists=True)
    ] = None,
    validation: Annotated[
        str | None,
        typer.Option(help="Inputs to verify on; default: every second run of the data."),
    ] = None,
    report: Annotated[bool, typer.Option("--report", help="Error and time of each layer.")] = False,
    plots: Annotated[
        Path | None, typer.Option(help="Folder for pictures of the tensors that lose most.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Write it though it loses more, or is slower.")
    ] = False,
    threads: Threads = None,
    opset: Annotated[int | None, typer.Option(help="An older opset, for older consumers.")] = None,
) -> None:
    """Quantize a model to 8 bits (or weights to 4), as standard ONNX."""
    from .calibration_images import ImageOptions, read_numbers, read_pair
    from .feeds import read_arrays
    from .quantization_report import print_quantization
    from .quantize import quantize as run

    images = ImageOptions(
        None if mean is None else read_numbers(mean),
        None if scale is None else read_numbers(scale),
        layout,
        None if resize is None else read_pair(resize),
        order,
    )
    known = None if labels is None else read_arrays(labels)
    if isinstance(known, dict):
        raise InvalidArgument(f"{labels} holds {', '.join(known)}: labels are one array, in .npy")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "nothing is written")  # it is printed below
        done = run(
            source, data, output, mode=mode, method=method, percentile=percentile,
            products=products, bits=bits, block=block, rounding=rounding, offsets=offsets,
            equalize=equalize,
            correct=correct, ports=ports, images=images, keep=keep,
            max_drop=max_drop, metric=metric, labels=known, validation=validation, report=report,
            plots=plots, force=force, threads=threads, target_opset=opset,
        )  # fmt: skip
    before = Path(source).stat().st_size
    after = output.stat().st_size if done.written else None
    print_quantization(done, text.console(), before, after)
    if not done.written:
        raise typer.Exit(1)
