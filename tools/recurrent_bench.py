"""Benchmark of recurrent layers, and of stacks of two: sardonyx, onnxruntime and OpenVINO.

``python -m sardonyx.tools.recurrent_bench --threads 1`` prints a line for each case and the
geometric means of the ratios. Layers have random weights and as many inputs as hidden units.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import onnx
import typer
from onnx import helper, numpy_helper

from .bench import Race, race
from .engines import installed

KINDS = ("LSTM", "GRU", "BiLSTM", "LSTM2", "BiLSTM2")
_GATES = {"LSTM": 4, "GRU": 3}
_OPSET, _IR_VERSION = 17, 8


@dataclass(frozen=True)
class Case:
    """A layer, or a stack of two, at certain sizes.

    Attributes
    ----------
    kind : str
        Of `KINDS`: ``Bi`` stands for both directions, ``2`` for two layers.
    units, steps, batch : int
        Hidden units of a direction, steps of a sequence, number of sequences.
    """

    kind: str
    units: int
    steps: int
    batch: int

    @property
    def operator(self) -> str:
        """ONNX's name of a layer."""
        return self.kind.removeprefix("Bi").rstrip("2")

    @property
    def directions(self) -> int:
        """Directions of a layer: 1 or 2."""
        return 2 if self.kind.startswith("Bi") else 1

    @property
    def layers(self) -> int:
        """Layers of the stack: 1 or 2."""
        return 2 if self.kind.endswith("2") else 1

    @property
    def operations(self) -> int:
        """Multiplications and additions of the products of a run."""
        gates = _GATES[self.operator] * self.units
        inputs = [self.units] + [self.directions * self.units] * (self.layers - 1)
        words = sum(gates * (size + self.units) for size in inputs)
        return 2 * words * self.directions * self.steps * self.batch

    def __str__(self) -> str:
        return f"{self.kind} {self.units}, {self.steps}x{self.batch}"


def network(case: Case, seed: int = 0) -> onnx.ModelProto:
    """Return a model of a case: inputs (steps, batch, units), outputs (steps, batch, channels)."""
    rng = np.random.default_rng(seed)
    nodes, constants = [], []
    name, size = "x", case.units
    gates, directions = _GATES[case.operator] * case.units, case.directions
    for layer in range(case.layers):
        shapes = {"W": (gates, size), "R": (gates, case.units), "B": (2 * gates,)}
        for key, shape in shapes.items():
            values = rng.uniform(-1, 1, (directions, *shape)) / np.sqrt(case.units)
            constants.append(numpy_helper.from_array(values.astype(np.float32), f"{key}{layer}"))
        direction: dict[str, Any] = {"direction": "bidirectional"} if directions == 2 else {}
        if case.operator == "GRU":
            direction["linear_before_reset"] = 1
        nodes += [
            helper.make_node(case.operator, [name, *(f"{key}{layer}" for key in shapes)],
                             [f"all{layer}"], hidden_size=case.units, **direction),
            helper.make_node("Transpose", [f"all{layer}"], [f"last{layer}"], perm=[0, 2, 1, 3]),
            helper.make_node("Reshape", [f"last{layer}", "shape"], [f"y{layer}"]),
        ]  # fmt: skip
        name, size = f"y{layer}", directions * case.units
    constants.append(numpy_helper.from_array(np.array([0, 0, -1]), "shape"))
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info("x", kind, (case.steps, case.batch, case.units))],
        [helper.make_tensor_value_info(name, kind, (case.steps, case.batch, size))],
        constants,
    )
    opsets = [helper.make_opsetid("", _OPSET)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)


def measure(case: Case, threads: int, seconds: float) -> Race:
    """Let all engines that are installed run a case."""
    feeds = {
        "x": np.random.default_rng(1)
        .standard_normal((case.steps, case.batch, case.units))
        .astype(np.float32)
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        onnx.save(network(case), str(path))
        return race(dict.fromkeys(installed(), path), feeds, threads, seconds)


def cases(
    kinds: list[str], units: list[int], steps: list[int], batches: list[int], limit: float
) -> Iterator[Case]:
    """Yield all cases of at most ``limit`` 1e9 operations."""
    for parts in itertools.product(kinds, units, steps, batches):
        case = Case(*parts)
        if case.operations <= 1e9 * limit:
            yield case


def main(
    kinds: str = ",".join(KINDS),
    units: str = "64,128,256,512,1024",
    steps: str = "1,32,512",
    batches: str = "1,16",
    threads: int = 1,
    seconds: float = 0.4,
    limit: Annotated[float, typer.Option(help="1e9 operations of a run, at most")] = 40.0,
) -> None:
    """Print times of all engines, how many times as fast sardonyx is, and where it is slower."""
    sizes, lengths, counts = (
        [int(word) for word in text.split(",")] for text in (units, steps, batches)
    )
    found: list[tuple[Case, Race]] = []
    for case in cases(kinds.split(","), sizes, lengths, counts, limit):
        found.append((case, measure(case, threads, seconds)))
        print(f"{case!s:22} {found[-1][1]}", flush=True)
    for quantile in (0.5, Race.LOW) if found else ():
        _summarize({str(case): race.ratios(quantile) for case, race in found}, quantile)


def _summarize(ratios: dict[str, dict[str, float]], quantile: float) -> None:
    """Print geometric means of ratios, and the cases where another engine is faster."""
    print(f"{len(ratios)} cases, quantile {quantile} of times:")
    least = {case: min(row.values()) for case, row in ratios.items()}
    columns: dict[str, list[float]] = {"the fastest": list(least.values())}
    for row in ratios.values():
        for name, ratio in row.items():
            columns.setdefault(name, []).append(ratio)
    for name, column in columns.items():
        print(f"geometric mean over {name}: {np.exp(np.log(column).mean()):.2f}")
    slower = [f"{case} {ratio:.2f}" for case, ratio in least.items() if ratio < 1]
    print(f"slower than the fastest: {', '.join(slower) or 'none'}")


if __name__ == "__main__":
    typer.run(main)
