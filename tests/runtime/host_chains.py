"""Random chains of operators on sequences, optional values and strings: ``python -m``.

Without more than a drawn number the chain is the same everywhere. As a program this compares the
speed with that of onnx.reference, chain by chain.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import sardonyx
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

KINDS = ("sequences", "optionals", "strings", "mixed")
SIZES = {"tiny": (3, 4), "larger": (64, 512)}
WORDS = np.array(["a", "to be", "Or", "not x", "be", "x y z"], object)


@dataclass
class Chain:
    """A model that grows by one operator at a time, each on the result of one before."""

    rng: np.random.Generator
    shape: tuple[int, ...]
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, np.ndarray] = field(default_factory=dict)
    values: dict[str, list[str]] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)

    def any(self, kind: str) -> str:
        """Name of a value of a kind, more often a late one."""
        names = self.values[kind]
        return names[min(int(self.rng.integers(2 * len(names))), len(names) - 1)]

    def add(self, op_type: str, inputs: list[str], kind: str, **attributes: Any) -> str:
        """Add an operator; returns its result."""
        name = f"{kind}{len(self.nodes)}"
        self.nodes.append(oh.make_node(op_type, inputs, [name], **attributes))
        self.values.setdefault(kind, []).append(name)
        return name

    def constant(self, value: Any) -> str:
        """Name of a constant."""
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(value)
        return name

    def position(self, length: int) -> str:
        """Name of a position in a sequence, of either sign."""
        return self.constant(np.int64(self.rng.integers(-length, length)))


Step = Callable[[Chain], None]


def _construct(chain: Chain) -> None:
    count = int(chain.rng.integers(1, 4))
    name = chain.add("SequenceConstruct", [chain.any("x") for _ in range(count)], "s")
    chain.lengths[name] = count


def _insert(chain: Chain) -> None:
    old = chain.any("s")
    inputs = [old, chain.any("x")]
    if chain.rng.random() < 0.5:
        inputs.append(chain.position(chain.lengths[old]))
    name = chain.add("SequenceInsert", inputs, "s")
    chain.lengths[name] = chain.lengths[old] + 1


def _erase(chain: Chain) -> None:
    old = chain.any("s")
    if chain.lengths[old] == 1:
        return _insert(chain)
    inputs = [old]
    if chain.rng.random() < 0.5:
        inputs.append(chain.position(chain.lengths[old]))
    chain.lengths[chain.add("SequenceErase", inputs, "s")] = chain.lengths[old] - 1
    return None


def _at(chain: Chain) -> None:
    old = chain.any("s")
    chain.add("SequenceAt", [old, chain.position(chain.lengths[old])], "x")


def _length(chain: Chain) -> None:
    chain.add("SequenceLength", [chain.any("s")], "n")


def _split(chain: Chain) -> None:
    name = chain.add("SplitToSequence", [chain.any("x"), chain.constant(np.int64(1))], "p", axis=0)
    chain.lengths[name] = chain.shape[0]
    chain.add("ConcatFromSequence", [name], "x", axis=0)


def _stack(chain: Chain) -> None:
    chain.add("ConcatFromSequence", [chain.any("s")], "y", axis=0, new_axis=1)


def _optional(chain: Chain) -> None:
    kind = "s" if "s" in chain.values and chain.rng.random() < 0.5 else "x"
    given = chain.any(kind)
    held = chain.add("Optional", [given], "o")
    if chain.rng.random() < 0.5:
        chain.add("OptionalHasElement", [held], "h")
    name = chain.add("OptionalGetElement", [held], kind)
    chain.lengths[name] = chain.lengths.get(given, 0)


def _has(chain: Chain) -> None:
    chain.add("OptionalHasElement", [chain.add("Optional", [chain.any("x")], "o")], "h")


def _negated(chain: Chain) -> None:
    chain.add(str(chain.rng.choice(["Neg", "Abs", "Tanh"])), [chain.any("x")], "x")


def _sum(chain: Chain) -> None:
    chain.add("Add", [chain.any("x"), chain.any("x")], "x")


def _join(chain: Chain) -> None:
    chain.add("StringConcat", [chain.any("t"), chain.any("t")], "t")


def _suffix(chain: Chain) -> None:
    chain.add("StringConcat", [chain.any("t"), chain.constant(np.array(["!"], object))], "t")


def _equal(chain: Chain) -> None:
    chain.add("Equal", [chain.any("t"), chain.any("t")], "h")


def _turn(chain: Chain) -> None:
    text = chain.add("Transpose", [chain.any("t")], "turned", perm=[1, 0])
    chain.add("Transpose", [text], "t", perm=[1, 0])


def _flat(chain: Chain) -> None:
    flat = chain.add("Reshape", [chain.any("t"), chain.constant(np.array([-1]))], "flat")
    low = chain.add("StringNormalizer", [flat], "low", case_change_action="LOWER")
    chain.add("Reshape", [low, chain.constant(np.array(chain.shape))], "t")


def _match(chain: Chain) -> None:
    chain.add("RegexFullMatch", [chain.any("t")], "h", pattern=r"[a-z]*")


def _gather(chain: Chain) -> None:
    rows = chain.rng.integers(0, chain.shape[0], chain.shape[0])
    chain.add("Gather", [chain.any("t"), chain.constant(rows)], "t", axis=0)


def _parts(chain: Chain) -> None:
    name = f"parts{len(chain.nodes)}"
    node = oh.make_node("StringSplit", [chain.any("t")], [name, f"{name}.n"], delimiter=" ")
    chain.nodes.append(node)
    chain.values.setdefault("q", []).append(name)
    chain.values.setdefault("n", []).append(f"{name}.n")


def _texts(chain: Chain) -> None:
    name = chain.add("SequenceConstruct", [chain.any("t"), chain.any("t")], "ts")
    chain.add("SequenceAt", [name, chain.position(2)], "t")


STEPS: dict[str, list[Step]] = {
    "sequences": [_insert, _insert, _erase, _at, _length, _split, _stack, _construct],
    "optionals": [_optional, _optional, _has],
    "strings": [_join, _suffix, _equal, _turn, _flat, _match, _gather, _parts, _texts],
}
STEPS["mixed"] = [*STEPS["sequences"], *STEPS["optionals"], _negated, _negated, _sum, _sum]


def drawn(seed: int, kind: str, size: str) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """Draw a chain of 1 to 12 operators of a kind; returns the model and its inputs."""
    rng = np.random.default_rng(seed)
    shape = SIZES[size]
    chain = Chain(rng, shape)
    is_text = kind == "strings"
    if is_text:
        feeds = {name: rng.choice(WORDS, (3, 4)) for name in "ab"}
        chain.shape = (3, 4)
    else:
        feeds = {name: rng.standard_normal(shape).astype(np.float32) for name in "ab"}
    chain.values["t" if is_text else "x"] = ["a", "b"]
    count = int(rng.integers(1, 13))
    if kind in ("sequences", "mixed"):
        _construct(chain)
    while len(chain.nodes) < count:
        steps = STEPS[kind]
        steps[int(rng.integers(len(steps)))](chain)
    used = {name for node in chain.nodes for name in node.input}
    outputs = [name for node in chain.nodes for name in node.output if name not in used]
    outputs += [chain.nodes[-1].output[0]] * (not outputs)
    element = TensorProto.STRING if is_text else TensorProto.FLOAT
    graph = oh.make_graph(
        chain.nodes,
        "chain",
        [oh.make_tensor_value_info(name, element, chain.shape) for name in feeds],
        [onnx.ValueInfoProto(name=name) for name in outputs],
        [onnx.numpy_helper.from_array(value, name) for name, value in chain.constants.items()],
    )
    opsets = [oh.make_opsetid("", 21)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=10), feeds


def is_run(other: ReferenceEvaluator, feeds: dict[str, np.ndarray]) -> bool:
    """Tell whether onnx.reference can run a chain: not with an optional sequence, for instance."""
    try:
        other.run(None, feeds)
    except Exception:
        return False
    return True


def least(runs: list[Callable[[], Any]], times: int = 40) -> list[float]:
    """Least time of each function in microseconds, in turns."""
    found = [float("inf")] * len(runs)
    for _ in range(times):
        for index, run in enumerate(runs):
            for _ in range(3):
                begin = time.thread_time_ns()
                run()
                found[index] = min(found[index], (time.thread_time_ns() - begin) / 1e3)
    return found


def main(count: int) -> None:
    """Print ratios of times for drawn chains."""
    for kind in KINDS:
        for size in SIZES if kind != "strings" else ("tiny",):
            rows = []
            for seed in range(count):
                model, feeds = drawn(seed, kind, size)
                session, other = sardonyx.Session(model, threads=1), ReferenceEvaluator(model)
                if not is_run(other, feeds):
                    continue
                runs = [partial(engine.run, None, feeds) for engine in (session, other)]
                ours, theirs = least(runs)
                rows.append((theirs / ours, ours, theirs, seed, len(model.graph.node)))
            rows.sort()
            mean = statistics.geometric_mean(row[0] for row in rows)
            slower = sum(row[0] < 1 for row in rows)
            print(f"{kind} {size}: {mean:.2f} x onnx.reference, {slower} of {len(rows)} slower")
            for ratio, ours, theirs, seed, nodes in rows[:4]:
                print(f"  {ratio:.2f}: seed {seed}, {nodes} nodes, {ours:.0f} us, {theirs:.0f} us")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 30)
