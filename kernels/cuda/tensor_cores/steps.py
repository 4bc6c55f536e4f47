"""Kernels of products and convolutions as steps of programs, by the words of tile and epilogue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...ref import KernelRef
from ..kernel import Body, Bounds, Fields, cuda_factory
from . import bulk_product, convolution, float_convolution, float_product, matrices, windows
from . import product as warps
from .epilogue import Epilogue
from .tensor_map import TensorMap
from .tiles import FloatTile, GroupTile, Tile

Word = int | str
_MODULE = __name__.partition(".")[2]


def words_of(tile: Tile | FloatTile, epilogue: Epilogue) -> tuple[Word, ...]:
    """Return the words that name a kernel, without its family.

    An epilogue with a function of its own has no name.
    """
    assert epilogue.function is None
    sizes: tuple[Word, ...] = (tile.m, tile.n)
    if isinstance(tile, Tile):
        sizes = (*sizes, tile.warp_m, tile.warp_n)
    rest = tile.stages, tile.b_order, int(tile.is_aligned)
    after = epilogue.bias, epilogue.expression, "".join(epilogue.operands)
    return (tile.element, tile.result, *sizes, *rest, *after)


def _read(kind: Callable[..., Any], words: tuple[Any, ...]) -> tuple[Any, Epilogue]:
    """Return tile and epilogue of words."""
    *tile, order, is_aligned, bias, expression, operands = words
    own = tile[2:] if kind is FloatTile else tile
    return kind(*own, order, bool(is_aligned)), Epilogue(bias, None, expression, tuple(operands))


def _body(
    tile: Tile | FloatTile, epilogue: Epilogue, make: Callable[..., Any], launch: Any,
    shared_bytes: int,
) -> Body | None:  # fmt: skip
    """Return a kernel; None where its expression has no form on a GPU."""
    if epilogue.expression:
        from ..expressions import NoForm

        try:
            function = make(tile, epilogue)
        except NoForm:
            return None
    else:
        function = make(tile, epilogue)
    maps = None
    if isinstance(tile, GroupTile):

        def maps(fields: Fields) -> dict[str, Any]:
            return maps_of(tile, fields)

    bounds = Bounds(tile.threads, blocks_of(tile), shared_bytes)
    return Body(function, lambda f, _: launch(tile, f), None, bounds, maps)


def blocks_of(tile: Tile | FloatTile) -> int:
    """Return the blocks that a multiprocessor has to hold at a time."""
    return 2 if isinstance(tile, FloatTile) else 1


def maps_of(tile: GroupTile, f: Fields) -> dict[str, TensorMap]:
    """Return the tensor maps of both operands, whose matrices lie along one axis."""
    count, found = f["outer"] * f["inner"], {}
    for name, rows, box in (("a", f["m"], tile.m), ("b", f["n"], tile.n)):
        row = f[f"{name}_row"]
        apart = f[f"{name}_inner"] if f["inner"] > 1 else f[f"{name}_outer"]
        sizes = (f["k"], rows, count)
        found[name] = TensorMap(tile.element, f[name], sizes, row, apart or row, (tile.k, box))
    return found


def _product(kind: Any, make: Callable[..., Any], words: tuple[Any, ...]) -> Body | None:
    tile, epilogue = _read(kind, words)
    return _body(tile, epilogue, make, matrices.launch_of, tile.shared_bytes)


def _convolution(kind: Any, make: Callable[..., Any], words: tuple[Any, ...]) -> Body | None:
    tile, epilogue = _read(kind, words)
    return _body(tile, epilogue, make, windows.launch_of, windows.shared_bytes(tile))


@cuda_factory
def warp_product(*words: Word) -> Body | None:
    """Product by `mma.sync`."""
    return _product(Tile, warps.product, words)


@cuda_factory
def group_product(*words: Word) -> Body | None:
    """Product by wgmma; its matrices lie along one axis at most."""
    return _product(GroupTile, bulk_product.bulk_product, words)


@cuda_factory
def multiply_add_product(*words: Word) -> Body | None:
    """Product of float32 by multiply-adds."""
    return _product(FloatTile, float_product.float_product, words)


@cuda_factory
def warp_convolution(*words: Word) -> Body | None:
    """Convolution by `mma.sync`."""
    return _convolution(Tile, convolution.convolution, words)


@cuda_factory
def multiply_add_convolution(*words: Word) -> Body | None:
    """Convolution of float32 by multiply-adds."""
    return _convolution(FloatTile, float_convolution.float_convolution, words)


def product_step(tile: Tile | FloatTile, epilogue: Epilogue) -> Any:
    """Return the kernel of a product; None where there is none."""
    words = words_of(tile, epilogue)
    if isinstance(tile, FloatTile):
        return multiply_add_product(*words)
    return (group_product if isinstance(tile, GroupTile) else warp_product)(*words)


def convolution_step(tile: Tile | FloatTile, epilogue: Epilogue) -> Any:
    """Return the kernel of a convolution; None where there is none."""
    family = multiply_add_convolution if isinstance(tile, FloatTile) else warp_convolution
    return family(*words_of(tile, epilogue))


_KINDS = {
    "warp_product": Tile, "group_product": GroupTile, "multiply_add_product": FloatTile,
    "warp_convolution": Tile, "multiply_add_convolution": FloatTile,
}  # fmt: skip


def tile_of(ref: KernelRef) -> Tile | FloatTile | None:
    """Return the tile of a kernel by its name; None of a kernel that has none."""
    if ref.module != _MODULE or ref.function not in _KINDS:
        return None
    tile: Tile | FloatTile = _read(_KINDS[ref.function], ref.parameters)[0]
    return tile
