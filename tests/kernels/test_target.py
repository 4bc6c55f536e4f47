"""Sizes of caches as Linux reports them, and features of processors that are named."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from sardonyx.kernels import target


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


def test_a_named_processor_has_its_own_features() -> None:
    """Code for one without AVX-512 has no instruction and no register of it."""
    code = "import sardonyx.kernels.simd; from numba.core import config; print(config.CPU_FEATURES)"
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_CPU_FEATURES"}
    environment["NUMBA_CPU_NAME"] = "haswell"
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert not result.stdout.strip()
