"""Entry of a kernel: machine code that loads a record's words and hands them to the kernel's body.

It is written as LLVM's assembly: as a function of numba's it took a fifth of a small kernel's
compilation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, get_type_hints

from numba.core import types

_LLVM = {types.int64: "i64", types.float64: "double"}


def type_of(annotation: Any) -> Any:
    """Type of a kernel's parameter, as numba has it: of a word, or of a group of fields."""
    if hasattr(annotation, "_fields"):
        fields = map(type_of, get_type_hints(annotation).values())
        return types.BaseTuple.from_types(tuple(fields), annotation)
    return types.float64 if annotation is float else types.int64


def entry_of(body: str, symbol: str, share: int, kinds: Iterable[Any]) -> str:
    """Return the assembly of an entry.

    Parameters
    ----------
    body : str
        Symbol of the body, which numba has compiled.
    symbol : str
        That of the entry: ``int32 symbol(int64 *result, void **error, int64 record, int64 ...)``.
    share : int
        Arguments after the record, which are handed on.
    kinds : iterable of numba types
        Of the body's parameters in the record. numba hands the fields of a group on one by one.
    """
    words = [_LLVM[kind] for kind in _scalars(kinds)]
    given = [f"i64 %share{i}" for i in range(share)]
    handed = ["ptr %result", "ptr %error", *given]
    handed += [f"{kind} %word{i}" for i, kind in enumerate(words)]
    named = ", ".join(["ptr %result", "ptr %error", "i64 %address", *given])
    parameters = ", ".join(each.partition(" ")[0] for each in handed)
    lines = ["  %record = inttoptr i64 %address to ptr"]
    for i, kind in enumerate(words):
        lines.append(f"  %at{i} = getelementptr inbounds {kind}, ptr %record, i64 {i}")
        lines.append(f"  %word{i} = load {kind}, ptr %at{i}, align 8")
    lines.append(f'  %status = call i32 @"{body}"({", ".join(handed)})')
    lines.append("  ret i32 %status")
    code = "\n".join(lines)
    return f'declare i32 @"{body}"({parameters})\ndefine i32 @"{symbol}"({named}) {{\n{code}\n}}\n'


def _scalars(kinds: Iterable[Any]) -> Iterator[Any]:
    for kind in kinds:
        yield from _scalars(kind.types) if hasattr(kind, "types") else (kind,)
