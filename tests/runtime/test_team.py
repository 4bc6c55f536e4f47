"""Teams: memory that outlives them, and right results wherever their threads run."""

from __future__ import annotations

import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.runtime.team import Team


def test_a_team_that_ends_leaves_memory_that_is_used_again_alone():
    for _ in range(20):
        team = Team(4)
        time.sleep(0.002)  # the workers sleep by now
        team.stop()
        del team
        later = [np.full(72, 7, np.int64) for _ in range(8)]
        time.sleep(0.002)
        assert all((array == 7).all() for array in later)


def convolutions() -> bytes:
    """Model of steps long enough to be shared, with short ones between."""
    rng = np.random.default_rng(0)
    nodes, weights = [], []
    for i in range(6):
        kernel = rng.standard_normal((16, 16, 3, 3), np.float32) / 12
        weights.append(onnx.numpy_helper.from_array(kernel, f"w{i}"))
        nodes.append(oh.make_node("Conv", [f"x{i}", f"w{i}"], [f"c{i}"], pads=[1] * 4))
        nodes.append(oh.make_node("Softmax", [f"c{i}"], [f"x{i + 1}"], axis=1 + i % 3))
    graph = oh.make_graph(
        nodes,
        "convolutions",
        [oh.make_tensor_value_info("x0", 1, [1, 16, 24, 24])],
        [onnx.ValueInfoProto(name="x6")],
        weights,
    )
    opsets = [oh.make_opsetid("", 22)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads cannot be pinned here")
def test_results_are_right_while_callers_compete_and_move_between_processors():
    model = convolutions()
    x = np.random.default_rng(1).standard_normal((1, 16, 24, 24), np.float32)
    (expected,) = sardonyx.Session(model, threads=1).run(None, {"x0": x})
    sessions = [sardonyx.Session(model, threads=threads) for threads in (2, 3, 5)]
    processors = os.sched_getaffinity(0)
    end = time.monotonic() + 2

    def call(seed: int) -> int:
        chance, wrong = random.Random(seed), 0
        while time.monotonic() < end:
            (y,) = chance.choice(sessions).run(None, {"x0": x})
            wrong += not np.array_equal(y, expected)
            if chance.random() < 0.05:
                time.sleep(chance.random() * 0.002)  # workers may sleep meanwhile
            if chance.random() < 0.05:
                few = {chance.choice(sorted(processors))}
                os.sched_setaffinity(0, few if chance.random() < 0.5 else processors)
        os.sched_setaffinity(0, processors)
        return wrong

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(call, range(4))) == [0] * 4
