"""Engines that a benchmark compares, with the settings their makers recommend.

For latency: one run at a time. For throughput: several requests at once.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np

from ..errors import InvalidArgument
from . import reference

Feeds: TypeAlias = Mapping[str, np.ndarray]
Run: TypeAlias = Callable[[], Any]


PASSES = 4
"""Runs of each concurrent request in one call of the function that `open_engine` returns."""


def _sardonyx(path: str, feeds: Feeds, threads: int, requests: int) -> Run:
    from ..runtime.session import Session

    session = Session(path, threads=threads)
    if requests == 1:
        return lambda: session.run(None, feeds)

    def run() -> None:
        for future in [session.run_async(None, feeds) for _ in range(PASSES * requests)]:
            future.result()

    return run


def _onnxruntime(path: str, feeds: Feeds, threads: int, requests: int) -> Run:
    session = reference.open_session(path, threads=threads)
    if requests == 1:
        return lambda: session.run(None, feeds)
    pool = ThreadPoolExecutor(requests)

    def run() -> None:
        for future in [pool.submit(session.run, None, feeds) for _ in range(PASSES * requests)]:
            future.result()

    return run


def _openvino(path: str, feeds: Feeds, threads: int, requests: int) -> Run:
    import openvino as ov

    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY" if requests == 1 else "THROUGHPUT",
        "INFERENCE_NUM_THREADS": threads * requests,
        # Otherwise it computes in bfloat16 where the processor can.
        "INFERENCE_PRECISION_HINT": "f32",
    }
    if requests > 1:
        settings["NUM_STREAMS"] = requests
    core = ov.Core()
    if cache := os.environ.get(OPENVINO_CACHE):
        settings["CACHE_DIR"] = cache
    compiled = core.compile_model(_with_sizes(core, path, feeds), "CPU", settings)
    inputs = {index: feeds[port.any_name] for index, port in enumerate(compiled.inputs)}
    if requests == 1:
        request = compiled.create_infer_request()
        return lambda: request.infer(inputs, share_inputs=True)
    queue = ov.AsyncInferQueue(compiled, requests)

    def run() -> None:
        for _ in range(PASSES * requests):
            queue.start_async(inputs, share_inputs=True)
        queue.wait_all()

    return run


def _with_sizes(core: Any, path: str, feeds: Feeds) -> Any:
    """Give OpenVINO the sizes of the inputs in advance, where the model leaves them open."""
    model = core.read_model(path)
    if not model.is_dynamic():
        return path  # OpenVINO's cache is faster with a path
    try:
        model.reshape({port.any_name: list(feeds[port.any_name].shape) for port in model.inputs})
    except RuntimeError:
        return path
    return model


OPENVINO_CACHE = "SARDONYX_BENCH_OPENVINO_CACHE"
"""Environment variable: the folder where OpenVINO keeps compiled models; it has none by default."""

ENGINES: dict[str, Callable[[str, Feeds, int, int], Run]] = {
    "sardonyx": _sardonyx,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


def installed() -> list[str]:
    """Names of the engines that are installed here, sardonyx first."""
    return [
        name for name in ENGINES if name == "sardonyx" or importlib.util.find_spec(name) is not None
    ]


_MODULES = {"sardonyx": f"{__package__.rpartition('.')[0]}.runtime.session"}


def import_engine(name: str) -> None:
    """Import what opening a model in an engine needs at least.

    Raises
    ------
    InvalidArgument
        There is no such engine here.
    """
    if name not in installed():
        raise InvalidArgument(f"no engine {name!r} here; there are {', '.join(installed())}")
    importlib.import_module(_MODULES.get(name, name))


def open_engine(name: str, path: str, feeds: Feeds, threads: int, requests: int = 1) -> Run:
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
        Of one run.
    requests : int
        Number of concurrent runs.

    Returns
    -------
    callable
        Does one run and returns its outputs; with several requests `PASSES` runs for each, without
        outputs.

    Raises
    ------
    InvalidArgument
        There is no such engine here.
    """
    import_engine(name)
    return ENGINES[name](path, feeds, threads, requests)
