"""Descriptions of memory and of arenas, as code that registers allocators makes them.

They are kept and have no effect: the memory of a run is planned when shapes are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .enumerations import OrtAllocatorType, OrtDeviceMemoryType, OrtMemType
from .errors import InvalidArgument, made


class OrtMemoryInfo:
    """Memory: name, kind of its allocator, which of the devices, kind of the memory."""

    def __init__(
        self, name: str, allocator_type: OrtAllocatorType, device_id: int, mem_type: OrtMemType
    ) -> None:
        if not isinstance(name, str) or not isinstance(allocator_type, OrtAllocatorType):
            raise TypeError(f"a name and an OrtAllocatorType are expected, not {name!r}")
        self.name, self.allocator_type = name, allocator_type
        self.device_id, self.mem_type = int(device_id), OrtMemType(mem_type)
        self.device_mem_type, self.device_vendor_id = OrtDeviceMemoryType.DEFAULT, 0


class OrtArenaCfg:
    """Sizes of an arena: four numbers in order, or any by name."""

    _NAMES = (
        "max_mem",
        "arena_extend_strategy",
        "initial_chunk_size_bytes",
        "max_dead_bytes_per_chunk",
        "initial_growth_chunk_size_bytes",
        "max_power_of_two_extend_bytes",
    )

    def __init__(self, *sizes: Any) -> None:
        given: Mapping[str, int]
        if len(sizes) == 1 and isinstance(sizes[0], Mapping):
            given = sizes[0]
        elif len(sizes) == 4:
            given = dict(zip(self._NAMES, sizes, strict=False))
        else:
            raise TypeError(f"four numbers or a dict are expected, not {sizes!r}")
        if unknown := [name for name in given if name not in self._NAMES]:
            raise made(InvalidArgument, f"Invalid OrtArenaCfg option: {unknown[0]}")
        self.max_mem = int(given.get("max_mem", 0))
        self.arena_extend_strategy = int(given.get("arena_extend_strategy", -1))
        self.initial_chunk_size_bytes = int(given.get("initial_chunk_size_bytes", -1))
        self.max_dead_bytes_per_chunk = int(given.get("max_dead_bytes_per_chunk", -1))
        self.initial_growth_chunk_size_bytes = int(given.get("initial_growth_chunk_size_bytes", -1))
        self.max_power_of_two_extend_bytes = int(given.get("max_power_of_two_extend_bytes", -1))


def create_and_register_allocator(
    mem_info: OrtMemoryInfo, arena_cfg: OrtArenaCfg | None = None
) -> None:
    """Accept an allocator that sessions should share: they share the memory of runs in any case."""


def create_and_register_allocator_v2(
    provider_type: str,
    mem_info: OrtMemoryInfo,
    options: Mapping[str, str],
    arena_cfg: OrtArenaCfg | None = None,
) -> None:
    """Accept an allocator of a provider; without effect."""
