"""Modules of LLVM's assembly for kernels: an entry, and all functions that it calls.

Functions stay known in a process: kernels that call the same one share its text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, get_type_hints

from llvmlite import ir
from numba.core import types

from .machine_code import Assembly
from .translated_values import Static, Value, machine
from .translation import Function, Translation, translated

_SYMBOL = re.compile(r'@("[^"]*"|[\w.$]+)')
_NODE = re.compile(r"![\w.]+")


class _Text(NamedTuple):
    code: str
    symbols: tuple[str, ...]


class Translator:
    """Functions that kernels have called, in one module."""

    def __init__(self) -> None:
        self._module = ir.Module()
        self._numbers = itertools.count()
        self._functions: dict[Any, tuple[Function, Any]] = {}
        self._texts: dict[str, _Text] = {}

    def assembly(self, kernel: Any, share: int) -> Assembly:
        """Return the module of a kernel.

        Parameters
        ----------
        kernel : registry.Kernel
            What is to be compiled.
        share : int
            Parameters that its body begins with, which are not in the record.
        """
        machine().refresh()
        kinds = [kind_of(annotation) for annotation in kernel.arguments.values()]
        name = f"kernel.{next(self._numbers)}"
        words = [types.int64] * share + kinds
        body = translated(self._module, f"{name}.body", kernel.body, words, self._call)
        if kernel.is_emitted:
            body.llvm.attributes.add("alwaysinline")
        entry = self._entry(name, body, share, kinds)
        text = self._text_of(name)
        for own in (body.llvm, entry):
            self._texts.pop(own.name)
            del self._module.globals[own.name]
        return Assembly(name, text, kernel.is_emitted)

    def _call(
        self, caller: Translation, dispatcher: Any, arguments: Sequence[Static | Value]
    ) -> Value:
        values = [caller.as_value(each) for each in arguments]
        kinds = tuple(types.unliteral(value.kind) for value in values)
        key = id(dispatcher), kinds
        if key not in self._functions:
            python = dispatcher.py_func
            name = f"{python.__qualname__}.{next(self._numbers)}"
            own = translated(self._module, name, python, kinds, self._call)
            own.llvm.linkage = "linkonce_odr"
            own.llvm.attributes.add("nounwind")
            if dispatcher.targetoptions.get("forceinline"):
                own.llvm.attributes.add("alwaysinline")
            self._functions[key] = own, dispatcher
        function = self._functions[key][0]
        result = caller.builder.call(function.llvm, [value.llvm for value in values])
        if function.kind is types.none:
            return machine().constant(caller.builder, None)
        return Value(function.kind, result)

    def _entry(self, name: str, body: Function, share: int, kinds: Sequence[Any]) -> ir.Function:
        """Emit ``int32 entry(int64 *result, void **error, int64 record, int64 ...)``."""
        own, word = machine(), ir.IntType(64)
        pointers = [word.as_pointer(), ir.IntType(8).as_pointer().as_pointer()]
        signature = ir.FunctionType(ir.IntType(32), [*pointers, *[word] * (share + 1)])
        entry = ir.Function(self._module, signature, name)
        entry.attributes.add("nounwind")
        body.llvm.linkage = "internal"
        body.llvm.attributes.add("nounwind")
        builder = ir.IRBuilder(entry.append_basic_block("entry"))
        places = itertools.count()

        def load(kind: Any) -> Any:
            if hasattr(kind, "types"):  # a group
                return own.target.make_tuple(builder, kind, [load(each) for each in kind.types])
            record = builder.inttoptr(entry.args[2], own.llvm_type(kind).as_pointer())
            return builder.load(builder.gep(record, [word(next(places))], inbounds=True))

        given = [*entry.args[3:], *[load(kind) for kind in kinds]]
        result = builder.call(body.llvm, given)
        result = own.cast(builder, Value(body.kind, result), types.int64).llvm
        builder.store(result, entry.args[0])
        builder.ret(ir.IntType(32)(0))
        return entry

    def _text_of(self, name: str) -> str:
        """Return the text of a function and all that it refers to."""
        nodes: dict[str, None] = {}
        texts = []
        seen, waiting = {name}, [name]
        while waiting:
            text = self._own_text(waiting.pop())
            texts.append(text.code)
            for symbol in text.symbols:
                if symbol[0] == "!":
                    nodes[symbol] = None
                elif symbol not in seen:
                    seen.add(symbol)
                    waiting.append(symbol)
        return "\n".join(itertools.chain(texts, self._metadata(nodes)))

    def _own_text(self, name: str) -> _Text:
        if name not in self._texts:
            item = self._module.globals[name]
            code = str(item)
            symbols = {symbol.strip('"'): None for symbol in _SYMBOL.findall(code)}
            symbols |= dict.fromkeys(_NODE.findall(code))
            symbols.pop(name, None)
            known = [each for each in symbols if each[0] == "!" or each in self._module.globals]
            self._texts[name] = _Text(code, tuple(known))
            if isinstance(item, ir.Function):
                item.blocks = []  # its text is enough from now on
        return self._texts[name]

    def _metadata(self, names: dict[str, None]) -> Iterator[str]:
        """Yield the lines of metadata that functions refer to, and of those these refer to."""
        if not names:
            return
        nodes = {node.get_reference(): node for node in self._module.metadata}
        seen, waiting = set(names), [name for name in names if name in nodes]
        while waiting:
            name = waiting.pop()
            line = str(nodes[name]).strip()
            yield line
            for each in _NODE.findall(line):
                if each in nodes and each not in seen:
                    seen.add(each)
                    waiting.append(each)


def kind_of(annotation: Any) -> Any:
    """Type of a kernel's parameter, as numba has it: of a word, or of a group of fields."""
    if hasattr(annotation, "_fields"):
        fields = map(kind_of, get_type_hints(annotation).values())
        return types.BaseTuple.from_types(tuple(fields), annotation)
    return types.float64 if annotation is float else types.int64
