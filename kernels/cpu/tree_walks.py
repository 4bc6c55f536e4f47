"""Nodes of decision trees, and sixteen walks from roots to leaves side by side.

A walk is a chain of dependent loads, so independent ones hide each other's latency. They
take steps without branches until all have ended.

A node is a bound and a link, integers of one size. Above its lowest bit, which tells leaves, and
up to ``child_shift`` a link has the place of a feature among a row's keys, and then that of the
first of two children, which lie side by side. A walk goes on at the second one where the key is
less than the bound: keys have no sign, so that the carry of the comparison is what is added. A leaf
is its own first child, its feature one whose key is above all, and instead of a bound it has what
is wanted of it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .. import simd
from ..registry import Pointer

WALKS = 16
"""Walks side by side; the keys of a feature are so many, too."""
LEAF = 1
"""Bit of a link that tells a leaf."""
_STEPS = 3  # between two looks at whether all walks have ended


class Nodes(NamedTuple):
    """Table of nodes; links are taken apart by a mask and a shift."""

    table: Pointer
    feature_mask: int
    child_shift: int


def make_walks(kind: str) -> Any:
    """Make functions of walks by keys of a type: several trees or several rows.

    ``several_trees(nodes, tree, keys, places)`` walks trees from a number on with a row, and
    ``several_rows(nodes, tree, keys, places)`` one tree with as many rows. A key of the first row
    is followed by those of the others. They store the places of the leaves (int64).
    """
    load, store_i64 = getattr(simd, f"load_{kind}"), simd.store_i64

    @njit
    def link(nodes: Nodes, at: int) -> Any:
        return np.int64(load(nodes.table, 2 * at + 1))

    @njit
    def step(nodes: Nodes, at: int, keys: Pointer, lane: int) -> Any:
        own = link(nodes, at)
        key = load(keys, (own & nodes.feature_mask) + lane)
        return (own >> nodes.child_shift) + np.int64(key < load(nodes.table, 2 * at))

    @njit
    def steps(nodes: Nodes, four: Any, keys: Pointer, lane: int, apart: int) -> Any:
        a, b, c, d = four
        return (
            step(nodes, a, keys, lane), step(nodes, b, keys, lane + apart),
            step(nodes, c, keys, lane + 2 * apart), step(nodes, d, keys, lane + 3 * apart),
        )  # fmt: skip

    @njit
    def ends(nodes: Nodes, four: Any) -> Any:
        a, b, c, d = four
        return link(nodes, a) & link(nodes, b) & link(nodes, c) & link(nodes, d)

    @njit
    def keep(places: Pointer, first: int, four: Any) -> None:
        for i, at in enumerate(four):
            store_i64(places, first + i, at)

    @njit
    def roots(first: int, apart: int) -> Any:
        return first, first + apart, first + 2 * apart, first + 3 * apart

    def make(apart: int) -> Any:
        own = 1 - apart

        @njit
        def walks(nodes: Nodes, tree: int, keys: Pointer, places: Pointer) -> None:
            p, q, r, s = (
                roots(tree, own), roots(tree + 4 * own, own),
                roots(tree + 8 * own, own), roots(tree + 12 * own, own),
            )  # fmt: skip
            while not ends(nodes, p) & ends(nodes, q) & ends(nodes, r) & ends(nodes, s) & LEAF:
                for _ in range(_STEPS):
                    p = steps(nodes, p, keys, 0, apart)
                    q = steps(nodes, q, keys, 4 * apart, apart)
                    r = steps(nodes, r, keys, 8 * apart, apart)
                    s = steps(nodes, s, keys, 12 * apart, apart)
            keep(places, 0, p)
            keep(places, 4, q)
            keep(places, 8, r)
            keep(places, 12, s)

        return walks

    return make(0), make(1)
