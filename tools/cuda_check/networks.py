"""Tasks that measure whole networks, and what a captured run costs beside its kernels."""

from __future__ import annotations

import functools
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

from ...runtime.session import Session
from .. import zoo
from ..cuda_cases.runs import model_of
from .encoders import Sizes, bert, vit
from .figures import kernel_seconds
from .peers import allow_tf32, onnxruntime_call, seconds_of, torch_device, torch_module
from .tasks import Row, Setting, Skipped, Task

_TABLE = "Networks, ms a batch"
_ENGINES = (
    "fp32", "fast", "torch fp32", "torch tf32", "torch.compile fp32", "torch.compile tf32",
    "onnxruntime-gpu",
)  # fmt: skip
_BATCHES = (1, 64, 8)
_LAUNCHES = 40


def network_tasks(setting: Setting) -> list[Task]:
    """Return each network by batch and engine, batches of 1 and 64 first."""
    batches = _BATCHES[: setting.size(3, 1)]
    names = ["resnet50", "BERT-base", "ViT-B"] if not setting.simulates else ["BERT-base", "ViT-B"]
    return [
        Task(
            f"{name}, batch {batch}, {engine}",
            functools.partial(_figure, name, batch, engine, setting),
        )
        for batch in batches
        for name in names
        for engine in _ENGINES
    ]


@functools.cache
def _network(name: str, simulates: bool) -> tuple[onnx.ModelProto, Callable[[int], Any]]:
    sizes = Sizes(1, 16, 2, 5) if simulates else Sizes()
    if name == "BERT-base":
        return bert(sizes)
    if name == "ViT-B":
        return vit(sizes, 32) if simulates else vit(sizes)
    model = onnx.load(zoo.with_free_batch("resnet50"))
    weights = {each.name for each in model.graph.initializer}
    port = next(port for port in model.graph.input if port.name not in weights)
    rng = np.random.default_rng(0)
    return model, lambda batch: {port.name: rng.standard_normal((batch, 3, 224, 224), np.float32)}


def _figure(name: str, batch: int, engine: str, setting: Setting) -> list[Row]:
    try:
        model, feeds_of = _network(name, setting.simulates)
    except zoo.Unavailable as reason:
        raise Skipped(str(reason)) from reason
    feeds = feeds_of(batch)
    if engine in ("fp32", "fast"):
        seconds = _ours(model, feeds, engine, setting)
        label = f"sardonyx {engine}"
    elif engine.startswith("torch"):
        seconds, label = _torch(model, feeds, engine, setting), engine
    else:
        seconds, label = _onnxruntime(model, feeds, setting), engine
    return [Row(_TABLE, f"{name}, batch {batch}", {label: seconds * 1e3})]


def _ours(model: onnx.ModelProto, feeds: Any, precision: str, setting: Setting) -> float:
    session = Session(model.SerializeToString(), device="cuda", precision=precision)
    return _bound_seconds(session, feeds, setting)


def _bound_seconds(session: Session, feeds: Any, setting: Setting) -> float:
    """Return the seconds of a run whose arrays stay on the GPU."""
    binding = session.io_binding()
    for name, value in feeds.items():
        binding.bind_input(name, value)
    for _ in range(setting.size(4, 1)):
        session.run_with_iobinding(binding)
    repeats, times = setting.size(20, 1), []
    for _ in range(setting.size(3, 1)):
        start = time.perf_counter()
        for _ in range(repeats):
            session.run_with_iobinding(binding)
        times.append((time.perf_counter() - start) / repeats)
    return min(times)


def _torch(model: onnx.ModelProto, feeds: Any, engine: str, setting: Setting) -> float:
    torch, device = torch_device(setting.simulates)
    allow_tf32("tf32" in engine)
    module = torch_module(model, device)
    if "compile" in engine:
        if setting.simulates:
            raise Skipped("not compiled where there is no GPU")
        module = torch.compile(module)
    [(name, value)] = feeds.items()
    x = torch.from_numpy(value).to(device)
    try:
        with torch.inference_mode():
            return seconds_of(functools.partial(module, name, x), device, setting.size(20, 1))
    finally:
        allow_tf32(False)


def _onnxruntime(model: onnx.ModelProto, feeds: Any, setting: Setting) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.onnx")
        onnx.save(model, path)
        call = onnxruntime_call(str(path), feeds, setting.simulates)
    for _ in range(setting.size(4, 1)):
        call()
    repeats, times = setting.size(20, 1), []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        times.append((time.perf_counter() - start) / repeats)
    return min(times)


def launch_tasks(setting: Setting) -> list[Task]:
    """Return what a captured run of many small kernels costs beside them."""
    return [Task("captured run", functools.partial(_launches, setting))]


def _launches(setting: Setting) -> list[Row]:
    count, side = setting.size(_LAUNCHES, 4), setting.size(64, 5)
    names = ["x", *(f"y{i}" for i in range(count))]
    nodes = [
        helper.make_node("Softmax", [x], [y], axis=i % 2)
        for i, (x, y) in enumerate(itertools.pairwise(names))
    ]
    feeds = {"x": np.random.default_rng(0).standard_normal((side, side), np.float32)}
    session = Session(model_of(nodes, feeds).SerializeToString(), device="cuda")
    kernels = len(session.engine.program.steps)
    alone = 1e9 * kernel_seconds(session, feeds, setting.size(20, 1), setting.size(3, 0))
    seconds = _bound_seconds(session, feeds, setting)
    values: dict[str, float | str] = {
        "kernels": float(kernels),
        "us a run": seconds * 1e6,
        "us of its kernels one by one": alone / 1e3,
        "us added": seconds * 1e6 - alone / 1e3,
    }
    return [Row("Cost of launches", "captured run, arrays on the GPU", values)]
