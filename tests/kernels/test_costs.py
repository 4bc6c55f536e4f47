"""Cost model: its terms, the tables of families, and what is kept of a machine."""

from __future__ import annotations

import dataclasses
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from sardonyx.kernels import folders, machine_costs
from sardonyx.kernels.cost_tables import FAMILIES, family_of
from sardonyx.kernels.costs import Costs, StreamCosts, tile_terms
from sardonyx.kernels.cpu import packing
from sardonyx.kernels.machine_costs import costs_given
from sardonyx.kernels.target import LANES, Target, target

COSTS = FAMILIES[0].costs


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """Folder of a machine of which nothing is known."""
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path / "cache"))
    machine_costs._machine_costs.cache_clear()
    yield tmp_path / "cache"
    machine_costs._machine_costs.cache_clear()


def processor(cpu: str, lanes: int) -> Target:
    registers = 32 if lanes == 16 else 16
    return Target(cpu, "", lanes, registers, 32 << 10, 1 << 20, 32 << 20)


def test_terms_count_what_a_tile_does():
    """Of 6 rows and 2 vectors, and a sum of 10: 120 multiply-adds; 9 rows meet 8 lines."""
    assert tile_terms(6, 2, 10, 64, 8.0) == (120, 60, 20, 0, 0, 12, 6, 1)
    assert tile_terms(1, 3, 10, 64, 8.0)[3] == 10 * (8 - 3)
    lines = max(target().l1 // 4096, 1)
    assert tile_terms(lines + 1, 1, 10, 4096, 8.0)[4] == 10
    assert tile_terms(lines + 1, 1, 10, 2048, 8.0)[4] == 0


@pytest.mark.parametrize(
    ("cpu", "lanes", "name"),
    [
        ("znver4", 16, "AMD Zen 4"),
        ("znver4", 8, "AVX2 on AMD Zen 4"),
        ("znver3", 8, "AMD Zen 2 and 3"),
        ("icelake-server", 16, "Intel Skylake to Ice Lake"),
        ("emeraldrapids", 16, "Intel Sapphire and Emerald Rapids"),
        ("diamondrapids", 16, "AVX-512"),
        ("haswell", 8, "AVX2 and narrower vectors"),
        ("generic", 4, "AVX2 and narrower vectors"),
    ],
)
def test_a_processor_has_the_table_of_its_family(cpu, lanes, name):
    assert family_of(processor(cpu, lanes)).name == name


@pytest.mark.parametrize("cpu", ["znver4", "cascadelake", "generic"])
def test_half_of_wide_vectors_has_a_table_of_its_own(cpu):
    halved = processor(cpu, 8)
    halved = dataclasses.replace(halved, registers=32)
    assert "AVX-512 of 256 bits" in family_of(halved).name
    assert family_of(halved).costs != family_of(processor(cpu, 8)).costs


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_costs_are_kept_as_a_line(family):
    assert Costs.from_text(family.costs.to_text()) == family.costs


@pytest.mark.parametrize("line", ["", "[]", "[1]", "[[1,2],[],[],1,[]]", '"text"', "{"])
def test_a_line_that_states_no_costs_is_refused(line):
    with pytest.raises(ValueError):
        Costs.from_text(line)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -1.0])
def test_costs_are_finite_and_not_negative(number):
    bad = COSTS._replace(tile=COSTS.tile._replace(spread=number))
    with pytest.raises(ValueError, match="finite and not negative"):
        Costs.from_text(bad.to_text())


@pytest.mark.parametrize("rates", [(0, 32, 1000), (32, 0, 1000), (32, 32, 1 << 50)])
def test_rates_that_compiled_code_cannot_divide_by_are_refused(rates):
    bad = COSTS._replace(sharing=type(COSTS.sharing)(*rates))
    with pytest.raises(ValueError, match="rates are whole numbers"):
        Costs.from_text(bad.to_text())


def test_what_was_measured_takes_the_place_of_the_family(cache):
    other = COSTS._replace(step=7.0)
    before = machine_costs.costs_digest()
    assert machine_costs.keep(other)
    assert machine_costs.machine_costs() == machine_costs.measured_costs() == other
    assert machine_costs.costs_digest() != before
    machine_costs.discard()
    assert machine_costs.measured_costs() is None
    assert machine_costs.costs_digest() == before


def test_what_is_kept_is_of_one_processor(cache, monkeypatch):
    """The folder may move to another machine, or be shared by some."""
    machine_costs.keep(COSTS._replace(step=7.0))
    monkeypatch.setattr(machine_costs, "target", lambda: processor("znver4", 16))
    assert machine_costs.measured_costs() is None


def test_without_a_folder_nothing_is_kept(monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", "off")
    assert not machine_costs.keep(COSTS)


def test_costs_that_are_given_stand_for_the_machines():
    other = COSTS._replace(step=7.0)
    before = machine_costs.machine_costs()
    with costs_given(other):
        assert machine_costs.machine_costs() is other
        with ThreadPoolExecutor(1) as pool:  # another thread's sessions are its own
            assert pool.submit(machine_costs.machine_costs).result() == before
    assert machine_costs.machine_costs() == before


def test_an_unknown_processor_is_told_once_that_measuring_helps(cache, monkeypatch):
    monkeypatch.setattr(machine_costs, "target", lambda: processor("diamondrapids", 16))
    monkeypatch.setattr(folders, "_warned", set())
    with pytest.warns(RuntimeWarning, match="diamondrapids.*sardonyx machine"):
        assert machine_costs.machine_costs() == family_of(processor("diamondrapids", 16)).costs
    machine_costs._machine_costs.cache_clear()
    monkeypatch.setattr(folders, "_warned", set())
    with warnings.catch_warnings():  # another process
        warnings.simplefilter("error")
        machine_costs.machine_costs()


def test_tiles_are_chosen_by_the_costs():
    """Where numbers cost a lot to spread, wide tiles are best; where weights do, tall ones."""
    spread = COSTS._replace(tile=COSTS.tile._replace(spread=5.0))
    with costs_given(spread):
        wide = packing.choose_tile(None, 4 * LANES, 1000)
    stores = COSTS._replace(tile=COSTS.tile._replace(weight=50.0))
    with costs_given(stores):
        tall = packing.choose_tile(None, 4 * LANES, 1000)
    assert wide[1] == 4 and tall[1] < 4 and tall[0] > wide[0]


def test_rows_that_share_lines_of_the_cache_are_few():
    """With 4096 bytes between rows, those that a cache cannot hold cost more loads."""
    tall = COSTS._replace(tile=COSTS.tile._replace(conflict=50.0, spread=0.0, weight=1.0))
    with costs_given(tall):
        apart = packing.rank_tiles(None, 4 * LANES, 1024, 4096 + 64)[0]
        together = packing.rank_tiles(None, 4 * LANES, 1024, 4096)[0]
    assert together[0] <= max(target().l1 // 4096, 1) or together[0] < apart[0]


def test_a_byte_costs_what_its_level_does():
    streams = StreamCosts(1.0, 2.0, 3.0, 1.0, 3.0)
    found = target()
    assert streams.of(found.l2 // 2) == streams.of(0) == 1.0
    assert streams.of(found.l2) == streams.of(found.l3 // 2) == 2.0
    assert streams.of(found.l3) == 3.0


def test_many_weights_of_few_pixels_take_narrow_tiles():
    """Vectors of weights that come from afar are hidden the less the more a step takes of them."""
    costly = COSTS._replace(tile=COSTS.tile._replace(panel=20.0))
    with costs_given(costly):
        few = packing.rank_tiles(16, 4 * LANES, 1024, 4096 + 64)[0]
        many = packing.rank_tiles(16, 4 * LANES, 1024, 4096 + 64, rows=1_000_000)[0]
    with costs_given(COSTS):
        free = packing.rank_tiles(16, 4 * LANES, 1024, 4096 + 64)[0]
    assert few[1] == 1 and many == free


def test_images_that_are_read_from_afar_take_wide_tiles():
    """Each panel reads an image anew, unless the first-level cache holds it."""
    even = COSTS.tile._replace(result=0.0, row=0.0, tile=0.0, gap=0.0, conflict=0.0)
    costs = COSTS._replace(tile=even, streams=COSTS.streams._replace(near=1.0))
    with costs_given(costs):
        assert packing.choose_tile(10_000, 4 * LANES, 200)[1] == 4
        far, near = (packing.pixel_cost(width, 4 * LANES, 8) for width in (14 * 1000, 14))
    assert far - near == pytest.approx(8 * 4)


def test_blocks_of_weights_are_those_of_the_cache_that_is_worth_it():
    """Weights are taken from the second level where that costs less than to interrupt sums."""
    for reload, row, of_first in ((1.0, 1.0, True), (0.0, 1.0, False), (1.0, 1e4, False)):
        costs = COSTS._replace(tile=COSTS.tile._replace(row=row), reload=reload)
        with costs_given(costs):
            assert (packing.panel_bytes(4, 2) <= target().l1 // 2) is of_first


def test_requests_are_as_far_ahead_as_memory_is_away() -> None:
    streams = FAMILIES[0].costs.streams
    assert streams.bytes_ahead() == 2 * streams.bytes_under_way() == 4096
    assert streams._replace(latency=4 * streams.latency).bytes_ahead() == 16384
    assert streams._replace(latency=0.0).bytes_ahead() == 1024
    assert streams._replace(memory=0.0).bytes_ahead() == 16384
