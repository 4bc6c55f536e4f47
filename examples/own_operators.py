"""Operators of your own: one of elements, one with a shape rule on arrays, and one in plain Python.

    python examples/own_operators.py

They are registered before a model that uses them is opened, and then belong to it like others:
a session runs them, `optimize` keeps them, and the profile shows them. Needs nothing but sardonyx.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx.parser
import sardonyx
from numba import njit
from sardonyx import TensorType
from sardonyx.tools import profile, report, text

MODEL = """<ir_version: 10, opset_import: ["" : 21, "my.domain" : 1]>
scores (float[rows, columns] x) => (float[rows, window] smooth, string[rows] words) {
    capped = my.domain.Softcap<cap = 5.0>(x)
    smooth = my.domain.MovingMean<width = 3>(capped)
    words = my.domain.Describe(smooth)
}"""


@sardonyx.operator("my.domain", "Softcap")
def softcap(x, *, cap=30.0):  # type: ignore[no-untyped-def]
    """Compute one element: numba, or vector code, makes a kernel of it."""
    return cap * math.tanh(x / cap)


def _shape_of_means(x: TensorType, width: int = 1) -> TensorType:
    return TensorType(x.dtype, (x.shape[0], x.shape[1] - (width - 1)))


@sardonyx.operator("my.domain", "MovingMean", shape=_shape_of_means)
@njit
def moving_mean(x, *, width=1):  # type: ignore[no-untyped-def]
    """Compute arrays from arrays; numba compiles the loops."""
    y = np.empty((x.shape[0], x.shape[1] - width + 1), x.dtype)
    for row in range(y.shape[0]):
        for column in range(y.shape[1]):
            y[row, column] = x[row, column : column + width].mean()
    return y


@sardonyx.operator("my.domain", "Describe", shape=lambda x: TensorType(object, x.shape[:1]))
def describe(x: np.ndarray) -> np.ndarray:
    """Compute anything, in Python: strings, for example."""
    return np.array(["high" if row.mean() > 0 else "low" for row in x], object)


@dataclass(frozen=True)
class Outcome:
    """Results of a run, and the steps that the profile shows."""

    smooth: np.ndarray
    words: list[str]
    steps: list[str]


def without_its_operator() -> str:
    """Return what is said of an operator that nobody has registered."""
    model: Any = onnx.parser.parse_model(MODEL.replace("Softcap", "Hardcap"))
    try:
        sardonyx.Session(model)
    except sardonyx.UnsupportedModel as error:
        return str(error)
    raise AssertionError("there is no such operator")


def main(argv: Sequence[str] | None = None) -> Outcome:
    """Run, optimize and profile a model of three operators."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4)
    arguments = parser.parse_args(argv)
    model: Any = onnx.parser.parse_model(MODEL)
    x = np.random.default_rng(0).normal(0, 9, (arguments.rows, 16)).astype(np.float32)
    session = sardonyx.Session(sardonyx.optimize(sardonyx.load(model)))
    smooth, words = session.run(None, {"x": x})
    print(f"{smooth.shape}: {', '.join(words)}")
    measured = profile.profile(session, {"x": x}, model="scores", runs=3, with_reference=False)
    report.print_profile(measured, text.console())
    print(without_its_operator())
    return Outcome(smooth, list(words), [step.op_type for step in measured.steps])


if __name__ == "__main__":
    main()
