"""Options that are numbers take no truth values, and say what they must be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import sardonyx
from sardonyx.errors import InvalidArgument
from sardonyx.registration import operator
from sardonyx.tools.calibration_images import ImageOptions
from sardonyx.tools.generate import Sampling

MODEL = onnx.parser.parse_model(
    '<ir_version: 10, opset_import: ["" : 21]> g (float[N] past, float[N] x) '
    "=> (float[M] present) { present = Concat<axis=0>(past, x) }"
)
X = np.ones(2, np.float32)


def session(**options: Any) -> sardonyx.Session:
    return sardonyx.Session(MODEL, threads=options.pop("threads", 1), **options)


def quantized(**options: Any) -> Any:
    return sardonyx.quantize(MODEL, mode=options.pop("mode", "dynamic"), **options)


OPTIONS: dict[str, Callable[[Any], Any]] = {
    "threads": lambda value: session(threads=value),
    "fold_limit": lambda value: session(fold_limit=value),
    "max_iterations": lambda value: session(max_iterations=value),
    "tune": lambda value: session(tune={"N": value}),
    "capacity": lambda value: session().stateful({"present": "past"}, value),
    "runs": lambda value: session().profile({"past": X, "x": X}, runs=value),
    "warmup": lambda value: session().profile({"past": X, "x": X}, runs=1, warmup=value),
    "version": lambda value: operator("my.domain", "Numbered", version=value),
    "block": lambda value: quantized(block=value, mode="weights", bits=4),
    "percentile": lambda value: quantized(percentile=value),
    "max_drop": lambda value: quantized(max_drop=value),
    "temperature": lambda value: Sampling(temperature=value),
    "top_k": lambda value: Sampling(top_k=value),
    "top_p": lambda value: Sampling(top_p=value),
    "seed": lambda value: Sampling(seed=value),
    "resize": lambda value: ImageOptions(resize=(value, 32)),
}


@pytest.mark.parametrize("value", [True, "3", -1, float("nan")], ids=str)
@pytest.mark.parametrize("option", OPTIONS)
def test_what_is_no_number_is_refused(option: str, value: Any) -> None:
    with pytest.raises(InvalidArgument, match=option):
        OPTIONS[option](value)


@pytest.mark.parametrize("value", [True, "3", -1, 2.0], ids=str)
def test_the_optimizer_takes_a_number_of_bytes(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="fold_limit must be a number of bytes"):
        sardonyx.optimize(sardonyx.load(MODEL), fold_limit=value)


def test_numbers_of_numpy_are_numbers() -> None:
    made = session(threads=np.int64(1), max_iterations=np.int32(5))
    assert np.array_equal(made.run(None, {"past": X, "x": X})[0], np.ones(4, np.float32))
