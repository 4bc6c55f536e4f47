"""Module around a PyTorch module, with another ``forward``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from .call import Call


def wrapper(module: Any, call: Call, function: Callable[..., Any]) -> Any:
    """Return a module that contains another one and computes ``function(module, call)``.

    Its parameters name the inputs. They are those of the module, with one for each argument of the
    call that the module takes as ``**kwargs``: with these ``torch.export`` takes no dimensions.
    """
    import torch

    class Wrapper(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

    @functools.wraps(module.forward)
    def forward(*args: Any, **kwargs: Any) -> Any:
        return function(result.module, Call(args, kwargs))

    forward.__signature__ = _signature(module, call)  # type: ignore[attr-defined]
    result = Wrapper().eval()
    result.forward = forward
    return result


def takes_by_name(module: Any, call: Call) -> bool:
    """Whether the parameters of a module name all arguments of a call."""
    return set(call.kwargs) <= inspect.signature(module.forward).parameters.keys()


def _signature(module: Any, call: Call) -> inspect.Signature:
    kind = inspect.Parameter
    parameters = dict(inspect.signature(module.forward).parameters)
    named = {name: p for name, p in parameters.items() if p.kind is not kind.VAR_KEYWORD}
    others = [kind(name, kind.KEYWORD_ONLY) for name in call.kwargs if name not in named]
    return inspect.Signature([*named.values(), *others])
