"""LSTM, GRU and RNN over packed weights: the steps of sequences, one after the other.

The products with the inputs of all steps are made before, as one matrix product. What is left is a
*chain* for each direction and each few sequences: at every step a product with the hidden state,
and the cell. Hidden units are divided into *blocks*, which threads may do side by side.

A block at a step is an item of work. The parts of the kernel are numbers of items, and whoever
computes parts takes items that can be done: of a chain's earliest unfinished step, claimed by a
compare-exchange. Nobody waits but for items that another thread is computing at that moment, so one
thread alone never waits, and threads of whatever speed share the work. What an item computes
depends on no other of its step, so results are the same whoever computes it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba import njit

from ..atomics import atomic_add, atomic_compare_exchange, atomic_load, pause
from ..registry import Pointer, kernel_factory
from ..simd import load_i32, store_i64
from .indices import out_of_range
from .recurrent_ahead import bring_ahead
from .recurrent_cells import PHASES, Numbers, cell_phases
from .recurrent_functions import ARITHMETIC, Arithmetic
from .recurrent_joined import joined_operand, joined_product
from .recurrent_products import (
    byte_operand,
    float_operand,
    product_with_halves,
    product_with_panels,
)
from .recurrent_steps import step_of_units, time_of
from .recurrent_terms import term_operand, term_product
from .rows import copy_floats, zero_floats

MOST_BLOCKS = 16
CHAIN_WORDS = 8 + MOST_BLOCKS
"""Words of a chain's progress: items done, then (a cache line on) the next step of each block."""
_PATIENCE = 2000


class Recurrence(NamedTuple):
    """Sizes and memory of a recurrent layer; strides in elements.

    Bit d of ``backwards`` says that direction d goes from the end. A chain has up to ``rows``
    sequences; there are ``vectors`` vectors of hidden units, divided into ``blocks``. ``hidden``
    holds the hidden states of two steps in turn, each (directions, batch, units), as
    ``cells`` and ``resets`` do once. ``inputs`` has for each step and sequence the products of all
    directions, ``weights`` a panel for each vector of units, ``later_weights`` those of the
    second phase; a column of both has ``depth`` elements. Units are those of whole vectors, of
    which the last may not be full. Pointers are null for what there is not. Weights of 8 bits have
    ``scales`` and ``weight_sums``, in the order of the products, and the states that they multiply
    lie ``states`` bytes from the beginning of a thread's scratch memory.
    A *joined* layer multiplies inputs and states at once: ``x`` holds rows of ``features``, whose
    weights precede those of the states in each column, and ``inputs`` only biases.
    With ``starts_at_zero`` states before the first step are zero, and so are products with them;
    ``exceeds_cache`` says that the weights are too large for one: threads share one direction after
    another. With ``fetches`` the panel that follows is fetched while one is used.
    """

    steps: int
    batch: int
    directions: int
    size: int
    vectors: int
    rows: int
    blocks: int
    backwards: int
    lengths: Pointer
    hidden: Pointer
    cells: Pointer
    resets: Pointer
    progress: Pointer
    inputs: Pointer
    input_step: int
    input_batch: int
    x: Pointer
    x_step: int
    x_batch: int
    features: int
    depth: int
    weights: Pointer
    later_weights: Pointer
    scales: Pointer
    weight_sums: Pointer
    bias: Pointer
    peepholes: Pointer
    y: Pointer
    y_step: int
    y_batch: int
    y_direction: int
    last_h: Pointer
    last_c: Pointer
    last_batch: int
    last_direction: int
    mr: int
    tiles: Pointer
    later_mr: int
    later_tiles: Pointer
    scratch: Pointer
    scratch_bytes: int
    states: int
    starts_at_zero: int
    exceeds_cache: int
    fetches: int


# --- before the first step --------------------------------------------------------------------


@kernel_factory
def recurrent_begin(kind: str) -> Callable[..., int]:
    """Set the states before the first step, which are the last ones of sequences without steps.

    Initial states are null where they are zero. Rows are split into parts.
    """
    itemsize, lanes = ARITHMETIC[kind].itemsize, ARITHMETIC[kind].lanes
    words = itemsize // 4

    @njit
    def set_state(size: int, units: int, target: Pointer, initial: Pointer, at: int) -> None:
        zero_floats(target, units * words)
        if initial != 0:
            copy_floats(initial + at, target, size * words)

    def body(
        thread: int, part: int, until: int, parts: int, layer: Recurrence,
        initial_h: Pointer, initial_c: Pointer, initial_batch: int, initial_direction: int,
    ) -> int:  # fmt: skip
        chains = layer.directions * ((layer.batch + layer.rows - 1) // layer.rows)
        first, last = chains * CHAIN_WORDS * part // parts, chains * CHAIN_WORDS * until // parts
        for word in range(first, last):
            store_i64(layer.progress, word, 0)
        rows, units = layer.directions * layer.batch, layer.vectors * lanes
        for row in range(rows * part // parts, rows * until // parts):
            d, b = row // layer.batch, row % layer.batch
            if layer.lengths != 0:
                length = load_i32(layer.lengths, b)
                if length < 0 or length > layer.steps:
                    return out_of_range(length)
            initial = (d * initial_direction + b * initial_batch) * itemsize
            end = (d * layer.last_direction + b * layer.last_batch) * itemsize
            state = row * units * itemsize
            set_state(layer.size, units, layer.hidden + state, initial_h, initial)
            if layer.last_h != 0:
                copy_floats(layer.hidden + state, layer.last_h + end, layer.size * words)
            if layer.cells != 0:
                set_state(layer.size, units, layer.cells + state, initial_c, initial)
            if layer.last_c != 0:
                copy_floats(layer.cells + state, layer.last_c + end, layer.size * words)
        return 0

    return body


# --- items ------------------------------------------------------------------------------------


@njit
def _claim(layer: Recurrence, chain: int, tick: int, falling: int, last: int) -> Any:
    """Take a block of a chain's step that nobody has taken; -1: there is none.

    From that taken ``last`` on a thread goes one way at one step and back at the next, so that it
    begins with weights that its cache still holds.
    """
    claims = layer.progress + 8 * (chain * CHAIN_WORDS + 8)
    for i in range(2 * layer.blocks):
        beyond = i >= layer.blocks
        away = i - layer.blocks + 1 if beyond else i
        block = last - away if falling != beyond else last + away
        if block < 0 or block >= layer.blocks:
            continue
        free = atomic_load(claims, block) == tick
        if free and atomic_compare_exchange(claims, block, tick, tick + 1):
            return block
    return -1


def _first_product(weights: str, of: Arithmetic, kind: str, gates: int) -> tuple[Any, Any, Any]:
    """Make the product of a first phase, and the functions of `byte_operand`."""
    if weights == "terms":
        return term_product(gates), *term_operand(of.lanes, time_of)
    if weights == "joined":
        return joined_product(gates, kind), *joined_operand(of.lanes, of.itemsize)
    if weights == "halves":
        return product_with_halves(gates), *float_operand(of.lanes)
    if weights:
        return product_with_panels(gates, weights), *byte_operand(weights, gates)
    return product_with_panels(gates, kind), *float_operand(of.lanes)


@kernel_factory
def recurrent(
    cell: str, names: str, clips: int, options: str, kind: str, weights: str = ""
) -> Callable[..., int]:
    """Take the steps of a layer; see the module's text and `recurrent_cells.cell_phases`.

    ``names`` are those of the activations, in lower case, separated by blanks. ``weights``, of a
    cell of one phase, may be of 8 bits (see `recurrent_products.byte_operand`), ``joined``, or
    ``terms`` (`recurrent_terms`); of any cell, for one sequence, ``halves``: stored as float16.
    """
    phases, of = len(PHASES[cell]), ARITHMETIC[kind]
    functions = cell_phases(cell, tuple(names.split()), bool(clips), options, kind)
    steps = [step_of_units(cell, p, function, of) for p, function in enumerate(functions[:phases])]
    first_step, later_step = steps[0], steps[-1]
    first_gates, later_gates = PHASES[cell][0], PHASES[cell][-1]
    itemsize, lanes = of.itemsize, of.lanes
    first_product, operand, finish = _first_product(weights, of, kind, first_gates)
    halves, is_joined = weights == "halves", weights == "joined"
    later_product = (
        product_with_halves(later_gates) if halves else product_with_panels(later_gates, kind)
    )
    weight_bytes = 2 if halves else itemsize
    bring = bring_ahead(cell, of, is_joined)

    @njit
    def compute(
        layer: Recurrence, n: Numbers, chain: int, tick: int, block: int, falling: int,
        is_new: bool, sums: Pointer,
    ) -> None:  # fmt: skip
        """Compute an item: the product, then the cells of its units.

        It ``is_new`` where it is a thread's first one of a step.
        """
        groups = (layer.batch + layer.rows - 1) // layer.rows
        d, b0 = chain // groups, chain % groups * layer.rows
        rows = min(layer.rows, layer.batch - b0)
        begin = block * layer.vectors // layer.blocks
        end = (block + 1) * layer.vectors // layer.blocks
        t, units = tick // phases, layer.vectors * lanes
        is_zero = t == 0 and layer.starts_at_zero != 0
        at = (d * layer.batch + b0) * units * itemsize
        panel = d * layer.vectors + begin
        if tick % phases == 0:
            bring(layer, d, b0, rows, t, block, begin, end)
            turn = t % 2 * layer.directions * layer.batch * units * itemsize
            state = layer.hidden + at + turn
            a = operand(layer, state, d, b0, t, rows, sums, is_new)
            b = layer.weights + panel * layer.depth * first_gates * lanes * weight_bytes
            width = (end - begin) * first_gates * lanes * itemsize
            if is_zero and not is_joined:
                zero_floats(sums, rows * width // 4)
            else:
                first_product(a, b, sums, rows, end - begin, layer.depth, layer.mr, layer.tiles,
                              falling, layer.fetches != 0)  # fmt: skip
            for i in range(rows):
                finish(layer, sums + i * width, panel, width // 4, sums, i)
            first_step(layer, n, d, b0, rows, t, sums, width, begin, end)
        else:
            b = layer.later_weights + panel * layer.depth * later_gates * lanes * weight_bytes
            width = (end - begin) * later_gates * lanes * itemsize
            if is_zero:
                zero_floats(sums, rows * width // 4)
            else:
                a = layer.resets + at, units
                later_product(a, b, sums, rows, end - begin, layer.depth, layer.later_mr,
                              layer.later_tiles, falling, layer.fetches != 0)  # fmt: skip
            later_step(layer, n, d, b0, rows, t, sums, width, begin, end)

    @njit
    def follow(
        layer: Recurrence, n: Numbers, chain: int, thread: int, most: int, sums: Pointer
    ) -> Any:
        """Do items of a chain, up to ``most``, until it ends or waits for long; how many."""
        progress = layer.progress + 8 * chain * CHAIN_WORDS
        done, waited, last, seen = 0, 0, -1, -1
        while done < most and waited < _PATIENCE:
            tick = atomic_load(progress, 0) // layer.blocks
            if tick == layer.steps * phases:
                break
            falling = (thread + tick) % 2
            if last < 0:
                last = falling * (layer.blocks - 1)
            block = _claim(layer, chain, tick, falling, last)
            if block < 0:
                if done == 0:  # others follow it
                    break
                waited += 1
                pause()
                continue
            compute(layer, n, chain, tick, block, falling, tick != seen, sums)
            last, seen = block, tick
            atomic_add(progress, 0, 1)
            done, waited = done + 1, 0
        return done

    def body(thread: int, part: int, until: int, parts: int, layer: Recurrence, n: Numbers) -> int:
        chains = layer.directions * ((layer.batch + layer.rows - 1) // layer.rows)
        items = chains * layer.steps * phases * layer.blocks
        left = items * until // parts - items * part // parts
        if chains * layer.blocks == 1:  # its items follow each other: states stay with a thread
            left = items if part == 0 else 0
        sums = layer.scratch + thread * layer.scratch_bytes
        chain = 0 if layer.exceeds_cache else chains * part // parts
        while left > 0:
            done = follow(layer, n, chain, thread, left, sums)
            left -= done
            if done == 0:
                chain = (chain + 1) % chains
                pause()
        return 0

    return body
