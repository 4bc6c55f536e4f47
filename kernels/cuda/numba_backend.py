"""numba-cuda as the compiler of kernels: PTX instructions become its intrinsics.

Kernels are plain functions, whose names stand for instructions (`ptx.Instruction`) and functions of
ours (`ptx.DeviceFunction`). `bound` makes a copy in which these names mean numba's objects; the
function itself stays what the simulator runs. Another compiler needs its own `bound`.
"""

from __future__ import annotations

import functools
import re
from types import CellType, FunctionType
from typing import Any

from llvmlite import ir

from .deferred import Deferred
from .ptx import DeviceFunction, Instruction, Kind, SharedStart

_CONSTRAINTS: dict[Kind, str] = {"b32": "r", "s32": "r", "f32": "f", "b64": "l", "f64": "d"}
_TYPES: dict[Kind, ir.Type] = {
    "b32": ir.IntType(32),
    "s32": ir.IntType(32),
    "f32": ir.FloatType(),
    "b64": ir.IntType(64),
    "f64": ir.DoubleType(),
}


def bound(function: Any) -> Any:
    """Copy a kernel, with numba's objects in place of ours.

    Parameters
    ----------
    function : FunctionType
        A kernel or a function that it calls.

    Returns
    -------
    FunctionType
        What `numba.cuda` compiles.
    """
    names = _names(function.__code__)
    scope = {name: _numbas(value) for name, value in function.__globals__.items() if name in names}
    scope["__builtins__"] = function.__globals__["__builtins__"]
    scope["__name__"] = function.__module__
    cells = tuple(CellType(_numbas(cell.cell_contents)) for cell in function.__closure__ or ())
    copy = FunctionType(
        function.__code__, scope, function.__name__, function.__defaults__, cells or None
    )
    copy.__qualname__ = function.__qualname__
    return copy


def _names(code: Any) -> set[str]:
    return set(code.co_names)


def _numbas(value: Any) -> Any:
    if isinstance(value, Deferred):
        return value.real
    if isinstance(value, Instruction):
        return intrinsic(value)
    if isinstance(value, DeviceFunction):
        return _device_function(value)
    if isinstance(value, SharedStart):
        return _shared_start(value.alignment)
    return value


@functools.cache
def _device_function(function: DeviceFunction) -> Any:
    from numba import cuda

    # Inlined by numba itself: a call between functions asks for the GPU that is present.
    return cuda.jit(device=True, inline="always")(bound(function.function))


def assembly(instruction: Instruction) -> tuple[str, str]:
    """Return the text and the constraints of an instruction, as LLVM's inline assembly has them."""
    output, inputs = instruction.output, instruction.inputs
    places: dict[str, int] = {}
    constraints = []
    if output is not None:
        for register in output.registers:
            places[register] = len(places)
            constraints.append("=" + _CONSTRAINTS[output.kind])
    position = len(places)
    for operand in inputs:
        for i, register in enumerate(operand.registers):
            is_tied = output is not None and operand.name == output.name
            constraints.append(str(i) if is_tied else _CONSTRAINTS[operand.kind])
            places.setdefault(register, position)
            position += 1
    if instruction.has_effects:
        constraints.append("~{memory}")

    def place(match: re.Match[str]) -> str:
        known = places.get(match.group())
        return match.group() if known is None else f"${known}"

    return re.sub(r"%\w+", place, instruction.text), ",".join(constraints)


@functools.cache
def intrinsic(instruction: Instruction) -> Any:
    """Return the intrinsic of numba.cuda that emits an instruction."""
    from numba.cuda import types
    from numba.cuda.extending import intrinsic as numba_intrinsic

    text, constraints = assembly(instruction)
    numbers = {"f32": types.float32, "f64": types.float64}
    in_groups = numbers | {"b32": types.uint32, "s32": types.int32, "b64": types.int64}

    def numba_type(kind: Kind, count: int) -> Any:
        # In groups they stay as wide as registers: sums of wgmma may not be widened in a loop.
        return types.UniTuple(in_groups[kind], count) if count else numbers.get(kind, types.int64)

    output = instruction.output
    result = numba_type(output.kind, output.count) if output else types.void
    signature = result(*(numba_type(each.kind, each.count) for each in instruction.inputs))

    def generate(context: Any, builder: ir.IRBuilder, _: Any, arguments: Any) -> ir.Value:
        values = []
        for operand, argument in zip(instruction.inputs, arguments, strict=True):
            if operand.count:
                values += [builder.extract_value(argument, i) for i in range(operand.count)]
            else:
                values.append(_to_register(builder, operand.kind, argument))
        function = ir.FunctionType(_result_type(instruction), [value.type for value in values])
        code = ir.InlineAsm(function, text, constraints, side_effect=instruction.has_effects)
        results = builder.call(code, values)
        if output is None:
            return context.get_dummy_value()
        if not output.count:
            return _from_register(builder, output.kind, results)
        parts = [builder.extract_value(results, i) for i in range(output.count)]
        return context.make_tuple(builder, result, parts)

    # numba asks for a function with a parameter for each argument.
    parameters = ", ".join(f"x{i}" for i in range(len(instruction.inputs)))
    scope = {"signature": signature, "generate": generate}
    exec(f"def definition(context, {parameters}):\n    return signature, generate", scope)
    return numba_intrinsic(scope["definition"])


@functools.cache
def _shared_start(alignment: int) -> Any:
    from numba.cuda import types
    from numba.cuda.extending import intrinsic as numba_intrinsic

    def generate(_: Any, builder: ir.IRBuilder, __: Any, ___: Any) -> ir.Value:
        module, name = builder.module, "dynamic_shared"
        memory = module.globals.get(name)
        if memory is None:
            kind = ir.ArrayType(ir.IntType(8), 0)
            memory = ir.GlobalVariable(module, kind, name, addrspace=3)
            memory.linkage, memory.align = "external", alignment
        return builder.ptrtoint(memory, ir.IntType(64))

    def definition(context: Any) -> Any:
        return types.int64(), generate

    return numba_intrinsic(definition)


def _result_type(instruction: Instruction) -> ir.Type:
    output = instruction.output
    if output is None:
        return ir.VoidType()
    if not output.count:
        return _TYPES[output.kind]
    return ir.LiteralStructType([_TYPES[output.kind]] * output.count)


def _to_register(builder: ir.IRBuilder, kind: Kind, value: ir.Value) -> ir.Value:
    return builder.trunc(value, _TYPES[kind]) if kind in ("b32", "s32") else value


def _from_register(builder: ir.IRBuilder, kind: Kind, value: ir.Value) -> ir.Value:
    if kind == "b32":
        return builder.zext(value, ir.IntType(64))
    return builder.sext(value, ir.IntType(64)) if kind == "s32" else value
