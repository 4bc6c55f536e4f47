"""Memory, vectors and calls for kernels, as intrinsics that numba lacks.

Addresses are int64 byte addresses; indices count elements of the named type. Nothing is bounds
checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from .abi import RAISED
from .target import HAS_MASKS, LANES
from .vectors import F32, F64, I1, I8, I16, I32, I64, VectorType, f32x, i32x, intrinsic, mask

# --- scalars in memory ------------------------------------------------------------------------

SCALARS: dict[str, tuple[Any, ir.Type]] = {
    "f32": (types.float32, F32),
    "f64": (types.float64, F64),
    "i64": (types.int64, I64),
    "i32": (types.int32, I32),
    "i16": (types.int16, I16),
    "i8": (types.int8, I8),
    "u64": (types.uint64, I64),
    "u32": (types.uint32, I32),
    "u16": (types.uint16, I16),
    "u8": (types.uint8, I8),
}


def _pointer(builder: ir.IRBuilder, address: Any, element: ir.Type) -> Any:
    return builder.inttoptr(address, element.as_pointer())


def element_at(builder: ir.IRBuilder, address: Any, index: Any, element: ir.Type) -> Any:
    """Emit the pointer to an element."""
    return builder.gep(_pointer(builder, address, element), [index], inbounds=True)


def _make_load(name: str) -> Callable[..., Any]:
    numba_type, element = SCALARS[name]

    @intrinsic
    def load(typingctx, address, index):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            return builder.load(element_at(builder, args[0], args[1], element))

        return numba_type(types.int64, types.int64), codegen

    return load


def _make_store(name: str) -> Callable[..., Any]:
    numba_type, element = SCALARS[name]

    @intrinsic
    def store(typingctx, address, index, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            builder.store(args[2], element_at(builder, args[0], args[1], element))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, numba_type), codegen

    return store


load_f32, store_f32 = _make_load("f32"), _make_store("f32")
load_f64, store_f64 = _make_load("f64"), _make_store("f64")
load_i64, store_i64 = _make_load("i64"), _make_store("i64")
load_i32, store_i32 = _make_load("i32"), _make_store("i32")
load_i16, store_i16 = _make_load("i16"), _make_store("i16")
load_i8, store_i8 = _make_load("i8"), _make_store("i8")
load_u64, store_u64 = _make_load("u64"), _make_store("u64")
load_u32, store_u32 = _make_load("u32"), _make_store("u32")
load_u16, store_u16 = _make_load("u16"), _make_store("u16")
load_u8, store_u8 = _make_load("u8"), _make_store("u8")


# --- vectors in memory ------------------------------------------------------------------------


def mangled(vector: ir.VectorType) -> str:
    """Suffix of an intrinsic of LLVM that takes a vector."""
    element = vector.element
    kind = {F32: "f32", F64: "f64"}.get(element) or f"i{element.width}"
    return f"v{vector.count}{kind}"


def call_by_name(builder: ir.IRBuilder, name: str, result: ir.Type, args: list[Any]) -> Any:
    """Emit a call of a function that LLVM or the process knows by its name."""
    fnty = ir.FunctionType(result, [value.type for value in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, fnty, name), args)


def emit_first(builder: ir.IRBuilder, count: Any, lanes: int = LANES) -> Any:
    """Mask of the first ``count`` lanes."""
    # As int32, whose vectors are one register each.
    for name, limit in (("smin", lanes), ("smax", 0)):
        count = call_by_name(builder, f"llvm.{name}.i64", I64, [count, I64(limit)])
    numbers = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, emit_splat(builder, builder.trunc(count, I32), lanes))


def emit_splat(builder: ir.IRBuilder, value: Any, lanes: int = LANES) -> Any:
    """Emit a vector with one value in all lanes."""
    vector = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, I32(0))
    zeros = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), zeros)


def load_first_lanes(
    builder: ir.IRBuilder, vector: ir.VectorType, pointer: Any, count: Any, align: int = 4
) -> Any:
    """Load the first ``count`` lanes; the others are 0."""
    zero = ir.Constant(vector, [vector.element(0)] * vector.count)
    mask = emit_first(builder, count, vector.count)
    name = f"llvm.masked.load.{mangled(vector)}.p0"
    return call_by_name(builder, name, vector, [pointer, I32(align), mask, zero])


def store_first_lanes(
    builder: ir.IRBuilder, value: Any, pointer: Any, count: Any, align: int = 4
) -> None:
    """Store the first ``count`` lanes of a vector.

    By a mask where the processor has mask registers; else by halves, because AVX2's masked stores
    are an order of magnitude slower than plain ones on some processors.
    """
    lanes = value.type.count
    if HAS_MASKS:
        name = f"llvm.masked.store.{mangled(value.type)}.p0"
        mask = emit_first(builder, count, lanes)
        call_by_name(builder, name, ir.VoidType(), [value, pointer, I32(align), mask])
        return
    with builder.if_else(builder.icmp_signed(">=", count, I64(lanes))) as (full, part):
        with full:
            builder.store(value, pointer, align=align)
        with part, builder.if_then(builder.icmp_signed(">", count, I64(0))):
            _store_by_halves(builder, value, pointer, count, align)


def _store_by_halves(
    builder: ir.IRBuilder, value: Any, pointer: Any, count: Any, align: int
) -> None:
    element = value.type.element
    pointer = builder.bitcast(pointer, element.as_pointer())
    size = value.type.count
    while size > 1:
        size //= 2
        lower, upper = (
            builder.shuffle_vector(
                value,
                ir.Constant(value.type, ir.Undefined),
                ir.Constant(ir.VectorType(I32, size), list(range(first, first + size))),
            )
            for first in (0, size)
        )
        wanted = builder.icmp_signed("!=", builder.and_(count, I64(size)), I64(0))
        with builder.if_then(wanted):
            builder.store(lower, builder.bitcast(pointer, lower.type.as_pointer()), align=align)
        pointer = builder.select(wanted, builder.gep(pointer, [I64(size)]), pointer)
        value = builder.select(wanted, upper, lower)


def _make_vector_memory(vector: VectorType) -> tuple[Any, Any, Any, Any]:
    element = vector.llvm.element

    @intrinsic
    def load(typingctx, address, index):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            pointer = element_at(builder, args[0], args[1], element)
            pointer = builder.bitcast(pointer, vector.llvm.as_pointer())
            return builder.load(pointer, align=4)

        return vector(types.int64, types.int64), codegen

    @intrinsic
    def store(typingctx, address, index, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            pointer = element_at(builder, args[0], args[1], element)
            pointer = builder.bitcast(pointer, vector.llvm.as_pointer())
            builder.store(args[2], pointer, align=4)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, vector), codegen

    @intrinsic
    def load_first(typingctx, address, index, count):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            pointer = element_at(builder, args[0], args[1], element)
            pointer = builder.bitcast(pointer, vector.llvm.as_pointer())
            return load_first_lanes(builder, vector.llvm, pointer, args[2])

        return vector(types.int64, types.int64, types.int64), codegen

    @intrinsic
    def store_first(typingctx, address, index, value, count):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            pointer = element_at(builder, args[0], args[1], element)
            pointer = builder.bitcast(pointer, vector.llvm.as_pointer())
            store_first_lanes(builder, args[2], pointer, args[3])
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, vector, types.int64), codegen

    return load, store, load_first, store_first


vload, vstore, vload_first, vstore_first = _make_vector_memory(f32x)
vload_i32, vstore_i32, vload_i32_first, vstore_i32_first = _make_vector_memory(i32x)


# --- making and taking apart ------------------------------------------------------------------


def _make_splat(vector: VectorType, numba_type: Any) -> Any:
    @intrinsic
    def splat(typingctx, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            return emit_splat(builder, args[0])

        return vector(numba_type), codegen

    return splat


splat = _make_splat(f32x, types.float32)
splat_i32 = _make_splat(i32x, types.int32)


def unary(name: str, build: Callable[..., Any], result: VectorType, operand: VectorType) -> Any:
    """Make an intrinsic of one vector."""

    @intrinsic
    def operation(typingctx, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            return build(builder, args[0])

        return result(operand), codegen

    return operation


def _math(name: str) -> Any:
    def build(builder: ir.IRBuilder, value: Any) -> Any:
        return call_by_name(builder, f"llvm.{name}.{mangled(f32x.llvm)}", f32x.llvm, [value])

    return unary(name, build, f32x, f32x)


vabs, vsqrt, vfloor, vceil = _math("fabs"), _math("sqrt"), _math("floor"), _math("ceil")
vrint, vtrunc = _math("rint"), _math("trunc")
as_i32 = unary("as_i32", lambda b, v: b.bitcast(v, i32x.llvm), i32x, f32x)
as_f32 = unary("as_f32", lambda b, v: b.bitcast(v, f32x.llvm), f32x, i32x)
to_i32 = unary("to_i32", lambda b, v: b.fptosi(v, i32x.llvm), i32x, f32x)
to_f32 = unary("to_f32", lambda b, v: b.sitofp(v, f32x.llvm), f32x, i32x)


def _make_reduce(name: str, start: float | None) -> Any:
    @intrinsic
    def reduce(typingctx, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            fnty = ir.FunctionType(F32, ([] if start is None else [F32]) + [f32x.llvm])
            full = f"llvm.vector.reduce.{name}.{mangled(f32x.llvm)}"
            function = cgutils.get_or_insert_function(builder.module, fnty, full)
            first = [] if start is None else [F32(start)]
            return builder.call(function, [*first, args[0]], fastmath=("reassoc",))

        return types.float32(f32x), codegen

    return reduce


reduce_add = _make_reduce("fadd", -0.0)


def _make_reduce_extreme(predicate: str) -> Any:
    """Halve the vector until a lane is left; LLVM's own reduction looks for NaN at each step."""

    @intrinsic
    def reduce(typingctx, value):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            whole, half = args[0], LANES // 2
            while half:
                lanes = [*range(half, 2 * half), *range(LANES - half)]
                order = ir.Constant(ir.VectorType(I32, LANES), lanes)
                other = builder.shuffle_vector(whole, whole, order)
                is_beyond = builder.fcmp_ordered(predicate, other, whole)
                whole, half = builder.select(is_beyond, other, whole), half // 2
            return builder.extract_element(whole, I32(0))

        return types.float32(f32x), codegen

    return reduce


reduce_max, reduce_min = _make_reduce_extreme(">"), _make_reduce_extreme("<")
"""Largest and smallest lane; they may miss a NaN."""


@intrinsic
def extract(typingctx, value, lane):  # type: ignore[no-untyped-def]
    """Return one lane of a vector."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return builder.extract_element(args[0], args[1])

    return types.float32(f32x, types.int64), codegen


@intrinsic
def first(typingctx, count):  # type: ignore[no-untyped-def]
    """Mask of the first ``count`` lanes."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return emit_first(builder, args[0])

    return mask(types.int64), codegen


@intrinsic
def between(typingctx, start, end):  # type: ignore[no-untyped-def]
    """Mask of the lanes from ``start`` to ``end``, exclusive; either may lie outside."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        before = builder.not_(emit_first(builder, args[0]))
        return builder.and_(emit_first(builder, args[1]), before)

    return mask(types.int64, types.int64), codegen


@intrinsic
def any_lane(typingctx, lanes):  # type: ignore[no-untyped-def]
    """Tell whether any lane of a mask is set."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return call_by_name(builder, f"llvm.vector.reduce.or.{mangled(mask.llvm)}", I1, [args[0]])

    return types.boolean(mask), codegen


@intrinsic
def fma(typingctx, a, b, c):  # type: ignore[no-untyped-def]
    """Return ``a * b + c`` with one rounding."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return call_by_name(builder, f"llvm.fma.{mangled(f32x.llvm)}", f32x.llvm, list(args))

    return f32x(f32x, f32x, f32x), codegen


@intrinsic
def unordered(typingctx, a, b):  # type: ignore[no-untyped-def]
    """Mask of the lanes in which either vector has a NaN."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return builder.fcmp_unordered("uno", *args)

    return mask(f32x, f32x), codegen


@intrinsic
def ordered(typingctx, a, b):  # type: ignore[no-untyped-def]
    """Mask of the lanes in which neither vector has a NaN."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return builder.fcmp_ordered("ord", *args)

    return mask(f32x, f32x), codegen


@intrinsic
def select(typingctx, condition, yes, no):  # type: ignore[no-untyped-def]
    """Lane-wise ``yes if condition else no`` for f32x or i32x."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        return builder.select(*args)

    if yes in (f32x, i32x) and yes == no:
        return yes(mask, yes, yes), codegen
    return None


def _make_extreme(predicate: str) -> Any:
    @intrinsic
    def extreme(typingctx, a, b):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            # Unordered comparison: a NaN in ``a`` wins; minps/maxps do the same in one go.
            return builder.select(
                builder.fcmp_ordered(predicate, args[1], args[0]), args[1], args[0]
            )

        return f32x(f32x, f32x), codegen

    return extreme


vmax, vmin = _make_extreme(">"), _make_extreme("<")


# --- calls ---------------------------------------------------------------------------------------


@intrinsic
def call_kernel(typingctx, address, args, thread, part, until, parts):  # type: ignore[no-untyped-def]
    """Call the kernel at an address with a record for some parts; returns its error code."""

    def codegen(context, builder, sig, values):  # type: ignore[no-untyped-def]
        result = cgutils.alloca_once(builder, I64)
        error = cgutils.alloca_once(builder, I64)
        pointers = [I64.as_pointer(), I64.as_pointer()]
        fnty = ir.FunctionType(I32, [*pointers, *[I64] * 5])
        function = builder.inttoptr(values[0], fnty.as_pointer())
        status = builder.call(function, [result, error, *values[1:]])
        raised = builder.icmp_signed("!=", status, I32(0))  # by a function of the caller's
        return builder.select(raised, I64(RAISED), builder.load(result))

    return types.int64(*[types.int64] * 6), codegen


@intrinsic
def call_function(typingctx, address, arguments):  # type: ignore[no-untyped-def]
    """Call the C function at an address, which takes words, as a tuple, and returns an int64."""

    def codegen(context, builder, sig, values):  # type: ignore[no-untyped-def]
        words = cgutils.unpack_tuple(builder, values[1], len(arguments))
        fnty = ir.FunctionType(I64, [I64] * len(words))
        return builder.call(builder.inttoptr(values[0], fnty.as_pointer()), words)

    return types.int64(types.int64, types.UniTuple(types.int64, len(arguments))), codegen


@intrinsic
def stack_words(typingctx, count):  # type: ignore[no-untyped-def]
    """Address of ``count`` (a literal) int64 words in the function's frame, aligned as vectors."""
    if not isinstance(count, types.IntegerLiteral):
        return None
    size = count.literal_value

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        words = cgutils.alloca_once(builder, ir.ArrayType(I64, size))
        words.align = 4 * LANES
        return builder.ptrtoint(words, I64)

    return types.int64(count), codegen


def prefetch_line(builder: ir.IRBuilder, pointer: Any, write: bool = False) -> None:
    """Ask for a cache line to be brought into the second-level cache; never faults."""
    name = "llvm.prefetch.p0"
    call_by_name(builder, name, ir.VoidType(), [pointer, I32(int(write)), I32(2), I32(1)])


def align_frame(builder: ir.IRBuilder) -> None:
    """Have the vectors that the compiler keeps in the frame aligned.

    It only does so for a variable that needs it; else most of them may cross cache lines. This one
    stays because it is asked for.
    """
    aligned = cgutils.alloca_once(builder, I64)
    aligned.align = 4 * LANES
    prefetch_line(builder, builder.bitcast(aligned, I8.as_pointer()))


@intrinsic
def prefetch(typingctx, address):  # type: ignore[no-untyped-def]
    """Ask for the cache line at an address, as `prefetch_line`."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        prefetch_line(builder, _pointer(builder, args[0], I8))
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def prefetch_to_write(typingctx, address):  # type: ignore[no-untyped-def]
    """Ask for the cache line at an address, which will be written."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        prefetch_line(builder, _pointer(builder, args[0], I8), write=True)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def keep_rolled(branch: Any) -> None:
    """Tell LLVM not to unroll the loop that a branch closes."""
    module = branch.function.module
    option = module.add_metadata(["llvm.loop.unroll.disable"])
    loop = ir.values.MDValue(module, [], str(len(module.metadata)))
    loop.operands = (loop, option)  # the node of a loop begins with itself
    branch.set_metadata("llvm.loop", loop)
