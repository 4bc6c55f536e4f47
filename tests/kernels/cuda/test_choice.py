"""Tiles by the machine model."""

import pytest
from sardonyx.kernels.cuda.catalogue import entries
from sardonyx.kernels.cuda.machines import GPUS
from sardonyx.kernels.cuda.tensor_cores.choice import product_tile, product_tiles
from sardonyx.kernels.cuda.tensor_cores.expectation import fraction
from sardonyx.kernels.cuda.tensor_cores.tiles import FloatTile, GroupTile, Tile

BF16 = Tile("bf16", "bf16", 64, 64, 32, 32, 3)


def test_large_products_take_wgmma_where_there_is_one():
    tile, _ = product_tile(BF16, GPUS["H200"], 8192, 8192, 8192)
    assert isinstance(tile, GroupTile)
    assert (tile.m, tile.n) == (128, 256)
    assert not isinstance(product_tile(BF16, GPUS["A100"], 8192, 8192, 8192)[0], GroupTile)


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
@pytest.mark.parametrize("like", [BF16, FloatTile()])
def test_few_rows_take_small_tiles(gpu, like):
    large, small = (product_tile(like, gpu, m, 2048, 2048)[0] for m in (4096, 64))
    assert small.m * small.n <= large.m * large.n
    assert small.m == 64


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
def test_all_tiles_fit_and_no_fraction_is_above_one(gpu):
    for like in (BF16, Tile("s8", "i32", 64, 64, 32, 32, 3), FloatTile()):
        for tile, blocks in product_tiles(like, gpu):
            assert blocks * (tile.shared_bytes + gpu.RESERVED) <= gpu.shared_bytes
            assert 0 < fraction(tile, gpu, blocks, 8192, 8192, 8192) <= 1


@pytest.mark.parametrize("gpu", GPUS.values(), ids=GPUS)
@pytest.mark.parametrize(
    "like",
    [
        *(Tile(element, "i32", 64, 64, 32, 32, 3) for element in ("s8", "u8")),
        *(Tile("tf32", "f32", 64, 64, 32, 32, 3, "nk", is_aligned) for is_aligned in (True, False)),
        *(FloatTile(64, 64, 4, order, even) for order in ("nk", "kn") for even in (True, False)),
    ],
    ids=str,
)
def test_all_that_can_be_chosen_is_compiled(gpu, like):
    compiled = {entry.tile for entry in entries()}
    assert {tile for tile, _ in product_tiles(like, gpu)} <= compiled
