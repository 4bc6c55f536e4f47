"""Races in shared memory: kernels have none, and missing barriers are told."""

import pytest
from sardonyx.kernels.cuda.basic import load, store, synchronize, thread_index
from sardonyx.kernels.cuda.simulator.block import launch
from sardonyx.kernels.cuda.simulator.memory import Memory
from sardonyx.kernels.cuda.simulator.races import Race
from sardonyx.kernels.cuda.tensor_cores import ring
from sardonyx.kernels.cuda.tensor_cores.float_product import float_product
from sardonyx.kernels.cuda.tensor_cores.product import product
from sardonyx.kernels.cuda.tensor_cores.tiles import FloatTile, Tile

PUT, GET = store("shared", "i32"), load("shared", "i32")


def run(kernel):
    launch(kernel, (1,), 64, (), Memory(), 1024, finds_races=True)


def test_a_barrier_orders_stores_and_loads():
    def kernel():
        PUT(4 * thread_index(), 1)
        synchronize()
        GET(4 * (63 - thread_index()))
        synchronize()
        PUT(0, 2) if thread_index() == 5 else None

    run(kernel)


@pytest.mark.parametrize("first", [PUT, lambda place, value: GET(place)])
@pytest.mark.parametrize("second", [PUT, lambda place, value: GET(place)])
def test_without_one_two_threads_race_unless_both_read(first, second):
    def kernel():
        if thread_index() == 3:
            first(8, 1)
        if thread_index() == 4:
            second(8, 1)

    if PUT in (first, second):
        with pytest.raises(Race, match="thread 3"):
            run(kernel)
    else:
        run(kernel)


CASES = [
    (product, Tile("bf16", "bf16", 64, 64, 32, 32, 2)),
    (product, Tile("f16", "f32", 64, 64, 32, 32, 3, "kn", False)),
    (product, Tile("s8", "i32", 64, 64, 32, 32, 3)),
    (float_product, FloatTile(64, 64, 2)),
    (float_product, FloatTile(64, 64, 3, "kn")),
]


@pytest.mark.parametrize(("make", "tile"), CASES)
def test_products_have_none(multiply, make, tile):
    multiply(make, tile, 60, 50, 5 * tile.k - 3, finds_races=True)


@pytest.mark.parametrize("missing", range(4))
@pytest.mark.parametrize(("make", "tile"), [CASES[0], CASES[3]])
def test_each_barrier_is_needed(multiply, monkeypatch, make, tile, missing):
    """The first of the ring is at the first stage, the last two around the sums."""
    stages = 4
    count = 0

    def barrier():
        nonlocal count
        # Each thread comes once for each stage and twice for the sums.
        mine, count = count, count + 1
        which = seen.setdefault(thread_index(), [])
        which.append(mine)
        if len(which) - 1 != (0, 2, stages, stages + 1)[missing]:
            synchronize()

    seen: dict[int, list[int]] = {}
    make.cache_clear()
    monkeypatch.setattr(ring, "synchronize", barrier)
    with pytest.raises((Race, AssertionError)):
        multiply(make, tile, 64, 64, stages * tile.k, finds_races=True)
    make.cache_clear()
