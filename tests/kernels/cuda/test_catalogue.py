"""Every kernel of the catalogue, as it is compiled, runs one or two blocks in the simulator."""

import pytest
from sardonyx.kernels.cuda.catalogue import BEHIND, entries, epilogue_of
from sardonyx.kernels.cuda.tensor_cores.attention import attention
from sardonyx.kernels.cuda.tensor_cores.bulk_product import bulk_product
from sardonyx.kernels.cuda.tensor_cores.float_product import float_product
from sardonyx.kernels.cuda.tensor_cores.product import product
from sardonyx.kernels.cuda.tensor_cores.tiles import FloatTile, GroupTile

from .test_attention import attended
from .test_convolution import convolve

ENTRIES = {entry.name: entry for entry in entries()}


def of_family(word):
    """Kernels but those with expressions, which numba's functions are needed for (`tests/cuda`)."""
    return [name for name in ENTRIES if word in name and not name.endswith(tuple(BEHIND))]


@pytest.mark.parametrize("name", of_family("product"))
def test_products(multiply, name):
    tile = ENTRIES[name].tile
    makes = {GroupTile: bulk_product, FloatTile: float_product}
    make = makes.get(type(tile), product)
    assert ENTRIES[name].make() is make(tile, epilogue_of(tile))
    multiply(make, tile, tile.m - 3, tile.n - 5, tile.k + 3, epilogue=epilogue_of(tile))


@pytest.mark.parametrize("name", of_family("convolution"))
def test_convolutions(rng, name):
    tile = ENTRIES[name].tile
    shape, filters = (1, 9, 8, 32), tile.n - 16
    epilogue = epilogue_of(tile)
    convolve(rng, tile, shape, filters, (2, 1), (1, 1), (1, 1), (1, 0), epilogue=epilogue)


@pytest.mark.parametrize("name", of_family("attention"))
def test_attention(rng, name):
    tile = ENTRIES[name].tile
    assert ENTRIES[name].make() is attention(tile)
    attended(rng, tile, 70, 90, tile.head, past=20)
