"""Code in files of PyTorch: what it may call where nobody has said that the file is trusted.

A TorchScript archive holds source code, of which ``__setstate__`` runs while it is opened, and the
rest when it is traced. An exported program holds names of functions, and expressions of sizes that
PyTorch evaluates as Python. So both are read here before PyTorch opens them, and may hold nothing
but calls of operators that compute and arithmetic.

An operator computes if its namespace is one of PyTorch's for operators on tensors, and no argument
of it is the name of a file or refers to another process: then it cannot reach either.
"""

from __future__ import annotations

import ast
import json
import pickletools
import zipfile
from collections.abc import Container, Iterator
from functools import cache
from typing import Any

from ...errors import ImportFailed, InvalidArgument, reason

_NAMESPACES = ("aten", "prim", "quantized", "torchvision")
_OUTWARD = ("file", "RRef")
"""Words in the names and types of arguments that lead out of the computation."""

_CLASSES = "__torch__.torch.classes."
_FUNCTIONS = (
    "annotate", "awaitable", "bool", "complex", "float", "fork", "getattr", "hasattr", "int",
    "isinstance", "print", "range", "str", "tuple", "unchecked_cast", "uninitialized",
)  # fmt: skip
"""What TorchScript calls by a plain name, as it does other processes (``rpc_async``)."""

_TARGETS = ("torch.sym_", "torch._sym_", "_operator.", "math.")
"""Beginnings of the names of functions in an exported program, besides operators."""
_CONTROL = (
    "associative_scan", "autocast_wrap", "cond", "flex_attention", "map", "map_impl", "scan",
    "while_loop", "wrap_with_autocast", "wrap_with_set_grad_enabled",
)  # fmt: skip
"""Operators of an exported program that call parts of its own."""

_ARITHMETIC = (
    ast.Expression, ast.BoolOp, ast.BinOp, ast.UnaryOp, ast.Compare, ast.Call, ast.keyword,
    ast.Name, ast.Attribute, ast.Subscript, ast.Constant, ast.Tuple, ast.IfExp, ast.Load,
    ast.operator, ast.boolop, ast.unaryop, ast.cmpop,
)  # fmt: skip
_METHODS = ("size", "stride", "storage_offset", "floor", "ceil", "trunc", "sqrt")
_NATIVE = ("aotinductor/", "custom_obj_", "opaque_obj_", "executorch/")
"""Parts of names of entries that hold compiled code, or objects with code of their own."""


def check_code(path: str, kind: str) -> None:
    """Refuse a TorchScript archive or an exported program that may do more than compute.

    Raises
    ------
    InvalidArgument
        It may; names what it calls.
    ImportFailed
        It cannot be read.
    """
    find = _calls_of_script if kind == "TorchScript" else _calls_of_program
    try:
        found = sorted({call for name, data in _entries(path) for call in find(name, data)})
    except Exception as error:  # of the archive, its pickles, source code or JSON
        raise ImportFailed(f"{path} cannot be read as {kind}: {reason(error)}") from error
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise InvalidArgument(
            f"{path} holds {kind} with {', '.join(found[:3])}{more}, which may do more than "
            "compute: opening it runs that. Where you trust it, allow_code=True does so"
        )


def _entries(path: str) -> Iterator[tuple[str, bytes]]:
    """Yield names and contents of the entries of an archive, as each of its readers sees them."""
    import torch

    with open(path, "rb") as file:
        try:
            reader: Any = torch._C.PyTorchFileReader(file)
            for name in reader.get_all_records():
                yield name, reader.get_record(name) if _is_read(name) else b""
        except RuntimeError:  # not of this form: PyTorch opens such ones as a plain archive
            pass
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():
            yield entry.filename, archive.read(entry) if _is_read(entry.filename) else b""


def _is_read(name: str) -> bool:
    return name.endswith((".py", ".json", ".pkl"))


def _calls_of_script(name: str, data: bytes) -> Iterator[str]:
    """Yield what an entry of a TorchScript archive calls that is not pure."""
    if name.endswith(".pkl"):
        for _, text, _ in pickletools.genops(data):
            if isinstance(text, str) and text.startswith(_CLASSES):
                yield from _impure_class(text.replace(" ", "."))
    if not name.endswith(".py"):
        return
    tree = ast.parse(data)
    bases: set[ast.AST] = set()
    variables = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            variables.add(node.id)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            bases.add(node.value)
            yield from _impure_attribute(node)
        elif isinstance(node, ast.Call | ast.Assign):
            name = _dotted(node.func if isinstance(node, ast.Call) else node.value)
            if name.isidentifier() and name not in variables and name not in _FUNCTIONS:
                yield name
    # Other names for these would hide what is called.
    roots = {"torch", "ops", *(f"ops.{namespace}" for namespace in _NAMESPACES)}
    yield from (_dotted(n) for n in ast.walk(tree) if n not in bases and _dotted(n) in roots)


def _impure_attribute(node: ast.Attribute) -> Iterator[str]:
    base, name = _dotted(node.value), node.attr
    if base == "ops":
        if name not in _NAMESPACES:
            yield f"{base}.{name}"
    elif base.startswith("ops."):
        namespace = base.removeprefix("ops.")
        if namespace in _NAMESPACES and not _is_pure(f"{namespace}::{name}"):
            yield f"{base}.{name}"
    elif base.startswith(_CLASSES.removesuffix(".")):
        yield from _impure_class(f"{base}.{name}")
    elif base == "torch" and not _is_pure(f"aten::{name}"):
        yield f"torch.{name}"
    elif base.partition(".")[0] != "__torch__" and not _is_pure(f"aten::{name}", unknown=True):
        yield f"{base}.{name}"  # a method of a value, which is an operator, too


def _impure_class(name: str) -> Iterator[str]:
    """Yield the name of a class of C++, except of those that pack weights."""
    namespace = name.removeprefix(_CLASSES).partition(".")[0]
    if name.startswith(_CLASSES) and namespace not in _NAMESPACES:
        yield name


def _dotted(node: ast.AST) -> str:
    """Return a dotted name; that of an attribute of anything else begins with a dot."""
    if isinstance(node, ast.Name):
        return node.id
    return f"{_dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else ""


@cache
def _is_pure(operator: str, unknown: bool = False) -> bool:
    """Whether an operator, such as ``aten::add``, only computes; `unknown` where there is none."""
    import torch

    namespace, _, name = operator.partition("::")
    if namespace not in _NAMESPACES or "PythonOp" in name or name.startswith("rpc_"):
        return False
    if namespace == "prim":
        return True
    schemas = torch._C._jit_get_schemas_for_operator(operator)
    arguments = [argument for schema in schemas for argument in schema.arguments]
    outward = any(
        word in f"{argument.name} {argument.type}" for argument in arguments for word in _OUTWARD
    )
    return not outward if schemas else unknown


def _calls_of_program(name: str, data: bytes) -> Iterator[str]:
    """Yield what an entry of an exported program may run that is neither operator nor arithmetic.

    Compiled code and objects of C++ count as such.
    """
    if name.endswith(".so") or any(part in name for part in _NATIVE):
        yield f"compiled code ({name})"
    if not name.endswith(".json"):
        return
    for key, text in _strings(json.loads(data)):
        if key == "target" and not _is_target(text):
            yield text
        elif key in ("expr_str", "guards_code") and not _is_arithmetic(text):
            yield f"the expression {text[:60]!r}"


def _strings(contents: Any) -> Iterator[tuple[str, str]]:
    """Walk over the strings in nested JSON, with the keys of the mappings that hold them.

    ``target`` is the key of a function in a node only.
    """
    stack = [("", contents)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, dict):
            is_node = "inputs" in value
            stack += [(k if k != "target" or is_node else "", v) for k, v in value.items()]
        elif isinstance(value, list):
            stack += [(key, item) for item in value]
        elif isinstance(value, str):
            yield key, value


def _is_target(name: str) -> bool:
    parts = name.split(".")
    if parts[:2] != ["torch", "ops"]:
        return name.startswith(_TARGETS)
    if parts[2:3] == ["higher_order"]:
        return parts[3] in _CONTROL
    return len(parts) > 3 and _is_pure("::".join(parts[2:4]))


def _is_arithmetic(text: str) -> bool:
    """Whether a text is an expression of sizes, in the words of Python, sympy and PyTorch."""
    nodes = list(ast.walk(ast.parse(text, mode="eval")))
    names = {node for each in nodes for node in _names_in(each)}
    return all(isinstance(node, _ARITHMETIC) and _is_size(node, names) for node in nodes)


def _names_in(node: ast.AST) -> Iterator[ast.AST]:
    """Yield texts that are names of symbols and inputs; sympy would evaluate others."""
    if isinstance(node, ast.Call) and _dotted(node.func) == "Symbol":
        yield from node.args
    elif isinstance(node, ast.Subscript):
        yield node.slice


def _is_size(node: ast.AST, names: Container[ast.AST]) -> bool:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        return node in names
    if isinstance(node, ast.Attribute):
        return node.attr in _METHODS
    if isinstance(node, ast.Name):
        return not node.id.startswith("_")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        # Expressions of sympy and PyTorch are classes, whose names have capitals.
        return node.func.id[:1].isupper() or node.func.id in ("max", "min")
    return True
