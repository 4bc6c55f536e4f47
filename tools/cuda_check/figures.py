"""Tasks that measure operators in sessions: products, convolutions, attention, bandwidth."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from ...errors import SardonyxError
from ...kernels.cuda.bandwidth import bandwidth_fraction
from ...kernels.cuda.kernel import find
from ...kernels.cuda.offline import NoCompiler, assemble_plain, plain_text
from ...kernels.cuda.tensor_cores.expectation import fraction
from ...kernels.cuda.tensor_cores.steps import blocks_of, tile_of
from ...kernels.ref import KernelRef
from ...runtime.session import Session
from ..cuda_cases.runs import model_of
from .peers import allow_tf32, seconds_of, torch_device
from .raw import driver, machine
from .tasks import Row, Setting, Task, drawn

PRECISIONS = ("fp32", "fast")
_RUNS, _WARMUP = 10, 3
_PREFIX = "kernels.cuda."
_REGISTERS = 48
"""Of a thread, where there is no assembler to tell."""
node = helper.make_node
Arrays = Mapping[str, np.ndarray]


def on_gpu(
    nodes: Sequence[onnx.NodeProto],
    feeds: Arrays,
    weights: Arrays,
    precision: str,
    setting: Setting,
) -> tuple[float, list[KernelRef]]:  # fmt: skip
    """Return the seconds of a model's kernels on the GPU, and these kernels."""
    data = model_of(nodes, feeds, weights).SerializeToString()
    session = Session(data, device="cuda", precision=precision)
    program = session.engine.program
    runs, warmup = setting.size(_RUNS, 1), setting.size(_WARMUP, 0)
    refs = [program.kernels[step.kernel] for step in program.steps]
    own = [index for index, ref in enumerate(refs) if ref.module.startswith(_PREFIX)]
    if not own:
        raise SardonyxError("the GPU runs no step of it")
    return kernel_seconds(session, feeds, runs, warmup), [refs[index] for index in own]


def kernel_seconds(session: Session, feeds: Arrays, runs: int, warmup: int) -> float:
    """Return the seconds of a session's kernels on the GPU, each one's median of some runs."""
    program = session.engine.program
    found = session.profile(feeds, runs, warmup).steps
    return sum(
        float(np.median(step.times_ns)) / 1e9
        for step in found[: len(program.steps)]
        if program.kernels[program.steps[step.index].kernel].module.startswith(_PREFIX)
    )


def _rates(
    precision: str, seconds: float, operations: float, refs: list[KernelRef],
    sizes: tuple[int, ...],
) -> dict[str, float | str]:  # fmt: skip
    """Return columns of a row: rates, and what was expected of the kernel with a tile."""
    rate = operations / seconds
    values: dict[str, float | str] = {f"{precision} TFLOP/s": rate / 1e12}
    gpu = machine(driver().title, driver().name.partition(":")[2])
    tiles = [tile for tile in map(tile_of, refs) if tile is not None]
    if gpu is not None and tiles:
        tile = tiles[0]
        peak = 2e9 * gpu.multiply_adds[tile.element] * gpu.multiprocessors * gpu.clock
        values[f"{precision} of the peak"] = rate / peak
        expected = fraction(tile, gpu, blocks_of(tile), *sizes)
        values[f"{precision} expected"] = expected
    return values


def product_tasks(setting: Setting) -> list[Task]:
    """Return products of float32 in sessions, and those of PyTorch."""
    sizes = [setting.size(n, 40) for n in (4096, 8192, 1024)][: setting.size(3, 1)]
    tasks = []
    for n in sizes:
        for precision in PRECISIONS:
            task = functools.partial(_product, n, precision, setting)
            tasks.append(Task(f"product {precision}, {n}", task))
        tasks.append(Task(f"torch product, {n}", functools.partial(_torch_product, n, setting)))
    return tasks


def _product(n: int, precision: str, setting: Setting) -> list[Row]:
    nodes = [node("MatMul", ["x", "w"], ["y"])]
    seconds, refs = on_gpu(nodes, {"x": drawn(n, n)}, {"w": drawn(n, n)}, precision, setting)
    values = _rates(precision, seconds, 2 * n**3, refs, (n,) * 3)
    return [Row("Products", str(n), values)]


def _torch_product(n: int, setting: Setting) -> list[Row]:
    torch, device = torch_device(setting.simulates)
    x = torch.tensor(drawn(n, n)).to(device)
    values: dict[str, float | str] = {}
    repeats = setting.size(20, 1)
    for name, is_fast, kind in (
        ("fp32", False, torch.float32),
        ("tf32", True, torch.float32),
        ("bf16", False, torch.bfloat16),
    ):
        allow_tf32(is_fast)
        a = x.to(kind)
        seconds = seconds_of(functools.partial(torch.matmul, a, a), device, repeats)
        values[f"torch {name} TFLOP/s"] = 2 * n**3 / seconds / 1e12
    allow_tf32(False)
    if device == "cuda":
        bytes_ = (x * 20).to(torch.int8)
        seconds = seconds_of(lambda: torch._int_mm(bytes_, bytes_.t()), device, repeats)
        values["torch int8 TFLOP/s"] = 2 * n**3 / seconds / 1e12
    return [Row("Products", str(n), values)]


_CONVOLUTIONS = {"64 of 64 x 56 x 56": (64, 64, 56), "64 of 256 x 14 x 14": (64, 256, 14)}


def convolution_tasks(setting: Setting) -> list[Task]:
    """Return convolutions of 3 x 3 in sessions, and those of PyTorch."""
    tasks = []
    shapes = {"tiny": (1, 32, 6)} if setting.simulates else _CONVOLUTIONS
    for name, shape in shapes.items():
        for precision in PRECISIONS:
            run = functools.partial(_convolution, name, shape, precision, setting)
            tasks.append(Task(f"convolution {precision}, {name}", run))
        run = functools.partial(_torch_convolution, name, shape, setting)
        tasks.append(Task(f"torch convolution, {name}", run))
    return tasks


def _convolution(
    name: str, shape: tuple[int, int, int], precision: str, setting: Setting
) -> list[Row]:
    images, channels, side = shape
    nodes = [node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])]
    weights = {"w": drawn(channels, channels, 3, 3)}
    feeds = {"x": drawn(images, channels, side, side)}
    seconds, refs = on_gpu(nodes, feeds, weights, precision, setting)
    sizes = (images * side * side, channels, 9 * channels, 9)
    operations = 2.0 * sizes[0] * sizes[1] * sizes[2]
    values = _rates(precision, seconds, operations, refs, sizes)
    return [Row("Convolutions", name, values)]


def _torch_convolution(name: str, shape: tuple[int, int, int], setting: Setting) -> list[Row]:
    torch, device = torch_device(setting.simulates)
    images, channels, side = shape
    last = torch.channels_last
    x = torch.tensor(drawn(images, channels, side, side)).to(device, memory_format=last)
    w = torch.tensor(drawn(channels, channels, 3, 3)).to(device, memory_format=last)
    operations, values = 18.0 * images * side**2 * channels**2, dict[str, float | str]()
    for label, is_fast in (("fp32", False), ("tf32", True)):
        allow_tf32(is_fast)
        call = functools.partial(torch.nn.functional.conv2d, x, w, padding=1)
        seconds = seconds_of(call, device, setting.size(20, 1))
        values[f"torch {label} TFLOP/s"] = operations / seconds / 1e12
    allow_tf32(False)
    return [Row("Convolutions", name, values)]


def attention_tasks(setting: Setting) -> list[Task]:
    """Return attention of 128 elements a head in sessions, and that of PyTorch."""
    tasks = []
    for length, heads in [(8, 2)] if setting.simulates else [(2048, 64), (8192, 16)]:
        name = f"{length} keys, {heads} heads"
        for kind in ("float32", "float16"):
            run = functools.partial(_attention, name, length, heads, kind, setting)
            tasks.append(Task(f"attention {kind}, {name}", run))
        run = functools.partial(_torch_attention, name, length, heads, setting)
        tasks.append(Task(f"torch attention, {name}", run))
    return tasks


def _attention(name: str, length: int, heads: int, kind: str, setting: Setting) -> list[Row]:
    head = setting.size(128, 8)
    feeds = {each: drawn(1, heads, length, head).astype(kind) for each in "qkv"}
    nodes = [node("Attention", ["q", "k", "v"], ["y"])]
    seconds, _ = on_gpu(nodes, feeds, {}, "fast", setting)
    values = {f"{kind} TFLOP/s": 4.0 * heads * length**2 * head / seconds / 1e12}
    return [Row("Attention", name, values)]


def _torch_attention(name: str, length: int, heads: int, setting: Setting) -> list[Row]:
    torch, device = torch_device(setting.simulates)
    head, values = setting.size(128, 8), dict[str, float | str]()
    for label, kind in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        x = torch.tensor(drawn(1, heads, length, head)).to(device, kind)
        call = functools.partial(torch.nn.functional.scaled_dot_product_attention, x, x, x)
        seconds = seconds_of(call, device, setting.size(10, 1))
        values[f"torch {label} TFLOP/s"] = 4.0 * heads * length**2 * head / seconds / 1e12
    return [Row("Attention", name, values)]


def _moving(setting: Setting) -> dict[str, tuple[Any, Arrays, Arrays, float, Any]]:
    """Return nodes, inputs, weights, bytes that have to move, and functions of PyTorch."""
    side = setting.size(8192, 8)
    x, count = drawn(side, side), side * side
    rows = {"i": np.random.default_rng(0).permutation(side)}
    ones = {"s": np.ones(side, np.float32), "b": np.ones(side, np.float32)}
    last, first = {"a": np.array([1])}, {"a": np.array([0])}
    one, two = {"x": x}, {"x": x, "z": x + 1}
    return {
        "Relu": (node("Relu", ["x"], ["y"]), one, {}, 8 * count, lambda t, x: t.relu(x)),
        "Add": (node("Add", ["x", "z"], ["y"]), two, {}, 12 * count, lambda t, x: x + x),
        "Gelu": (node("Gelu", ["x"], ["y"]), one, {}, 8 * count,
                 lambda t, x: t.nn.functional.gelu(x)),
        "LayerNormalization": (node("LayerNormalization", ["x", "s", "b"], ["y"]), one, ones,
                               8 * count,
                               lambda t, x: t.nn.functional.layer_norm(x, x.shape[1:])),
        "Softmax": (node("Softmax", ["x"], ["y"]), one, {}, 8 * count, lambda t, x: x.softmax(-1)),
        "ReduceSum, last axis": (node("ReduceSum", ["x", "a"], ["y"]), one, last, 4 * count,
                                 lambda t, x: x.sum(1)),
        "ReduceSum, first axis": (node("ReduceSum", ["x", "a"], ["y"]), one, first, 4 * count,
                                  lambda t, x: x.sum(0)),
        "Transpose": (node("Transpose", ["x"], ["y"]), one, {}, 8 * count,
                      lambda t, x: x.t().contiguous()),
        "Gather of rows": (node("Gather", ["x", "i"], ["y"]), one, rows, 8 * count,
                           lambda t, x: x[t.randperm(len(x), device=x.device)]),
        "Concat": (node("Concat", ["x", "z"], ["y"], axis=1), two, {}, 16 * count,
                   lambda t, x: t.cat([x, x], 1)),
    }  # fmt: skip


def bandwidth_tasks(setting: Setting) -> list[Task]:
    """Return a copy, and operators that are bound by memory, ours and PyTorch's."""
    tasks = [Task("copy", functools.partial(_copy, setting))]
    for name in list(_moving(Setting(True)))[: setting.size(99, 2)]:
        tasks.append(Task(name, functools.partial(_move, name, setting)))
        tasks.append(Task(f"torch {name}", functools.partial(_torch_move, name, setting)))
    return tasks


def _copy(setting: Setting) -> list[Row]:
    size, own = setting.size(1 << 30, 1 << 10), driver()
    target, source = own.allocate(size), own.allocate(size)
    repeats, times = setting.size(20, 1), []
    for _ in range(4):
        start = own.mark()
        for _ in range(repeats):
            own.move(target, source, size)
        times.append(own.nanoseconds(start, own.mark()) / 1e9 / repeats)
    for address in (target, source):
        own.free(address)
    return [Row("Bandwidth", "copy", {"GB/s": 2 * size / min(times) / 1e9})]


def _move(name: str, setting: Setting) -> list[Row]:
    one, feeds, weights, size, _ = _moving(setting)[name]
    seconds, refs = on_gpu([one], feeds, weights, "fp32", setting)
    values: dict[str, float | str] = {"GB/s": size / seconds / 1e9}
    gpu = machine(driver().title, driver().name.partition(":")[2])
    if gpu is not None:
        values["expected of a copy"] = "" if setting.simulates else _expected(refs[0], gpu)
    return [Row("Bandwidth", name, values)]


def _expected(ref: KernelRef, gpu: Any) -> float:
    kernel = find(ref)
    try:
        done = assemble_plain(kernel, gpu.target[:5])
        return bandwidth_fraction(done.ptx, gpu, done.registers, done.shared)
    except NoCompiler:
        return bandwidth_fraction(plain_text(kernel), gpu, _REGISTERS)


def _torch_move(name: str, setting: Setting) -> list[Row]:
    torch, device = torch_device(setting.simulates)
    _, feeds, _, size, call = _moving(setting)[name]
    x = torch.tensor(feeds["x"]).to(device)
    seconds = seconds_of(functools.partial(call, torch, x), device, setting.size(20, 1))
    return [Row("Bandwidth", name, {"torch GB/s": size / seconds / 1e9})]
