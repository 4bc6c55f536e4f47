"""Failures of PyTorch's exporters in a few words, without dumps of graphs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import ImportFailed, SardonyxError, reason

_UNTRANSLATED = re.compile(
    r"No ONNX function found for <OpOverload\(op='(?P<program>[\w.]+)'"
    r"|Exporting the operator '?(?P<script>[\w:]+)'? to ONNX"
    r"|unrecognized namespace (?P<custom>[\w:]+)"
    r"|ONNX export of operator (?P<kind>\w[^.]*)"
)
"""How the exporters name an operator that they cannot translate."""

_ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
_DETAILS = re.compile(
    r"For more information|\(Size-like symbols|Suggested fix|This is step|The error above"
    r"|Next steps"
    r"|\[?Caused by|User Stack|from user code|Please feel free|graph\(|If you suspect|Inputs:"
    r"|Torch IR|It is likely|To fix|%\w+ ?[:=]"
)
"""Where the message of an exporter goes on to details for developers of PyTorch."""


@contextmanager
def conversion(title: str) -> Iterator[None]:
    """Turn whatever PyTorch raises into `ImportFailed`, with the reason in a few words."""
    try:
        yield
    except SardonyxError:
        raise
    except Exception as error:  # its text and its causes are pages long
        raise ImportFailed(f"PyTorch could not convert {title}: {explain(error)}") from None


def explain(error: BaseException) -> str:
    """Return the reason of a failure: the operator that has no translation, or one sentence."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    for each in chain:
        if match := _UNTRANSLATED.search(_ESCAPES.sub("", str(each))):
            name = next(group for group in match.groups() if group)
            return (
                f"there is no translation of the operator {' '.join(name.split())} to ONNX; write "
                "the module without it, or import the parts around it (submodule=)"
            )
    for each in reversed(chain):
        text = _DETAILS.split(" ".join(_ESCAPES.sub("", str(each)).split()), maxsplit=1)[0]
        if text := text.strip(" .:-"):
            # A KeyError has nothing but the key.
            return reason(Exception(text if " " in text else f"{type(each).__name__}: {text}"))
    return type(error).__name__
