"""Options of a quantization: which values they take, and which modes read them."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InvalidArgument
from ..given_numbers import is_finite, is_whole, whole
from .calibration_images import ImageOptions

MODES = ("static", "dynamic", "weights", "fp16", "bf16")
BLOCK_ROUNDINGS = ("mse", "hqq")
"""Of blocks of 4 bits, without data."""
_ROUNDINGS = ("nearest", *BLOCK_ROUNDINGS, "gptq", "adaround")
_BITS = (8, 4)
_LARGEST_BLOCK = 1 << 15
_FLAGS = ("products", "equalize", "correct", "offsets", "ports", "report", "force")
"""Options that are true or false."""
_READERS = {
    "method": ("static",),
    "products": ("static",),
    "equalize": ("static",),
    "plots": ("static",),
    "rounding": ("static", "weights"),
    "offsets": ("weights",),
    "correct": ("static", "weights"),
    "keep": ("static", "weights", "fp16", "bf16"),
    "ports": ("fp16", "bf16"),
}
"""Modes that read an option; others refuse it."""
_NOT_GIVEN = (None, False, "auto", "nearest")


def check_options(mode: str, path: Any, options: Mapping[str, Any]) -> None:
    """Refuse what `quantize` cannot do, before anything is run.

    Parameters
    ----------
    mode : str
    path : path, optional
        The file to write.
    options : mapping of str to Any
        As `quantize` takes them.

    Raises
    ------
    InvalidArgument
        Names the option, what it must be, and what it is.
    """
    _check_words(mode, options)
    _check_numbers(options)
    for name in _FLAGS:
        if not isinstance(options[name], bool | np.bool_):
            raise InvalidArgument(f"{name} must be true or false, not {options[name]!r}")
    _check_names(options["keep"])
    images = options["images"]
    if images is not None and not isinstance(images, ImageOptions):
        raise InvalidArgument(f"images must be an ImageOptions, not {images!r}")
    for name, modes in _READERS.items():
        if _is_given(options[name]) and mode not in modes:
            said = ", ".join(modes)
            raise InvalidArgument(
                f"{name}={options[name]!r} changes nothing with mode {mode!r}; it is for {said}"
            )
    _check_blocks(mode, options)
    _check_places(path, options["plots"])


def _check_blocks(mode: str, options: Mapping[str, Any]) -> None:
    """Refuse what only blocks of 4 bits have, elsewhere."""
    rounding = options["rounding"]
    if rounding in BLOCK_ROUNDINGS and (mode != "weights" or options["bits"] != 4):
        raise InvalidArgument(f"rounding {rounding!r} is for mode 'weights' with 4 bits")
    if options["offsets"] and (rounding != "hqq" or options["correct"]):
        raise InvalidArgument("offsets=True is for rounding 'hqq', without correct=True")


def _check_words(mode: Any, options: Mapping[str, Any]) -> None:
    from ..optimizer.quantize.ranges import METHODS

    for name, value, known in (
        ("mode", mode, MODES),
        ("method", options["method"], ("auto", *METHODS)),
        ("rounding", options["rounding"], _ROUNDINGS),
    ):
        if not isinstance(value, str) or value not in known:
            raise InvalidArgument(f"{name} must be one of {', '.join(known)}, not {value!r}")


def _check_numbers(options: Mapping[str, Any]) -> None:
    from ..runtime.options import MOST_THREADS

    bits, percentile, block = (options[name] for name in ("bits", "percentile", "block"))
    if not is_whole(bits) or bits not in _BITS:  # 8.0 equals 8, but is no number of bits
        said = ", ".join(map(str, _BITS))
        raise InvalidArgument(f"bits must be one of {said}, not {bits!r}")
    if not (is_finite(percentile) and 50 < percentile <= 100):
        raise InvalidArgument(f"percentile must lie above 50 and up to 100, not {percentile!r}")
    if not is_whole(block) or not 16 <= block <= _LARGEST_BLOCK or int(block) & (int(block) - 1):
        said = f"a power of two from 16 to {_LARGEST_BLOCK}"
        raise InvalidArgument(f"block must be {said}, not {block!r}")
    threads, opset = options["threads"], options["target_opset"]
    if threads is not None:
        whole(threads, f"threads must be a whole number from 1 to {MOST_THREADS}", 1, MOST_THREADS)
    if opset is not None:
        whole(opset, "target_opset must be a whole number from 1", 1)


def _check_names(keep: Any) -> None:
    """Refuse what is no sequence of names: also an iterator, which could be read only once."""
    is_some = isinstance(keep, Collection) and not isinstance(keep, str | bytes | Mapping)
    if not is_some or not all(isinstance(name, str) for name in keep):
        raise InvalidArgument(f"keep must be a sequence of names, not {keep!r}")


def _is_given(value: Any) -> bool:
    """Tell whether an option is not what it is without being given."""
    if isinstance(value, Collection) and not isinstance(value, str):
        return len(value) > 0
    return bool(value not in _NOT_GIVEN)


def _check_places(path: Any, plots: Any) -> None:
    """Refuse places that nothing can be written to."""
    for name, place in (("path", path), ("plots", plots)):
        if place is not None and not isinstance(place, str | os.PathLike):
            raise InvalidArgument(f"{name} must be a path, not {place!r}")
        if place is not None and "\0" in str(place):
            raise InvalidArgument(f"{name} must be a path without zero bytes, not {place!r}")
    if path is not None and Path(path).is_dir():
        raise InvalidArgument(f"{path} is a folder: name a file in it")
    if path is not None and not Path(path).parent.is_dir():
        raise InvalidArgument(f"there is no folder {Path(path).parent} to write {path} to")
    if plots is not None and Path(plots).exists() and not Path(plots).is_dir():
        raise InvalidArgument(f"plots={plots!r} is no folder")
