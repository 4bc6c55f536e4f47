import json

import pytest
from sardonyx.tools import roofline as module
from sardonyx.tools.roofline import SIZES, Roofline, roofline

MACHINE = Roofline("test", 1, 100.0, tuple(70.0 - 10 * index for index in range(len(SIZES))))


def test_bandwidth_is_measured_at_the_sizes_and_interpolated_between():
    assert MACHINE.bandwidth(1) == 70
    assert MACHINE.bandwidth(SIZES[2]) == 50
    assert MACHINE.bandwidth(2 * SIZES[2]) == pytest.approx(45)
    assert MACHINE.bandwidth(100 * SIZES[-1]) == MACHINE.gbps[-1]


def test_least_time_is_the_larger_of_both():
    assert MACHINE.least_ns(1000, 70) == 10
    assert MACHINE.bound(1000, 70) == "compute"
    assert MACHINE.least_ns(10, 700) == 10
    assert MACHINE.bound(10, 700) == "memory"
    assert MACHINE.least_ns(0, 0) == 0


def test_measured_ceilings_are_plausible_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path))
    tmp_path.chmod(0o700)
    monkeypatch.setattr(module, "_SECONDS", 0.002)
    found = roofline(1)
    # No processor that runs this is slower, or faster by thread, than these.
    assert 1 < found.gflops < 2000
    assert all(0.5 < rate < 5000 for rate in found.gbps)
    monkeypatch.setattr(module, "_measure", lambda threads: pytest.fail("measured again"))
    assert roofline(1) == found


def test_bandwidth_is_that_of_memory_of_its_own():
    """A page that holds other numbers than zero is not the one page of zeros."""
    memory = module._resident(1 << 20)
    assert memory.nbytes == 1 << 20
    assert memory.all()


def test_a_damaged_answer_is_measured_again(tmp_path, monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path))
    tmp_path.chmod(0o700)
    monkeypatch.setattr(module, "_measure", lambda threads: MACHINE)
    assert roofline(1) == MACHINE
    (kept,) = tmp_path.glob("roofline-*.json")
    of_fewer_sizes = json.dumps({"cpu": "test", "gflops": 1.0, "gbps": [1.0] * 7})
    for damage in ("", "{", json.dumps({"cpu": "test"}), "[]", of_fewer_sizes):
        kept.write_text(damage)
        assert roofline(1) == MACHINE


def test_without_a_cache_it_is_measured(monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", "off")
    monkeypatch.setattr(module, "_measure", lambda threads: MACHINE)
    assert roofline(1) == MACHINE


def test_the_higher_ceilings_of_two_measurements_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path))
    tmp_path.chmod(0o700)
    gbps = tuple(40.0 for _ in SIZES)
    monkeypatch.setattr(module, "_measure", lambda threads: Roofline("test", threads, 120.0, gbps))
    found = module.remeasure(MACHINE)
    assert found.gflops == 120
    assert found.gbps == tuple(max(a, 40.0) for a in MACHINE.gbps)
    assert roofline(1) == found
