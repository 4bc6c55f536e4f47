"""Forms of a recurrent layer's products, measured once: what this machine's caches make fastest.

A step multiplies few rows by weights that are read anew at each step. Whether it pays to fetch the
next panel while the tiles use one, to multiply inputs and states at once rather than inputs of
all steps before, and to widen weights of float16 for one row, depends on how fast the second- and
third-level caches hand out lines. On AMD's Zen 5 fetching costs 2 to 5 % in caches and products of
both gain 5 %; on Intel's Emerald Rapids fetching gains little in the second level and 10 to 17 % in
the third, and products of both lose 5 to 9 %.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..compiler import environment_key, native_function
from ..registry import Pointer, kernel, kernel_factory
from ..simd import vload, vstore
from ..storage import remembered
from ..target import LANES, target
from ..trials import fastest
from .operands import max_rows, operand_form
from .recurrent_products import product_with_halves, product_with_panels
from .tile import tile

_GATES, _UNITS, _BATCH = 4, 128, 16
"""A LSTM in which both forms of its products fit the second-level cache."""
_BATCHES, _LENGTHS = (2, 4, 8, 12, 16), (4, 8, 16, 64)
"""Sequences and steps of trials; fewer are not joined."""
_TURNS = 30
_ROW_STEPS = 16
"""Steps of a trial with one row."""
_product = product_with_panels(_GATES, "f32")


@kernel
def products_of_steps(
    thread: int, part: int, until: int, parts: int, a: Pointer, weights: Pointer, sums: Pointer,
    inputs: Pointer, rows: int, panels: int, depth: int, mr: int, tiles: Pointer, steps: int,
    fetches: int,
) -> int:  # fmt: skip
    """Multiply ``rows`` rows at every step, and add those of ``inputs`` (0: none) of the step."""
    count = rows * panels * _GATES * LANES
    for step in range(steps):
        _product((a, depth), weights, sums, rows, panels, depth, mr, tiles, step % 2, fetches != 0)
        if inputs != 0:
            own = inputs + step * count * 4
            for i in range(0, count, LANES):
                vstore(sums, i, vload(sums, i) + vload(own, i))
    return 0


@kernel_factory
def row_of_steps(weights: str) -> Callable[..., int]:
    """Multiply one row at every step by ``weights``: ``f32``, or ``f16`` that are widened."""
    if weights == "f16":
        product = product_with_halves(_GATES)
    else:
        product = product_with_panels(_GATES, weights)

    def body(
        thread: int, part: int, until: int, parts: int, a: Pointer, weights: Pointer,
        sums: Pointer, panels: int, depth: int, steps: int,
    ) -> int:  # fmt: skip
        for step in range(steps):
            product((a, depth), weights, sums, 1, panels, depth, 1, 0, step % 2, False)
        return 0

    return body


class Products:
    """Memory and calls of a trial."""

    def __init__(self) -> None:
        self.mr = max_rows(_GATES)
        form = operand_form()
        rows = range(1, self.mr + 1)
        addresses = [0, *(tile(count, _GATES, "f32", form).address for count in rows)]
        self.tiles = np.array(addresses, np.int64)
        self.call = native_function(products_of_steps.address)

    def run(
        self, rows: int, depth: int, panels: int, steps: int, fetches: bool,
        inputs: np.ndarray | None = None,
    ) -> tuple[Callable[[], Any], np.ndarray]:  # fmt: skip
        """Return what makes products of some steps, and the array of its sums."""
        width = panels * _GATES * LANES
        a, weights, sums = (
            np.ones(shape, np.float32) for shape in ((rows, depth), (depth, width), (rows, width))
        )
        record = products_of_steps.record(
            a=a, weights=weights, sums=sums, inputs=0 if inputs is None else inputs, rows=rows,
            panels=panels, depth=depth, mr=self.mr, tiles=self.tiles, steps=steps,
            fetches=int(fetches),
        )  # fmt: skip

        def run(kept: Any = (a, weights, sums, inputs)) -> None:
            self.call(record.ctypes.data)

        return run, sums


@functools.cache
def fetching_pays(weight_bytes: int) -> bool:
    """Tell whether products that read so many bytes of weights at each step should fetch ahead.

    Measured on the first use on a machine, of weights within and beyond the second-level cache.
    """
    place = "within" if weight_bytes <= target().l2 else "beyond"
    question = f"fetching {place} the cache\n{environment_key()}"
    return remembered(question, lambda: str(_try_fetching(place))) == "1"


def _try_fetching(place: str) -> int:
    trial = Products()
    size = target().l2 // 2 if place == "within" else 2 * target().l2
    panels = size // (2 * _UNITS * _GATES * LANES * 4)
    forms = [trial.run(_BATCH, 2 * _UNITS, panels, 2, fetches)[0] for fetches in (False, True)]
    return fastest(forms, _TURNS)


def joining_pays(batch: int, steps: int | None) -> bool:
    """Tell whether products with inputs and states at once are faster than one product before.

    Measured on the first use on a machine, of a layer whose weights fit the second-level cache, of
    as many sequences and steps (None: many) as a trial has that has no more.
    """
    rows = max((each for each in _BATCHES if each <= batch), default=0)
    length = max((each for each in _LENGTHS if steps is None or each <= steps), default=0)
    return rows * length > 0 and _joining_pays(rows, length)


@functools.cache
def _joining_pays(rows: int, steps: int) -> bool:
    question = f"joined products of {rows} rows, {steps} steps\n{environment_key()}"
    return remembered(question, lambda: str(_try_joining(rows, steps))) == "1"


def _try_joining(rows: int, steps: int) -> int:
    trial, panels = Products(), _UNITS // LANES
    before, inputs = trial.run(steps * rows, _UNITS, panels, 1, False)
    fetches = fetching_pays(_UNITS * _UNITS * _GATES * 4)
    apart_steps, _ = trial.run(rows, _UNITS, panels, steps, fetches, inputs)
    both, _ = trial.run(rows, 2 * _UNITS, panels, steps, True)

    def apart() -> None:
        before()
        apart_steps()

    return fastest([apart, both], _TURNS)


@functools.cache
def halves_pay(weight_bytes: int) -> bool:
    """Tell whether so many bytes of weights, of float32, are better stored as float16 for one row.

    Measured on the first use on a machine, of weights that the second-level cache holds and the
    first does not; those that the first holds are not halved, those beyond the second are.
    """
    if weight_bytes <= target().l1 or weight_bytes > target().l2:
        return weight_bytes > target().l2
    return remembered(f"halves\n{environment_key()}", lambda: str(_try_halves())) == "1"


def _try_halves() -> int:
    panels = max(1, target().l2 // (4 * _UNITS * _GATES * LANES * 4))
    width = panels * _GATES * LANES
    a, sums = np.ones(_UNITS, np.float32), np.zeros(width, np.float32)
    forms = []
    for name, kind in (("f32", np.float32), ("f16", np.float16)):
        weights = np.ones((_UNITS, width), kind)
        of_steps = row_of_steps(name)
        record = of_steps.record(
            a=a, weights=weights, sums=sums, panels=panels, depth=_UNITS, steps=_ROW_STEPS
        )
        call = native_function(of_steps.address)
        forms.append(lambda kept=(call, record, weights): kept[0](kept[1].ctypes.data))
    return fastest(forms, _TURNS)
