"""Trials of small steps: what one takes, and what the exchange between two threads that share it.

Where the team shares a step of t nanoseconds that takes no exchange, it takes t / 2. The rest of
what a chain of small steps takes, by two threads, is the exchange: shares that are dealt out and
taken, their ends, and cache lines that the other thread has written. A sleeping thread comes later
by what waking it takes.
"""

from __future__ import annotations

import itertools
import time
from typing import NamedTuple

import numpy as np
from onnx import TensorProto, helper

from ..kernels.machine_costs import costs_given, machine_costs
from ..runtime.engine import Engine
from ..runtime.options import checked_options
from ..runtime.processors import available_processors
from ..runtime.program_cache import open_program

_STEPS = 64
_SHAPE, _PIXEL = (1, 16, 8, 8), (1, 16, 1, 1)
"""Of a step's images: 4 KiB, of whose rows each thread has a half, and next to nothing."""
_TURNS, _RUNS, _ATTEMPTS = 20, 10, 3
_LOW = 0.1
"""Quantile of a step's times: what else the machine does only adds to them."""
_SPREAD = 0.5
"""What the middle half of the times by two threads may differ by, relative to their median."""
_ASLEEP_S = 0.005
"""A pause after which the other thread sleeps."""
_LEAST_NS, _MOST_NS = 500, 16_000


class Sharing(NamedTuple):
    """What sharing a step takes, in nanoseconds.

    Attributes
    ----------
    exchange
        Beyond a half of the step's time by one thread.
    waking
        Later than usual that a run ends whose second thread slept.
    """

    exchange: float
    waking: float

    @property
    def alone_ns(self) -> int:
        """What a step has to take for its half to be worth the exchange."""
        return int(min(max(2 * self.exchange, _LEAST_NS), _MOST_NS))


def sharing_trial() -> Sharing | None:
    """Measure steps that two threads share.

    None where there is one processor, and where other work that takes one disturbs all attempts.
    """
    if available_processors() < 2:
        return None
    alone, shared = _engine(1, machine_costs().sharing.alone_ns), _engine(2, 0)
    for _ in range(_ATTEMPTS):
        times = _times(alone, shared)
        one, two, woken = (float(np.median(own)) for own in times)
        if np.subtract(*np.quantile(times[1], (0.75, 0.25))) <= _SPREAD * two:
            return Sharing(max(two - one / 2, 0.0) / _STEPS, max(woken - two, 0.0))
    return None


def _times(alone: Engine, shared: Engine) -> tuple[list[int], ...]:
    """Return times by one thread, by two, and by two of which one slept."""
    times: tuple[list[int], ...] = ([], [], [])
    for _ in range(_TURNS):
        _add_runs(alone, _SHAPE, times[0])
        time.sleep(_ASLEEP_S)
        times[2].append(_timed(shared, _SHAPE))
        _add_runs(shared, _SHAPE, times[1])
    return times


def step_ns() -> float:
    """Measure a step of one thread that computes next to nothing."""
    alone, times = _engine(1, machine_costs().sharing.alone_ns, _PIXEL), list[int]()
    for _ in range(_TURNS):
        _add_runs(alone, _PIXEL, times)
    return float(np.quantile(times, _LOW)) / _STEPS


def _engine(threads: int, alone_ns: int, shape: tuple[int, ...] = _SHAPE) -> Engine:
    _, options = checked_options(threads, "fp32", "all")
    costs = machine_costs()
    sharing = costs.sharing._replace(alone_ns=alone_ns)
    with costs_given(costs._replace(sharing=sharing)):
        engine = Engine(open_program(_chain(shape), options), threads)
        engine.run({"x": np.ones(shape, np.float32)})
    return engine


def _add_runs(engine: Engine, shape: tuple[int, ...], times: list[int]) -> None:
    _timed(engine, shape)
    times += [_timed(engine, shape) for _ in range(_RUNS)]


def _timed(engine: Engine, shape: tuple[int, ...]) -> int:
    x = np.ones(shape, np.float32)
    start = time.perf_counter_ns()
    engine.run({"x": x})
    return time.perf_counter_ns() - start


def _chain(shape: tuple[int, ...]) -> bytes:
    """Return a model of steps that do not become one: maxima of neighbours."""
    names = ["x", *(f"y{i}" for i in range(_STEPS))]
    nodes = [
        helper.make_node("MaxPool", [x], [y], kernel_shape=[3, 3], pads=[1] * 4)
        for x, y in itertools.pairwise(names)
    ]
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name in (names[0], names[-1])
    )
    graph = helper.make_graph(nodes, "steps", [x], [y])
    opset = helper.make_opsetid("", 21)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()
