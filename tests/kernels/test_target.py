"""Sizes of caches as Linux reports them, and features of processors that are named."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sardonyx.kernels import folders, storage, target


@pytest.fixture
def caches(tmp_path, monkeypatch):
    """Report caches: tuples of level, type and size."""

    def report(*each: tuple[str, str, str]) -> dict[int, int]:
        for i, values in enumerate(each):
            folder = tmp_path / f"index{i}"
            folder.mkdir()
            for name, value in zip(("level", "type", "size"), values, strict=True):
                (folder / name).write_text(f"{value}\n")
        monkeypatch.setattr(target, "_CACHES", tmp_path)
        return target._cache_sizes.__wrapped__()

    return report


def test_data_caches_are_read(caches):
    sizes = caches(("1", "Data", "48K"), ("1", "Instruction", "32K"), ("2", "Unified", "1024K"),
                   ("3", "Unified", "32M"))  # fmt: skip
    assert sizes == {1: 48 << 10, 2: 1 << 20, 3: 32 << 20}


@pytest.mark.parametrize("size", ["", "K", "many"])
def test_sizes_that_are_no_numbers_are_left_out(caches, size):
    assert caches(("2", "Unified", size)) == {}


def test_no_report_is_no_size(monkeypatch, tmp_path):
    monkeypatch.setattr(target, "_CACHES", tmp_path / "none")
    assert target._cache_sizes.__wrapped__() == {}


@pytest.mark.parametrize(
    ("reported", "believed"),
    [
        ([("1", "Data", "48K"), ("2", "Unified", "2048K"), ("3", "Unified", "32M")], {1, 2, 3}),
        ([("1", "Data", "0K"), ("2", "Unified", "0K"), ("3", "Unified", "0K")], set()),
        ([("1", "Data", "1K"), ("2", "Unified", "1024K"), ("3", "Unified", "4G")], {2}),
        ([("1", "Data", "32K"), ("2", "Unified", "4G"), ("3", "Unified", "32M")], {1, 3}),
        ([("1", "Data", "64K"), ("2", "Unified", "64K"), ("3", "Unified", "32M")], set()),
        ([("4", "Unified", "64M")], set()),
    ],
)
def test_sizes_that_no_processor_has_are_not_believed(caches, monkeypatch, reported, believed):
    caches(*reported)
    monkeypatch.setattr(target, "_cache_sizes", target._cache_sizes.__wrapped__)
    assert target.cache_sizes().keys() == believed
    found = target.target.__wrapped__()
    assert 8 << 10 <= found.l1 < found.l2 < found.l3 <= 2 << 30


def test_another_processor_in_the_same_cache_is_detected_anew(tmp_path, monkeypatch):
    """Containers move: what was detected is that of a processor, as Linux describes it."""
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path))
    tmp_path.chmod(0o700)
    monkeypatch.delenv("NUMBA_CPU_NAME", raising=False)
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    here = {"wide": "znver4 +avx,+avx2,+avx512f,+avx512vl", "old": "haswell +avx,+avx2"}
    for machine in ("wide", "old", "wide"):
        monkeypatch.setattr(target, "_processor", lambda name=machine: f"flags of {name}")
        monkeypatch.setattr(target, "_detect", lambda name=machine: here[name])
        found = target.target.__wrapped__()
        assert f"{found.cpu} {found.features}" == here[machine]
        assert found.lanes == (16 if machine == "wide" else 8)


@pytest.fixture
def wide(tmp_path, monkeypatch):
    """A processor with vectors of 512 and 256 bits, of which nothing is known."""
    monkeypatch.setenv("SARDONYX_CACHE", str(tmp_path))
    tmp_path.chmod(0o700)
    for name in ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", target.VECTOR_BITS):
        monkeypatch.delenv(name, raising=False)
    found = "cascadelake +avx,+avx2,+avx512f,+avx512vl,+avx512bw,+avx512dq"
    monkeypatch.setattr(target, "_processor", lambda: None)
    monkeypatch.setattr(target, "_detect", lambda: found)
    return found


def lanes_and_registers() -> tuple[int, int]:
    found = target.target.__wrapped__()
    return found.lanes, found.registers


def test_vectors_have_the_width_that_was_measured_to_be_faster(wide):
    assert lanes_and_registers() == (16, 32)
    storage.replaced(target.width_question(wide), "256 1.210 1.350")
    assert lanes_and_registers() == (8, 32)
    storage.replaced(target.width_question(wide), "512 0.800 0.810")
    assert lanes_and_registers() == (16, 32)


def test_the_width_can_be_given(wide, monkeypatch):
    monkeypatch.setenv(target.VECTOR_BITS, "256")
    assert lanes_and_registers() == (8, 32)
    storage.replaced(target.width_question(wide), "256 1.210 1.350")
    monkeypatch.setenv(target.VECTOR_BITS, "512")
    assert lanes_and_registers() == (16, 32)
    monkeypatch.setattr(folders, "_warned", set())
    monkeypatch.setenv(target.VECTOR_BITS, "128")
    with pytest.warns(RuntimeWarning, match="256 or 512, not '128'"):
        assert lanes_and_registers() == (8, 32)


@pytest.mark.parametrize("features", ["+avx,+avx2", "+avx,+avx2,+avx512f"])
def test_a_width_that_the_processor_lacks_is_not_taken(wide, monkeypatch, features):
    monkeypatch.setattr(target, "_detect", lambda: f"other {features}")
    expected = lanes_and_registers()
    for bits in ("256", "512"):
        monkeypatch.setenv(target.VECTOR_BITS, bits)
        assert lanes_and_registers() == expected


def test_a_named_processor_has_its_own_features() -> None:
    """Code for one without AVX-512 has no instruction and no register of it."""
    code = "import sardonyx.kernels.simd; from numba.core import config; print(config.CPU_FEATURES)"
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CPU_FEATURES"}
    environment["NUMBA_CPU_NAME"] = "haswell"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert not result.stdout.strip()
