"""Steps of a recurrent layer's sequences: where a sequence's arrays lie, and its units at a step.

A direction that goes backwards begins with the last step that a sequence has. Beyond its last step
a sequence keeps its states, and its results are zero.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from ..registry import Pointer
from ..simd import load_i32
from .recurrent_cells import GATES, PHASES, Numbers, Row
from .recurrent_functions import Arithmetic


@njit
def time_of(layer: Any, d: int, b: int, t: int) -> Any:
    """Place in the input of a sequence's step, and the number of its steps."""
    length = load_i32(layer.lengths, b) if layer.lengths != 0 else layer.steps
    backwards = layer.backwards >> d & 1
    return length - 1 - t if backwards and t < length else t, length


def _row(of: Arithmetic, gates: int) -> Any:
    """Make the arrays of one sequence at one step; ``time`` is the step's place in the input."""
    itemsize, lanes = of.itemsize, of.lanes

    @njit
    def row(layer: Any, d: int, b: int, t: int, time: int, sums: Pointer, lane: int) -> Any:
        units = layer.vectors * lanes
        at = (d * layer.batch + b) * units * itemsize
        turn = layer.directions * layer.batch * units * itemsize
        source = time * layer.input_step + b * layer.input_batch + d * units * gates
        return Row(
            sums,
            layer.inputs + source * itemsize,
            layer.hidden + at + t % 2 * turn,
            layer.hidden + at + (t + 1) % 2 * turn,
            layer.cells + at,
            layer.resets + at,
            layer.bias + d * units * itemsize if layer.bias != 0 else 0,
            layer.peepholes + d * 3 * units * itemsize,
            lane,
        )

    return row


def _unit_store(of: Arithmetic) -> Any:
    """Make the storing of units where there is only room for ``size`` of them."""
    store, store_first, together = of.store, of.store_first, of.together

    @njit
    def store_units(target: Pointer, unit: int, size: int, value: Any) -> None:
        if unit + together <= size:
            store(target, unit, value)
        else:
            store_first(target, unit, value, size - unit)

    return store_units


def step_of_units(cell: str, phase: int, function: Any, of: Arithmetic) -> Any:
    """Make what finishes vectors ``begin`` to ``end`` of some sequences in a phase of a step.

    Sums of a sequence are ``width`` bytes behind those of the one before.
    """
    is_last, keeps_cell = phase == len(PHASES[cell]) - 1, cell == "lstm"
    itemsize, lanes, together = of.itemsize, of.lanes, of.together
    load, store, number = of.load, of.store, of.number
    make_row, store_units = _row(of, GATES[cell]), _unit_store(of)

    @njit
    def step(
        layer: Any, n: Numbers, d: int, first: int, rows: int, t: int, sums: Pointer, width: int,
        begin: int, end: int,
    ) -> None:  # fmt: skip
        for i in range(rows):  # here, since an item may have one vector of each
            b = first + i
            time, length = time_of(layer, d, b, t)
            going = t < length
            at = time * layer.y_step + b * layer.y_batch + d * layer.y_direction
            last = (d * layer.last_direction + b * layer.last_batch) * itemsize
            for lane in range(0, lanes, together):
                row = make_row(layer, d, b, t, time, sums + i * width, lane)
                for v in range(begin, end):
                    unit = v * lanes + lane
                    h = function(row, v, v - begin, n) if going else load(row.state, unit)
                    if not is_last:
                        continue
                    store(row.new, unit, h)
                    if layer.y != 0:
                        value = h if going else number(0.0)
                        store_units(layer.y + at * itemsize, unit, layer.size, value)
                    if t == length - 1:
                        if layer.last_h != 0:
                            store_units(layer.last_h + last, unit, layer.size, h)
                        if keeps_cell and layer.last_c != 0:
                            value = load(row.cell, unit)
                            store_units(layer.last_c + last, unit, layer.size, value)

    return step
