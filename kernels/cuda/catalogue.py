"""Catalogue of kernels on tensor cores: what is compiled ahead, and what each launch assumes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .machines import GPUS, Gpu
from .offline import Compiled, compile_kernel
from .tensor_cores import (
    attention,
    bulk_product,
    convolution,
    float_convolution,
    float_product,
    matrices,
    product,
    windows,
)
from .tensor_cores.epilogue import Epilogue
from .tensor_cores.tiles import Element, FloatTile, GroupTile, Result, Tile
from .tensor_cores.warp_attention import AttentionTile


@dataclass(frozen=True)
class Entry:
    """A kernel and its launch bounds.

    Attributes
    ----------
    name : str
        Family, element, tile and variant.
    make : function
        Gives the kernel.
    parameters : str
        See `offline.compile_kernel`.
    tile : Tile, FloatTile or AttentionTile
        How it cuts its work.
    shared_bytes, blocks : int
        Shared memory of a block, and blocks that a multiprocessor has to hold.
    targets : tuple of str
        What it is for.
    """

    name: str
    make: Callable[[], Callable[..., None]]
    parameters: str
    tile: Tile | FloatTile | AttentionTile
    shared_bytes: int
    blocks: int
    targets: tuple[str, ...]

    def compiled(self, target: str) -> Compiled:
        """Compile it for one of its targets."""
        return _compiled(self, target)

    def gpus(self, target: str) -> list[Gpu]:
        """Return the GPUs that a target's code is for."""
        return [gpu for gpu in GPUS.values() if gpu.target[:5] == target[:5]]


@functools.cache
def _compiled(entry: Entry, target: str) -> Compiled:
    threads = entry.tile.threads
    return compile_kernel(entry.make(), entry.parameters, target, threads, entry.blocks)


_ALL = ("sm_80", "sm_89", "sm_90")
_LARGE = ("sm_80", "sm_90")
"""Targets whose blocks may have more than 99 KiB of shared memory."""


def _name(family: str, tile: Any, variant: str = "") -> str:
    return f"{family} {tile.element} {tile.m} x {tile.n}" + (f" {variant}" if variant else "")


_RESIDUAL = Epilogue("column", None, "relu(add(x0,x1))", ("v",))
_GELU = Epilogue(
    "column", None, "mul(mul(x0,0.5),add(erf(mul(x0,0.7071067690849304)),1.0))"
)  # fmt: skip
_POINT = Epilogue("", None, "add(x0,x1)", ("v",))
BEHIND = {"residual": _RESIDUAL, "gelu": _GELU, "point": _POINT}
"""Epilogues with expressions that kernels are compiled with, too, by the names of variants."""


def epilogue_of(tile: Tile | FloatTile, variant: str = "") -> Epilogue:
    """Return the epilogue that a tile is compiled with: what most layers have."""
    if variant in BEHIND:
        return BEHIND[variant]
    if tile.sum_kind == "s32":
        return Epilogue("" if tile.result == "i32" else "scaled")
    return Epilogue("column")


def _by_warps(tile: Tile, targets: tuple[str, ...], variant: str = "") -> Entry:
    make = functools.partial(product.product, tile, epilogue_of(tile, variant))
    words = "i" * len(matrices.PARAMETERS)
    name = _name("product", tile, variant)
    return Entry(name, make, words, tile, tile.shared_bytes, 1, targets)


def _by_groups(tile: GroupTile, variant: str = "") -> Entry:
    make = functools.partial(bulk_product.bulk_product, tile, epilogue_of(tile, variant))
    words, name = "i" * len(matrices.PARAMETERS), _name("bulk product", tile, variant)
    return Entry(name, make, words, tile, tile.shared_bytes, 1, ("sm_90a",))


def _windows(tile: Tile, targets: tuple[str, ...] = _ALL, variant: str = "") -> Entry:
    make = functools.partial(convolution.convolution, tile, epilogue_of(tile, variant))
    words, size = "i" * len(windows.PARAMETERS), windows.shared_bytes(tile)
    return Entry(_name("convolution", tile, variant), make, words, tile, size, 1, targets)


def _floats(tile: FloatTile, variant: str) -> Entry:
    make = functools.partial(float_product.float_product, tile, epilogue_of(tile, variant))
    words, name = "i" * len(matrices.PARAMETERS), _name("product", tile, variant)
    # Sums of 128 rows of two blocks take more than 99 KiB.
    targets = _LARGE if tile.m > 64 else _ALL
    return Entry(name, make, words, tile, tile.shared_bytes, 2, targets)


def _attention(tile: AttentionTile) -> Entry:
    make = functools.partial(attention.attention, tile)
    words = "".join("f" if name == "scale" else "i" for name in attention.PARAMETERS)
    name = f"attention {tile.element}, heads of {tile.head}" + ", causal" * tile.is_causal
    return Entry(name, make, words, tile, tile.shared_bytes, 1, _ALL)


def _float_windows(tile: FloatTile, variant: str = "") -> Entry:
    make = functools.partial(float_convolution.float_convolution, tile, Epilogue("column"))
    words, size = "i" * len(windows.PARAMETERS), windows.shared_bytes(tile)
    targets = _LARGE if tile.m > 64 else _ALL
    return Entry(_name("convolution", tile, variant), make, words, tile, size, 2, targets)


_RESULTS: tuple[tuple[Element, Result], ...] = (
    ("bf16", "bf16"),
    ("tf32", "f32"),
    ("s8", "i32"),
    ("u8", "i32"),
)


_OF_FLOATS = ("residual", "gelu")
_BYTES: tuple[Element, ...] = ("s8", "u8")


def entries() -> list[Entry]:
    """Return all kernels."""
    found = []
    for element, result in _RESULTS:
        found += [
            _by_warps(Tile(element, result, 128, 128, 64, 32, 3), _ALL),
            _by_warps(Tile(element, result, 128, 256, 64, 64, 3), _LARGE),
            _by_warps(Tile(element, result, 128, 64, 32, 32, 3), _ALL),
            _by_warps(Tile(element, result, 64, 64, 32, 32, 3), _ALL),
            _by_groups(GroupTile(element, result, 128, 256, 64, 256, 4)),
            _by_groups(GroupTile(element, result, 128, 128, 64, 128, 4)),
            _windows(Tile(element, result, 128, 128, 64, 32, 3)),
        ]
    tf32 = Tile("tf32", "f32", 128, 128, 64, 32, 3)
    found += [
        _by_warps(Tile("f16", "f16", 128, 128, 64, 32, 3), _ALL),
        _by_groups(GroupTile("f16", "f16", 128, 256, 64, 256, 4)),
        _by_warps(Tile("bf16", "bf16", 128, 128, 64, 32, 3, "kn"), _ALL, "rows of B"),
        _by_warps(Tile("tf32", "f32", 64, 64, 32, 32, 3, "nk", False), _ALL, "unaligned"),
        _by_warps(Tile("s8", "bf16", 128, 128, 64, 32, 3), _ALL, "scaled"),
        _by_groups(GroupTile("s8", "bf16", 128, 256, 64, 256, 4), "scaled"),
        *(_by_warps(tf32, _ALL, variant) for variant in _OF_FLOATS),
        *(_by_groups(GroupTile("tf32", "f32", 128, 256, 64, 256, 4), each) for each in _OF_FLOATS),
        *(
            _by_warps(Tile(each, "i32", 64, 64, 32, 32, 3, "nk", False), _ALL, "unaligned")
            for each in _BYTES
        ),
        *(_windows(Tile(each, "i32", 64, 64, 32, 32, 3)) for each in _BYTES),
        _by_warps(Tile("u8", "i32", 128, 256, 64, 64, 3), _LARGE, "point"),
        _windows(Tile("u8", "i32", 128, 256, 64, 64, 3), _LARGE, "point"),
        _windows(Tile("s8", "i32", 128, 64, 32, 32, 3), _ALL, "point"),
        _by_groups(GroupTile("u8", "i32", 128, 256, 64, 256, 4), "point"),
        _windows(tf32, _ALL, "residual"),
        _windows(Tile("tf32", "f32", 128, 256, 64, 64, 3), _LARGE),
        _windows(Tile("tf32", "f32", 128, 64, 32, 32, 3)),
        _windows(Tile("tf32", "f32", 64, 64, 32, 32, 3)),
        *(_attention(AttentionTile("bf16", "bf16", head)) for head in (64, 128)),
        _attention(AttentionTile("f16", "f16", 128, is_causal=True)),
    ]
    for m, n in ((128, 128), (64, 128), (64, 64)):
        found += [
            _floats(FloatTile(m, n), "columns of B"),
            _floats(FloatTile(m, n, b_order="kn"), "rows of B"),
            _float_windows(FloatTile(m, n)),
        ]
    found += [_floats(FloatTile(b_order="kn"), variant) for variant in _OF_FLOATS]
    found += [
        _floats(FloatTile(64, 64, 4, order, False), f"unaligned {order}") for order in ("nk", "kn")
    ]
    return [*found, _float_windows(FloatTile(64, 64, 4, "nk", False), "unaligned")]
