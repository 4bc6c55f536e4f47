"""Execution providers: names of what models run on, as lists and options of sessions have them."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
_ALL = [
    *("TensorrtExecutionProvider", CUDA, "MIGraphXExecutionProvider", "ROCMExecutionProvider"),
    *("OpenVINOExecutionProvider", "DnnlExecutionProvider", "VitisAIExecutionProvider"),
    *("QNNExecutionProvider", "NnapiExecutionProvider", "CoreMLExecutionProvider"),
    *("XnnpackExecutionProvider", "DmlExecutionProvider", "WebGpuExecutionProvider", CPU),
]

Provider = str | tuple[str, Mapping[Any, Any]]


def get_all_providers() -> list[str]:
    """Return the names of execution providers that onnxruntime knows."""
    return list(_ALL)


def get_available_providers() -> list[str]:
    """Return the names of those that sessions can have here: of a GPU if there is one, the CPU."""
    return list(_available())


@functools.cache
def _available() -> tuple[str, ...]:
    from .. import devices

    return (CUDA, CPU) if "cuda" in devices() else (CPU,)


def chosen(
    providers: Sequence[Provider] | None, options: Sequence[Mapping[Any, Any]] | None
) -> dict[str, dict[str, str]]:
    """Return the options of the providers that a session gets, by name, in their order.

    Those not available are left out with a warning; the CPU is always there.

    Raises
    ------
    ValueError
        What is given is no list of names with as many options.
    """
    given = [providers] if isinstance(providers, str) else list(providers or ())
    if options is not None and len(options) != len(given):
        raise ValueError(f"{len(given)} providers and {len(options)} provider_options")
    found: dict[str, dict[str, str]] = {}
    for index, provider in enumerate(given):
        name, own = provider if isinstance(provider, tuple) else (provider, {})
        if not isinstance(name, str) or not isinstance(own, Mapping):
            raise ValueError(f"a provider is a name, or a name with options, not {provider!r}")
        if name not in get_available_providers():
            available = ", ".join(get_available_providers())
            warnings.warn(
                f"Specified provider {name!r} is not in available provider names. "
                f"Available providers: {available!r}",
                UserWarning,
                stacklevel=4,
            )
            continue
        own = {**own, **(options[index] if options else {})}
        found.setdefault(name, {str(key): str(value) for key, value in own.items()})
    found.setdefault(CPU, {})
    return found


def check_and_normalize_provider_args(
    providers: Sequence[Provider] | None,
    provider_options: Sequence[Mapping[Any, Any]] | None,
    available_provider_names: Sequence[str],
) -> tuple[list[str], list[dict[str, str]]]:
    """Return names of providers, each once, and the options of each.

    Raises
    ------
    ValueError
        What is given is no sequence of names with as many options, or has options in both places.
    """
    if providers is None:
        return [], []
    for given in (providers, () if provider_options is None else provider_options):
        if not isinstance(given, Sequence):
            raise ValueError(f"a sequence of providers and one of options, not {given!r}")
    options = provider_options if provider_options is not None else [{}] * len(providers)
    if len(options) != len(providers):
        raise ValueError(f"{len(providers)} providers and {len(options)} provider_options")
    found: dict[str, dict[str, str]] = {}
    for provider, own in zip(providers, options, strict=True):
        name, inner = provider if isinstance(provider, tuple) else (provider, {})
        if not isinstance(name, str) or not isinstance(own, dict) or not isinstance(inner, dict):
            raise ValueError(f"a provider is a name, or a name with options, not {provider!r}")
        if isinstance(provider, tuple) and provider_options is not None and any(options):
            raise ValueError("options are given with names of providers and beside them")
        if name not in available_provider_names or name in found:
            what = "duplicated" if name in found else "not available"
            warnings.warn(f"Specified provider {name!r} is {what}", UserWarning, stacklevel=3)
            continue
        found[name] = {str(key): str(value) for key, value in {**own, **inner}.items()}
    return list(found), list(found.values())


def device_of(found: Mapping[str, Any]) -> str:
    """Return the device of sardonyx that the first of the providers means."""
    return "cuda" if next(iter(found)) == CUDA else "cpu"
