"""Options of a quantization: which values they take, and which modes read them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InvalidArgument
from ..given_numbers import is_finite, is_whole

MODES = ("static", "dynamic", "weights", "fp16", "bf16")
_ROUNDINGS = ("nearest", "mse", "gptq", "adaround")
_READERS = {
    "method": ("static",),
    "products": ("static",),
    "equalize": ("static",),
    "plots": ("static",),
    "rounding": ("static", "weights"),
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
    from ..optimizer.quantize.ranges import METHODS

    for name, value, known in (
        ("mode", mode, MODES),
        ("method", options["method"], ("auto", *METHODS)),
        ("bits", options["bits"], (8, 4)),
        ("rounding", options["rounding"], _ROUNDINGS),
    ):
        if value not in known:
            said = ", ".join(map(str, known))
            raise InvalidArgument(f"{name} must be one of {said}, not {value!r}")
    if not is_whole(options["bits"]):  # 8.0 equals 8, but is no number of bits
        raise InvalidArgument(f"bits must be one of 8, 4, not {options['bits']!r}")
    percentile, block, keep = (options[name] for name in ("percentile", "block", "keep"))
    if not (is_finite(percentile) and 50 < percentile <= 100):
        raise InvalidArgument(f"percentile must lie above 50 and up to 100, not {percentile!r}")
    if not is_whole(block) or block < 16 or int(block) & (int(block) - 1):
        raise InvalidArgument(f"block must be a power of two from 16, not {block!r}")
    if isinstance(keep, str):
        raise InvalidArgument(f"keep must be a sequence of names, not {keep!r}")
    for name, modes in _READERS.items():
        is_given = options[name] not in _NOT_GIVEN if name != "keep" else len(keep) > 0
        if is_given and mode not in modes:
            said = ", ".join(modes)
            raise InvalidArgument(
                f"{name}={options[name]!r} changes nothing with mode {mode!r}; it is for {said}"
            )
    if options["rounding"] == "mse" and (mode != "weights" or options["bits"] != 4):
        raise InvalidArgument("rounding 'mse' is for mode 'weights' with 4 bits")
    _check_places(path, options["plots"])


def _check_places(path: Any, plots: Any) -> None:
    """Refuse places that nothing can be written to."""
    if path is not None and Path(path).is_dir():
        raise InvalidArgument(f"{path} is a folder: name a file in it")
    if path is not None and not Path(path).parent.is_dir():
        raise InvalidArgument(f"there is no folder {Path(path).parent} to write {path} to")
    if plots is not None and Path(plots).exists() and not Path(plots).is_dir():
        raise InvalidArgument(f"plots={plots!r} is no folder")
