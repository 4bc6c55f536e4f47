"""Products of float32 by multiply-adds in the simulator, against numpy."""

import pytest
from sardonyx.kernels.cuda.tensor_cores.epilogue import Epilogue
from sardonyx.kernels.cuda.tensor_cores.float_product import float_product
from sardonyx.kernels.cuda.tensor_cores.tiles import FloatTile

from .conftest import bank_conflicts


@pytest.mark.parametrize("b_order", ["nk", "kn"])
@pytest.mark.parametrize("is_aligned", [True, False])
def test_products_of_sizes_that_no_tile_divides(multiply, b_order, is_aligned):
    tile = FloatTile(64, 64, 3, b_order, is_aligned)
    multiply(float_product, tile, 70, 41, 21, epilogue=Epilogue("column"))


def test_batches_and_other_orders_of_threads(multiply):
    multiply(float_product, FloatTile(64, 64, 2), 9, 33, 40, batch=2, seed=2)


def test_the_tile_of_128(multiply):
    multiply(float_product, FloatTile(), 128, 128, 9)


def test_stores_and_loads_of_operands_meet_all_banks(multiply):
    lost = bank_conflicts(multiply(float_product, FloatTile(64, 64, 2), 64, 64, 16))
    assert not lost["copy_element 4"], lost
    # Lanes of a warp read four runs of A, and eight of B: neighbours read the same.
    assert not lost["stage_sums 16"], lost
