"""Values while a function is translated: known ones, and those that its code computes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cpu, errors, types, typing
from numba.core.callconv import create_error_model

from .untranslated import Untranslated


class Static(NamedTuple):
    """Object of Python that is known while the function is translated."""

    object: Any


class Value(NamedTuple):
    """Value of numba's type ``kind``, as LLVM's value."""

    kind: Any
    llvm: Any


class Slot(NamedTuple):
    """Place in the function's frame of a variable that is assigned more than once."""

    kind: Any
    llvm: Any


def is_tuple(kind: Any) -> bool:
    """Tell whether a type is one of tuples, also of named ones."""
    return isinstance(kind, types.BaseTuple)


class _NoLibrary:
    """Stands for numba's library of code, where it would have functions that it compiles linked."""

    def add_linking_library(self, _: Any) -> None:
        raise Untranslated("a function that numba compiles")


class _Typing(typing.Context):
    """Types of what kernels call: without those of lists, sets, dictionaries and C's types."""

    def load_additional_registries(self) -> None:
        from numba.core.typing import mathdecl

        self.install_registry(mathdecl.registry)


class _Target(cpu.CPUContext):
    """Code of what kernels call: numba's own context imports all of its library, and of scipy's."""

    def load_additional_registries(self) -> None:
        from numba.cpython import builtins, mathimpl, numbers, tupleobj  # noqa: F401

        self.install_registry(mathimpl.registry)


class Machine:
    """numba's knowledge of types and operators, asked once for each call of the same types."""

    def __init__(self) -> None:
        self.typing: Any = _Typing()
        self.target: Any = _Target(self.typing, "cpu")
        self.target.error_model = create_error_model("numpy", self.target)
        self.target._codelib_stack = [_NoLibrary()]
        self._knows_ufuncs = False
        self._calls: dict[Any, tuple[Any, Any, Any]] = {}

    def refresh(self) -> None:
        """Take in intrinsics that have been declared since the last time."""
        self.typing.refresh()
        self.target.refresh()

    def call(self, builder: ir.IRBuilder, function: Any, arguments: Sequence[Value]) -> Value:
        """Emit a call of a function, an intrinsic or an operator that numba knows."""
        key = (id(function), *(each.kind for each in arguments))
        known = self._calls.get(key)
        if known is None:
            # The function is kept, so that no other one has its number.
            known = self._calls[key] = (*self._resolved(function, key[1:]), function)
        signature, emit, _ = known
        values = [
            self.cast(builder, each, kind).llvm
            for each, kind in zip(arguments, signature.args, strict=True)
        ]
        return Value(signature.return_type, emit(builder, values))

    def _resolved(self, function: Any, kinds: tuple[Any, ...]) -> tuple[Any, Any]:
        try:
            own = self.typing.resolve_value_type(function)
            signature = self.typing.resolve_function_type(own, kinds, {})
            if isinstance(own, types.ExternalFunction):
                return signature, functools.partial(self._call_external, own)
            emit = signature and self.target.get_function(own, signature)
        except (errors.NumbaError, NotImplementedError, LookupError, ValueError) as error:
            if isinstance(function, np.ufunc) and self._has_learned_ufuncs():
                return self._resolved(function, kinds)
            raise Untranslated(f"{function} of {kinds}: {error}") from None
        if emit is None:
            raise Untranslated(f"{function} of {kinds}")
        if getattr(emit, "libs", ()):
            raise Untranslated(f"{function}, which numba compiles")
        return signature, emit

    def _has_learned_ufuncs(self) -> bool:
        """Take in numpy's functions, when one is met: numba imports all of arrays for them."""
        from numba.core.typing import npydecl
        from numba.np import npyimpl

        is_new, self._knows_ufuncs = not self._knows_ufuncs, True
        self.typing.install_registry(npydecl.registry)
        self.target.install_registry(npyimpl.registry)
        self.refresh()
        return is_new

    def _call_external(self, kind: Any, builder: ir.IRBuilder, values: Sequence[Any]) -> Any:
        from numba.core import funcdesc

        own = funcdesc.ExternalFunctionDescriptor(kind.symbol, kind.sig.return_type, kind.sig.args)
        function = self.target.declare_external_function(builder.module, own)
        return self.target.call_external_function(builder, function, own.argtypes, values)

    def cast(self, builder: ir.IRBuilder, value: Value, kind: Any) -> Value:
        """Emit the conversion of a value, as numba does it, to another type."""
        if value.kind is kind or types.unliteral(value.kind) == types.unliteral(kind):
            return Value(kind, value.llvm)
        return Value(kind, self.target.cast(builder, value.llvm, value.kind, kind))

    def unified(self, kinds: Sequence[Any]) -> Any:
        """Type of a variable that has values of some types."""
        plain = [types.unliteral(kind) for kind in kinds]
        if all(kind == plain[0] for kind in plain):
            return plain[0]
        kind = self.typing.unify_types(*plain)
        if kind is None or not kind.is_precise():
            raise Untranslated(f"a variable of types {plain}")
        return kind

    def llvm_type(self, kind: Any) -> Any:
        """LLVM's type of values of a type."""
        return self.target.get_value_type(kind)

    def constant(self, builder: ir.IRBuilder, item: Any) -> Value:
        """Return a known object as a value."""
        if item is None:
            return Value(types.none, self.target.get_dummy_value())
        if isinstance(item, tuple):
            values = [self.constant(builder, each) for each in item]
            return self.made_tuple(builder, values, type(item) if type(item) is not tuple else None)
        if isinstance(item, str):
            return Value(types.literal(item), self.target.get_dummy_value())
        kind = self.typing.resolve_value_type_prefer_literal(item)
        if not isinstance(types.unliteral(kind), (types.Number, types.Boolean)):
            raise Untranslated(f"{item!r} as a value")
        return Value(kind, self.target.get_constant(types.unliteral(kind), item))

    def made_tuple(
        self, builder: ir.IRBuilder, values: Sequence[Value], cls: type | None = None
    ) -> Value:
        """Emit a tuple, or a named one of a class."""
        kinds = tuple(types.unliteral(value.kind) for value in values)
        kind = types.BaseTuple.from_types(kinds, cls)
        return Value(kind, self.target.make_tuple(builder, kind, [v.llvm for v in values]))


@functools.cache
def machine() -> Machine:
    """Return the one of this process."""
    return Machine()
