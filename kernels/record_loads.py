"""Loads of all words of an argument record at once: what a kernel's entry hands to its body."""

from __future__ import annotations

import functools
import itertools
from typing import Any, get_type_hints

from numba.core import types
from numba.extending import intrinsic

from .vectors import I64


@functools.cache
def loaded(share: int, annotations: tuple[Any, ...]) -> Any:
    """Make an intrinsic that gives a kernel's arguments as a tuple.

    Parameters
    ----------
    share : int
        Arguments of the entry that are handed on, before what is loaded.
    annotations : tuple
        Those of the parameters in the record: ``float``, a group of fields, or a word.

    Returns
    -------
    intrinsic
        It takes the record's address and the share. numba compiles one call of it in the time of
        one load: a call for each word took a tenth of an elementwise kernel's compilation.
    """
    words = (types.int64,) * share
    result = types.Tuple([*words, *map(_type_of, annotations)])

    @intrinsic
    def arguments(_: Any, args: Any, *given: Any) -> Any:
        return result(types.int64, types.StarArgTuple.from_types(words)), _load_all

    return arguments


def _type_of(annotation: Any) -> Any:
    """Type of a parameter, as numba has it."""
    if hasattr(annotation, "_fields"):
        fields = map(_type_of, get_type_hints(annotation).values())
        return types.BaseTuple.from_types(tuple(fields), annotation)
    return types.float64 if annotation is float else types.int64


def _load_all(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    address, share = values
    places = itertools.count()

    def load(kind: Any) -> Any:
        if hasattr(kind, "types"):  # a group
            return context.make_tuple(builder, kind, [load(each) for each in kind.types])
        record = builder.inttoptr(address, context.get_value_type(kind).as_pointer())
        return builder.load(builder.gep(record, [I64(next(places))], inbounds=True))

    count = len(signature.args[1])
    kinds = signature.return_type.types[count:]
    handed = [builder.extract_value(share, i) for i in range(count)]
    return context.make_tuple(builder, signature.return_type, handed + [load(k) for k in kinds])
