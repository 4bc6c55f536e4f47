"""Tasks that compare results: cases of kernels, onnx's conformance suite, and models."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ...difference import largest_error
from ...runtime.session import Session
from .. import bench, zoo
from ..cuda_cases.cases import MODULES, cases_of
from ..demo import DATA
from .tasks import Setting, Skipped, Task, drawn

_ERROR = {"fp32": 1e-3, "fast": 2e-2}
"""Largest differences of models from the CPU's results, as parts of the largest value."""
_KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")
_WITHOUT = ("gradient_of", "bernoulli", "dropout", "random")
"""Cases of the suite that draw numbers, or that nothing implements."""


def kernel_tasks(setting: Setting) -> list[Task]:
    """Return the cases that the simulator's tests have; simulated, the first of each module."""
    tasks = []
    for module in MODULES:
        cases = cases_of(module)
        chosen = cases[: setting.size(len(cases), 1)]
        tasks += [Task(case.name, _without_result(case.run)) for case in chosen]
    return tasks


def _without_result(run: Callable[[], Any]) -> Callable[[], None]:
    def call() -> None:
        run()

    return call


def conformance_tasks(setting: Setting) -> list[Task]:
    """Return the cases of onnx's conformance suite, which compare with the CPU."""
    from onnx.backend.test import loader

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = [case for kind in _KINDS for case in loader.load_model_tests(kind=kind)]
    cases = [case for case in cases if case.model is not None]
    cases = [case for case in cases if not any(word in case.name for word in _WITHOUT)]
    if setting.simulates:
        cases = [case for case in cases if case.name in ("test_abs", "test_softmax_axis_0")]
    return [Task(case.name, functools.partial(_compare_case, case)) for case in cases]


def _compare_case(case: Any) -> None:
    data = case.model.SerializeToString()
    session, cpu = Session(data, device="cuda"), Session(data)
    names = [port.name for port in session.get_inputs()]
    for inputs, _ in case.data_sets:
        feeds = dict(zip(names, inputs, strict=False))
        _compare(session.run(None, feeds), cpu.run(None, feeds), 2e-3)


def _compare(got: list[Any], wanted: list[Any], limit: float) -> None:
    for a, b in zip(got, wanted, strict=True):
        is_array = isinstance(b, np.ndarray) and b.dtype != object
        if not is_array:
            if str(a) != str(b):
                raise AssertionError(f"{str(a)[:200]}, expected {str(b)[:200]}")
        elif (a.dtype, a.shape) != (b.dtype, b.shape):
            raise AssertionError(f"{a.dtype} {a.shape}, expected {b.dtype} {b.shape}")
        elif b.dtype.kind in "iub":
            np.testing.assert_allclose(a.astype(np.float64), b.astype(np.float64), rtol=0, atol=1)
    error = largest_error(got, wanted)
    if error is not None and not error <= limit:
        raise AssertionError(f"differs by {error:.1e} of the largest value, at most {limit:.1e}")


def model_tasks(setting: Setting) -> list[Task]:
    """Return the models of ``make bench``, by precision; simulated, the demo's network."""
    names = ["digits"] if setting.simulates else list(bench.SUITE)
    return [
        Task(f"{name} {precision}", functools.partial(_compare_model, name, precision))
        for name in names
        for precision in ("fp32", "fast")
    ]


def _compare_model(name: str, precision: str) -> None:
    try:
        if name == "digits":
            path = DATA / "digits.onnx"
            [port] = Session(path).get_inputs()
            shape = [size if isinstance(size, int) else 2 for size in port.shape or ()]
            feeds = {port.name: drawn(*shape)}
        else:
            path, feeds = zoo.model(name), zoo.inputs(name, np.random.default_rng(0))
    except (zoo.Unavailable, OSError) as reason:
        raise Skipped(str(reason)) from reason
    wanted = Session(path).run(None, feeds)
    got = Session(path, device="cuda", precision=precision).run(None, feeds)
    _compare(got, wanted, _ERROR[precision])
