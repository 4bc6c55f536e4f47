"""Options of a session, as a program depends on them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..errors import InvalidArgument
from ..given_numbers import whole
from ..kernels.abi import MANY_PARTS, SIZE_LIMIT
from ..kernels.folders import warn_once
from ..kernels.unit_rates import BFLOATS_WORTH, bfloat16_speed
from .choices import Suggestions
from .processors import available_processors

THREADS_VARIABLE = "SARDONYX_THREADS"
"""Environment variable: threads of a run where a session does not say."""

MOST_THREADS = MANY_PARTS
"""More have nothing to do: no step has more parts."""

_RANGE = f"a positive integer of at most {MOST_THREADS}"
_PRECISIONS = ("fp32", "strict", "bf16x3", "fast", "bf16", "bf16_weights", "int8_activations")
_LEVELS = ("none", "basic", "all")


def checked_options(
    threads: int | None,
    precision: str,
    optimize: str,
    choices: Mapping[str, str] | None = None,
    fold_limit: int | None = None,
    max_iterations: int | None = None,
    device: str = "cpu",
) -> tuple[int, dict[str, Any]]:
    """Return the number of threads and the options that a program depends on.

    The number of threads is that of ``threads``, else of the environment variable
    ``SARDONYX_THREADS``, else one for each processor that this process may use.

    Raises
    ------
    InvalidArgument
        An option is not known, or a number of threads is not in 1 to `MOST_THREADS`.
    """
    if precision not in _PRECISIONS:
        raise InvalidArgument(f"precision must be one of {_PRECISIONS}, not {precision!r}")
    if optimize not in _LEVELS:
        raise InvalidArgument(f"optimize must be one of {_LEVELS}, not {optimize!r}")
    options: dict[str, Any] = {
        "precision": _of_the_cpu(precision) if device == "cpu" else precision,
        "optimize": optimize,
        "choices": sorted_choices(choices),
    }
    if choices and isinstance(choices, Suggestions):
        options["suggested"] = True
    if fold_limit is not None:
        options["fold_limit"] = whole(fold_limit, "fold_limit must be a number of bytes")
    if max_iterations is not None:
        expected = "max_iterations must be a number"
        options["max_iterations"] = whole(max_iterations, expected, 0, SIZE_LIMIT - 1)
    if device != "cpu":
        from .devices.find import full_name  # which few sessions need

        options["device"] = full_name(device)
    if threads is None:
        threads = _threads_of_environment() or min(available_processors(), MOST_THREADS)
    return whole(threads, f"threads must be {_RANGE}", 1, MOST_THREADS), options


def _of_the_cpu(precision: str) -> str:
    """Return the precision that a session has on this processor."""
    if precision == "fast":
        return "bf16x3"
    if precision != "bf16":
        return precision
    speed = bfloat16_speed()
    if speed >= BFLOATS_WORTH:
        return precision
    warn_once(
        "precision='bf16' is computed as 'fp32': products of bfloat16 reach "
        f"{speed:.2f} times the rate of float32 on this processor"
        if speed
        else "precision='bf16' is computed as 'fp32': this processor does not multiply bfloat16"
    )
    return "fp32"


def _threads_of_environment() -> int | None:
    """Return the number in the environment variable; None where it is not set."""
    text = os.environ.get(THREADS_VARIABLE)
    if text is None:
        return None
    try:
        threads = int(text)
    except ValueError:
        threads = 0
    if not 1 <= threads <= MOST_THREADS:
        raise InvalidArgument(f"{THREADS_VARIABLE} must be {_RANGE}, not {text!r}")
    return threads


def sorted_choices(choices: Any) -> dict[str, str]:
    """Return choices in the order of their names: the cache key of a program depends on it.

    Raises
    ------
    InvalidArgument
        They are no mapping.
    """
    forms = {} if choices is None else choices
    if not isinstance(forms, Mapping):
        kind = type(forms).__name__
        raise InvalidArgument(f"choices must be a mapping of names to forms, not a {kind}")
    return {name: str(forms[name]) for name in sorted(forms)}
