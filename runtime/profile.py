"""Profile of runs: timings of a program's steps, as ``Session.profile`` gives them."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .devices.copied import Copied
from .executor import Context
from .program import Program


@dataclass
class StepProfile:
    """One step: what it is and how long it took.

    Attributes
    ----------
    outputs, shapes
        Names of the values it writes, and their shapes in these runs.
    times_ns
        One duration a run, in nanoseconds.
    precision
        That of the session, or ``"bf16"`` where a note at a node asks for that.
    flops, bytes
        Floating-point operations and the least traffic of the bound sizes.
    """

    index: int
    name: str
    op_type: str
    nodes: tuple[str, ...]
    outputs: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    kernel: str
    layout: str
    precision: str
    times_ns: np.ndarray
    flops: int
    bytes: int


@dataclass(frozen=True)
class BufferUse:
    """Part of the working memory: what lies there, where, and from which step to which.

    Attributes
    ----------
    name : str
        Of the first value that lies there; empty for memory that a step uses for itself.
    offset, size : int
        Bytes.
    first, last : int
        Steps.
    """

    name: str
    offset: int
    size: int
    first: int
    last: int


@dataclass
class RunProfile:
    """Steps and whole runs; ``total_ns`` holds one duration a run, of a session's device."""

    steps: list[StepProfile]
    total_ns: np.ndarray
    threads: int
    memory: dict[str, int] = field(default_factory=dict)
    device: str = "cpu"
    buffers: list[BufferUse] = field(default_factory=list)


def profile(context: Context, arrays: Sequence[Any], runs: int, warmup: int) -> RunProfile:
    """Time a bound context; see ``Session.profile``."""
    ticks = np.zeros((runs, len(context.program.steps)), np.int64)
    hosts = np.zeros((runs, len(context.program.host_steps)), np.int64)
    totals = np.zeros(runs, np.int64)
    copies: list[list[Copied]] = []
    for _ in range(warmup):
        context.run(arrays)
    for run in range(runs):
        _, totals[run] = _timed(context, arrays, ticks[run])
        hosts[run] = context.host_ns
        copies.append(context.copies)
    return _profile(context, ticks, hosts, copies, totals)


def run_timed(context: Context, arrays: Sequence[Any]) -> tuple[list[Any], RunProfile]:
    """Run a bound context once; returns its results and the times of this run."""
    ticks = np.zeros((1, len(context.program.steps)), np.int64)
    results, total = _timed(context, arrays, ticks[0])
    hosts = context.host_ns[None].copy()
    return results, _profile(context, ticks, hosts, [context.copies], np.array([total]))


def _timed(context: Context, arrays: Sequence[Any], ticks: np.ndarray) -> tuple[list[Any], int]:
    start = time.perf_counter_ns()
    results = context.run(arrays, ticks)
    return results, time.perf_counter_ns() - start


def _profile(
    context: Context,
    ticks: np.ndarray,
    hosts: np.ndarray,
    copies: Sequence[Sequence[Copied]],
    totals: np.ndarray,
) -> RunProfile:
    program = context.program
    durations = ticks * context.nanoseconds_per_tick
    steps = _native_steps(context, durations) + _host_steps(context, hosts)
    steps += _copies(context, copies, len(steps))
    memory = {"arena_bytes": context.binding.arena_bytes, "weight_bytes": program.weight_bytes}
    device = program.metadata.get("device", "cpu")
    return RunProfile(steps, totals, context.threads, memory, device, _buffers(context))


def _buffers(context: Context) -> list[BufferUse]:
    names = _names_of_buffers(context.program)
    return [
        BufferUse(names.get(buffer, ""), *place)
        for buffer, *place in context.binding.planned_buffers()
    ]


def _names_of_buffers(program: Program) -> dict[int, str]:
    """Return for each buffer the name of the first value that lies there."""
    names: dict[int, str] = {}
    for tensor in program.tensors:
        names.setdefault(tensor.buffer, tensor.name)
    return names


def _native_steps(context: Context, durations: np.ndarray) -> list[StepProfile]:
    program, binding = context.program, context.binding
    rounded, usual = set(program.metadata["bfloats"]), program.metadata["precision"]
    return [
        StepProfile(
            index,
            step.name,
            step.op_type,
            tuple(step.nodes),
            tuple(program.tensors[t].name for t in step.outputs),
            tuple(binding.shape(t) for t in step.outputs),
            str(program.kernels[step.kernel]),
            step.layout,
            usual if rounded.isdisjoint(step.nodes) else "bf16",
            durations[:, index],
            binding.value(step.flops),
            binding.value(step.bytes),
        )
        for index, step in enumerate(program.steps)
    ]


def _host_steps(context: Context, times: np.ndarray) -> list[StepProfile]:
    program = context.program
    return [
        StepProfile(
            len(program.steps) + index,
            host.name,
            host.op_type,
            (host.name,),
            tuple(program.tensors[t].name for t in host.outputs if t >= 0),
            tuple(context.binding.shape(t) for t in host.outputs if t >= 0),
            "onnx.reference",
            "host",
            program.metadata["precision"],
            times[:, index],
            0,
            0,
        )
        for index, host in enumerate(program.host_steps)
    ]


def _copies(context: Context, copies: Sequence[Sequence[Copied]], first: int) -> list[StepProfile]:
    """Copies to and from another device, which are the same in each run of a binding."""
    names = _names_of_buffers(context.program)
    return [
        StepProfile(
            first + index,
            names[each[0].buffer],
            each[0].what,
            (),
            (names[each[0].buffer],),
            ((each[0].size,),),
            "copy",
            "plain",
            "",
            np.array([copied.nanoseconds for copied in each], np.int64),
            0,
            each[0].size,
        )
        for index, each in enumerate(zip(*copies, strict=False))
    ]
