"""LSTM, GRU and RNN: a block of threads follows a sequence in one direction, step by step.

The products with the inputs of all steps are made before, as one product of matrices. At a step
each thread computes some hidden units; threads wait for each other between steps, and between the
phases of a cell.
"""

from __future__ import annotations

from typing import Any

from ..fields import Pointer
from .functions import device_function
from .indices import refuse
from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .launches import over_tiles
from .memory import LOAD, SIZES, STORE
from .recurrent_cells import phases_of
from .recurrent_functions import NUMBERS
from .rounded_state import rounded_state
from .threads import cuda

_load_i32 = LOAD["i32"]


def _launch(f: Fields, limits: Limits) -> Launch:
    warps = -(-min(f["size"], limits.threads) // 32)
    return over_tiles(f["directions"] * f["batch"], min(32 * warps, limits.threads), limits)


@device_function("void")
def _as_it_is(state: Any, rounded: Any, size: Any) -> None:
    """Do nothing."""


@cuda_factory
def recurrent_layer(
    cell: str, names: str, options: str, clips: int, kind: str, rounds: int = 0
) -> Body:
    """Take the steps of a layer; the parameters are those of the CPU's ``recurrent``.

    ``inputs`` has for each step and sequence the products of all directions, each (gate, unit).
    ``weights`` are (directions, size, gates, size), ``bias`` the recurrent one of a linear GRU's
    last gate, ``peepholes`` (directions, 3, size), or null. Bit d of ``backwards`` says that
    direction d goes from the end. ``hidden`` is memory for two states of each sequence in each
    direction, ``cells`` and ``resets`` for one. With ``rounds`` products take each state as the
    nearest multiples of a scale that 8 bits reach, as DynamicQuantizeLSTM has them.
    """
    first, second = phases_of(cell, tuple(names.split()), options, bool(clips), kind)
    gates = {"lstm": 4, "rnn": 1}.get(cell, 3)
    has_two, keeps_cell = second is not None, cell == "lstm"
    second = second or first
    load, store, item, zero = LOAD[kind], STORE[kind], SIZES[kind], NUMBERS[kind](0)
    round_state = rounded_state if rounds else _as_it_is

    def body(
        steps: int, batch: int, directions: int, size: int, backwards: int, lengths: Pointer,
        inputs: Pointer, input_step: int, input_batch: int, weights: Pointer, bias: Pointer,
        peepholes: Pointer, initial_h: Pointer, initial_c: Pointer, initial_batch: int,
        initial_direction: int, hidden: Pointer, cells: Pointer, resets: Pointer, y: Pointer,
        y_step: int, y_batch: int, y_direction: int, last_h: Pointer, last_c: Pointer,
        last_batch: int, last_direction: int, alpha0: float, beta0: float, alpha1: float,
        beta1: float, alpha2: float, beta2: float, clip: float, status: Pointer,
    ) -> None:  # fmt: skip
        own, threads = cuda.threadIdx.x, cuda.blockDim.x
        for chain in range(cuda.blockIdx.x, directions * batch, cuda.gridDim.x):
            d, b = chain // batch, chain % batch
            length = steps
            if lengths != 0:
                length = int(_load_i32(lengths, b))
                if length < 0 or length > steps:
                    refuse(status, length)
                    length = 0
            state, new = hidden + 2 * chain * size * item, hidden + (2 * chain + 1) * size * item
            kept, reset = cells + chain * size * item, resets + chain * size * item
            w, shift = weights + d * size * gates * size * item, bias
            if bias != 0:
                shift = bias + d * size * item
            holes = peepholes + d * 3 * size * item
            initial = d * initial_direction + b * initial_batch
            for unit in range(own, size, threads):
                store(state, unit, load(initial_h, initial + unit) if initial_h != 0 else zero)
                if keeps_cell:
                    store(kept, unit, load(initial_c, initial + unit) if initial_c != 0 else zero)
            cuda.syncthreads()
            if rounds != 0:
                state, new = new, state
                round_state(new, state, size)
            for t in range(length):
                time = length - 1 - t if backwards >> d & 1 else t
                place = time * input_step + b * input_batch + d * gates * size
                source = inputs + place * item
                if has_two:
                    for unit in range(own, size, threads):
                        first(unit, size, source, state, w, kept, reset, shift, holes, alpha0,
                              beta0, alpha1, beta1, alpha2, beta2, clip)  # fmt: skip
                    cuda.syncthreads()
                target = time * y_step + b * y_batch + d * y_direction
                for unit in range(own, size, threads):
                    h = second(unit, size, source, state, w, kept, reset, shift, holes, alpha0,
                               beta0, alpha1, beta1, alpha2, beta2, clip)  # fmt: skip
                    store(new, unit, h)
                    if y != 0:
                        store(y, target + unit, h)
                cuda.syncthreads()
                if rounds != 0:
                    round_state(new, state, size)
                else:
                    state, new = new, state
            if rounds != 0:
                state = new
            end = d * last_direction + b * last_batch
            for unit in range(own, size, threads):
                for t in range(length, steps if y != 0 else 0):
                    store(y, t * y_step + b * y_batch + d * y_direction + unit, zero)
                if last_h != 0:
                    store(last_h, end + unit, load(state, unit))
                if last_c != 0 and keeps_cell:
                    store(last_c, end + unit, load(kept, unit))
            cuda.syncthreads()  # before the next sequence's states are set

    return Body(body, _launch)
