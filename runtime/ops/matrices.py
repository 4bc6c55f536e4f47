"""Det, AffineGrid, and com.microsoft's Inverse."""

from __future__ import annotations

from ...kernels.cpu.matrices import affine_grid, determinant, inverse
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import product
from ..tensors import short_name
from . import checks
from .registry import Operator, register


def _float(node: Node) -> Info:
    x = node.required(0)
    if x.dtype not in ("float32", "float64"):
        raise OnHost(f"{node.op_type} of {x.dtype}")
    return x


def _infer_determinant(node: Node) -> list[Info]:
    return [node.result(_float(node).dims[:-2])]


def _infer_inverse(node: Node) -> list[Info]:
    return [node.result(_float(node).dims)]


def _lower_matrices(emit: Emission, node: Node) -> None:
    """Emit what is computed of each matrix by its own, in room for one or two of them."""
    x = emit.ordered(emit.tensor(node.values[0]))
    n = x.shape[-1]
    emit.check(x.shape[-2], n, f"rows and columns of {x.name!r}")
    kernel, matrices = (determinant, 1) if node.op_type == "Det" else (inverse, 2)
    y, space = emit.output(node), (8 * matrices * n * n + 63) // 64 * 64
    emit.step(
        kernel(short_name(x.dtype)), outputs=[y], flops=x.size * n, x=x, y=y,
        count=product(x.shape[:-2]), n=n, scratch=emit.workspace(space), scratch_bytes=space,
    )  # fmt: skip


def _infer_affine_grid(node: Node) -> list[Info]:
    theta, sizes = _float(node), node.required(1).sizes()
    if len(sizes) not in (4, 5):
        refuse(node, "number of sizes", len(sizes), "4 or 5")
    return [node.result((sizes[0], *sizes[2:], len(sizes) - 2), theta.dtype)]


def _lower_affine_grid(emit: Emission, node: Node) -> None:
    theta, y = emit.ordered(emit.tensor(node.values[0])), emit.output(node)
    rank = len(y.shape) - 2
    for axis, size in enumerate((y.shape[0], rank, rank + 1)):
        emit.check(theta.shape[axis], size, f"size of axis {axis} of {theta.name!r}")
    depth = y.shape[1] if rank == 3 else 1
    emit.step(
        affine_grid(short_name(theta.dtype), rank), outputs=[y], flops=8 * product(y.shape),
        theta=theta, y=y, images=y.shape[0], depth=depth, height=y.shape[-3], width=y.shape[-2],
        align_corners=int(node.attribute("align_corners", 0) != 0),
    )  # fmt: skip


def _check_square(node: Node) -> None:
    checks.least_rank(2)(node)
    x = node.input(0)
    if x is None or x.shape is None:
        return
    rows, columns = x.dims[-2:]
    if isinstance(rows, int) and isinstance(columns, int) and rows != columns:
        refuse(node, f"shape of {x.name!r}", list(x.dims), "square matrices")


register(
    "Det",
    Operator(rules=(_check_square,), infer=_infer_determinant, lower=_lower_matrices),
)
register(
    "Inverse",
    Operator(rules=(_check_square,), infer=_infer_inverse, lower=_lower_matrices),
    "com.microsoft",
)
register(
    "AffineGrid",
    Operator(
        rules=(checks.least_rank(3, exact=True),),
        infer=_infer_affine_grid,
        lower=_lower_affine_grid,
    ),
)
