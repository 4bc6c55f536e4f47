"""Products of a chunk of rows and a panel of weights, by terms (`term_conv`).

Two pieces of rows are multiplied at a time; meanwhile vectors finish the sums of those before.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit

from ..amx import ROW_BYTES, ROWS
from ..registry import Pointer
from ..simd import prefetch
from ..vector_memory import ITEM_BYTES
from .finish import COLUMNS, Finish, make_finish
from .term_tile import SUM_BYTES, TILE_BYTES, Ahead, Sums, fetch_ahead, make_sums

SUMS_BYTES = 2 * ROWS * SUM_BYTES
"""Bytes of the sums of two pieces, which a chunk needs two of."""
_LINE = 64


class Block(NamedTuple):
    """Results of a chunk of rows and a panel of columns; distances of results are bytes."""

    c: Pointer
    row_c: int
    pixel_c: int
    residual: Pointer
    row_r: int
    pixel_r: int
    bias: Pointer
    columns: int
    activation: int
    low: float
    high: float


class Pieces(NamedTuple):
    """Pieces that a chunk's rows are cut into, of ``height`` pixels, but for the last of a row.

    ``rows`` rows of ``width`` pixels, the last of which has ``last_width``; distances of pixels are
    bytes. Where pieces ``overlap`` none reads beyond its row: the last one ends with the row.
    """

    height: int
    rows: int
    width: int
    last_width: int
    row: int
    pixel: int
    overlap: bool


@njit
def _place(own: Pieces, index: int, each: int) -> Any:
    """Return row and first pixel of a piece, of which a row has ``each``, and its pixels.

    Last how many of them the piece before has, too, which are not finished again: the residual may
    lie where results do.
    """
    h, begin = index // each, index % each * own.height
    width = own.width if h < own.rows - 1 else own.last_width
    first = min(begin, width - own.height) if own.overlap else begin
    return h, first, min(own.height, width - first), begin - first


class Piece(NamedTuple):
    """Sums of two pieces of rows that are to be finished, and where the first results belong.

    So are ``_low``, the second piece, which may have no ``rows_low``; without a residual its
    addresses are 0. The first sums of a piece that are to ``skip`` have been finished.
    """

    sums: Pointer
    skip: int
    skip_low: int
    c: Pointer
    c_low: Pointer
    residual: Pointer
    residual_low: Pointer
    rows: int
    rows_low: int
    block: Block


@njit
def nothing() -> Piece:
    """Return what has no rows to finish."""
    return Piece(0, 0, 0, 0, 0, 0, 0, 0, 0, Block(0, 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0))


class Work(NamedTuple):
    """What vectors do while tiles multiply, ``share`` rows at each step.

    Sums ``before`` are finished, and memory is fetched: the next panel, and results and residual
    of what is multiplied, the lines of which lie apart.
    """

    ahead: Ahead
    before: Piece
    own: Piece
    share: int


def make_panel(terms: int, result: str, residual: str) -> tuple[Any, Any]:
    """Return what computes the results of a chunk and a panel, and what finishes the last ones."""
    finish_rows = make_finish(result, residual)
    result_bytes, residual_bytes = COLUMNS * ITEM_BYTES[result], COLUMNS * ITEM_BYTES[residual]
    tile_bytes = terms * TILE_BYTES

    @njit(forceinline=True)
    def place(own: Piece, row: int) -> Any:
        """Return the address of a row of results, and of its residual."""
        is_low = row >= own.rows
        within = row - own.rows if is_low else row
        c = (own.c_low if is_low else own.c) + within * own.block.pixel_c
        if own.block.residual == 0:
            return c, 0
        return c, (own.residual_low if is_low else own.residual) + within * own.block.pixel_r

    @njit
    def finish(own: Piece, first: int, until: int) -> None:
        """Finish rows of both pieces, counted through."""
        until = min(until, own.rows + own.rows_low)
        while first < until:
            c, r = place(own, first)
            is_low = first >= own.rows
            end = until if is_low else min(until, own.rows)
            row = ROWS + own.skip_low + first - own.rows if is_low else own.skip + first
            sums = own.sums + row * SUM_BYTES
            block = own.block
            finish_rows(
                Finish(
                    sums, c, r, block.bias, end - first, block.pixel_c, block.pixel_r,
                    block.columns, block.activation, block.low, block.high,
                )
            )  # fmt: skip
            first = end

    @njit(forceinline=True)
    def fetch(own: Piece, first: int, until: int) -> None:
        for row in range(first, min(until, own.rows + own.rows_low)):
            c, r = place(own, row)
            for at in range(0, result_bytes, _LINE):
                prefetch(c + at)
            if r != 0:
                for at in range(0, residual_bytes, _LINE):
                    prefetch(r + at)

    @njit(forceinline=True)
    def beside(work: Work, step: int) -> None:
        fetch_ahead(work.ahead, step)
        first = step * work.share
        fetch(work.own, first, first + work.share)
        finish(work.before, first, first + work.share)

    sums = make_sums(terms, beside)

    @njit
    def locate(own: Block, row: int, pixel: int) -> Any:
        """Return the addresses of results and of a residual, or 0."""
        r = own.residual
        if r != 0:
            r += row * own.row_r + pixel * own.pixel_r
        return own.c + row * own.row_c + pixel * own.pixel_c, r

    @njit
    def panel(
        state: Pointer, over: Sums, pieces: Pieces, own: Block, a: Pointer, b: Pointer,
        memory: Pointer, before: Piece,
    ) -> Piece:  # fmt: skip
        """Compute them, and finish those before; return what is to be finished."""
        is_wide = own.columns > ROWS
        steps = over.kernel_h * over.kernel_w * over.blocks
        share = (2 * ROWS + steps - 1) // steps
        ahead = b + steps * tile_bytes * 2
        each = (pieces.width + pieces.height - 1) // pieces.height
        last = (pieces.last_width + pieces.height - 1) // pieces.height
        count = (pieces.rows - 1) * each + last
        lines = 2 * tile_bytes // ROW_BYTES // ((count + 1) // 2) + 1
        for piece in range(0, count, 2):
            h, first, rows, skip = _place(pieces, piece, each)
            h_low, first_low, rows_low, skip_low = _place(pieces, piece + 1, each)
            upper = a + h * pieces.row + first * pieces.pixel
            lower = a + h_low * pieces.row + first_low * pieces.pixel
            if piece + 1 == count:
                lower = rows_low = skip_low = 0
            c, r = locate(own, h, first + skip)
            c_low, r_low = locate(own, h_low, first_low + skip_low)
            done = memory if before.sums != memory else memory + SUMS_BYTES
            now = Piece(
                done, skip, skip_low, c, c_low, r, r_low, rows - skip, rows_low - skip_low, own
            )
            work = Work(Ahead(ahead, lines), before, now, share)
            sums(state, over, is_wide, upper, lower, b, done, True, work)
            before = now
            ahead += lines * ROW_BYTES * steps
        return before

    return panel, finish
