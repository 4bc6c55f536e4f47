"""The runtimes a benchmark compares, each with the settings its makers recommend for latency."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from .. import InvalidArgument
from . import reference

Feeds: TypeAlias = Mapping[str, np.ndarray]
Run: TypeAlias = Callable[[], Any]


def _sardonyx(path: str, feeds: Feeds, threads: int) -> Run:
    from ..runtime.session import Session

    session = Session(path, threads=threads)
    return lambda: session.run(None, feeds)


def _onnxruntime(path: str, feeds: Feeds, threads: int) -> Run:
    session = reference.open_session(path, threads=threads)
    return lambda: session.run(None, feeds)


def _openvino(path: str, feeds: Feeds, threads: int) -> Run:
    import openvino as ov

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        # Otherwise it computes in bfloat16 where the processor can.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = ov.Core()
    if cache := os.environ.get(OPENVINO_CACHE):
        settings["CACHE_DIR"] = cache
    compiled = core.compile_model(path, "CPU", settings)
    request = compiled.create_infer_request()
    inputs = {index: feeds[port.any_name] for index, port in enumerate(compiled.inputs)}
    return lambda: request.infer(inputs, share_inputs=True)


OPENVINO_CACHE = "SARDONYX_BENCH_OPENVINO_CACHE"
"""Environment variable: the folder where OpenVINO keeps compiled models; it has none by default."""

ENGINES: dict[str, Callable[[str, Feeds, int], Run]] = {
    "sardonyx": _sardonyx,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


def installed() -> list[str]:
    """Names of the engines that are installed here, sardonyx first."""
    return [
        name for name in ENGINES if name == "sardonyx" or importlib.util.find_spec(name) is not None
    ]


def open_engine(name: str, path: str, feeds: Feeds, threads: int) -> Run:
    """Open a model in an engine.

    Parameters
    ----------
    name : str
        Of `ENGINES`.
    path : str
        An ONNX file.
    feeds : mapping of str to ndarray
        Inputs of every run.
    threads : int

    Returns
    -------
    callable
        Does one run.

    Raises
    ------
    InvalidArgument
        There is no such engine here.
    """
    if name not in installed():
        raise InvalidArgument(f"no engine {name!r} here; there are {', '.join(installed())}")
    return ENGINES[name](path, feeds, threads)
