"""Products of matrices by multiply-adds, for any strides."""

from __future__ import annotations

from .kernel import Body, Fields, Launch, Limits, cuda_factory
from .tiles import Operand, Tile, kernel_of_tile, launch_of

_PARAMETERS = (
    "x", "w", "y", "bias", "outer", "inner", "rows", "depth", "columns", "x_outer", "x_inner",
    "x_row", "x_depth", "w_outer", "w_inner", "w_row", "w_column", "y_outer", "y_inner", "y_row",
    "y_column", "bias_column",
)  # fmt: skip
_LEFT = Operand(
    row=["x_first = b // inner * x_outer + b % inner * x_inner + m * x_row"],
    element=["place, inside = x_first + k * x_depth, True"],
)
_TARGET = [
    "w_first, bias_first = b // inner * w_outer + b % inner * w_inner, 0",
    "y_first = b // inner * y_outer + b % inner * y_inner + m * y_row",
]


@cuda_factory
def product(kind: str, bm: int, bn: int, bk: int, tm: int, tn: int) -> Body:
    """Y = x @ w + bias, for ``outer`` x ``inner`` matrices.

    ``x`` has rows and depth, ``w`` depth (``w_row``) and columns, all by strides in elements; the
    bias is null or has an element for each column, or one for all (``bias_column`` 0).
    """
    tile = Tile(bm, bn, bk, tm, tn)
    head = ["batches = outer * inner"]
    body = kernel_of_tile(tile, kind, _PARAMETERS, head, _LEFT, _TARGET)
    body.__module__, body.__qualname__ = __name__, "product"

    def launch(f: Fields, limits: Limits) -> Launch:
        return launch_of(tile, f, limits, (f["outer"] * f["inner"], f["rows"], f["columns"]))

    return Body(body, launch)
