"""Objects are loaded without LLVM, or refused."""

from __future__ import annotations

import platform
from collections.abc import Callable

import pytest
from sardonyx.kernels import elf
from sardonyx.kernels.compiler import (
    KernelRef,
    _code_of,
    _load,
    assembled,
    native_function,
)
from sardonyx.kernels.numba_compiler import compile_object

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="objects for x86-64")


def compiled(body: str) -> bytes:
    """Object of a kernel whose result is what the LLVM assembly ``body`` calls ``%y``."""
    head = "define i32 @f(ptr %result, ptr %e, i64 %a, i64 %b, i64 %c) {"
    return assembled(f"{body.partition('---')[0]}\n{head}\n{body.partition('---')[2]}\n"
                         "store i64 %y, ptr %result\nret i32 0\n}")  # fmt: skip


def loaded(*codes: bytes) -> list[Callable[[int, int, int], int]]:
    return [native_function(each) for each in elf.load([elf.flatten(code, "f") for code in codes])]


def test_code_constants_and_calls_of_the_c_library_work():
    code = compiled(
        "@k = private constant [4 x i64] [i64 3, i64 5, i64 7, i64 11]\ndeclare i64 @labs(i64)"
        "---%p = getelementptr i64, ptr @k, i64 %b\n%v = load i64, ptr %p\n"
        "%n = call i64 @labs(i64 %a)\n%y = add i64 %v, %n"
    )
    (function,) = loaded(code)
    assert [function(-100, index, 0) for index in range(4)] == [103, 105, 107, 111]


def test_many_lie_in_one_mapping():
    table = "@k = private constant [2 x i64] [i64 {}, i64 1]---{}"
    read = "%p = getelementptr i64, ptr @k, i64 %b\n%y = load i64, ptr %p"
    functions = loaded(*(compiled(table.format(number, read)) for number in range(40)))
    assert [function(0, 0, 1) for function in functions] == list(range(40))


def test_kernels_of_numba_need_no_llvm():
    symbol, code = compile_object(KernelRef("kernels.cpu.words", "store_words"))
    flat = elf.flatten(code, symbol)
    assert 0 <= flat.entry < len(flat.code)
    assert elf.load([flat])[0] > 0


@pytest.mark.parametrize(
    "body",
    ["@k = global i64 7---%y = load i64, ptr @k", "declare i64 @none()---%y = call i64 @none()"],
    ids=["data", "unknown function"],
)
def test_what_is_more_than_code_is_refused(body):
    with pytest.raises(elf.Unsupported):
        elf.flatten(compiled(body), "f")


def test_llvm_loads_what_this_loader_refuses():
    code = compiled("@k = global i64 7---%y = load i64, ptr @k")
    (address,) = _load([_code_of("f", code)])
    assert native_function(address)(0, 0, 1) == 7


@pytest.mark.parametrize("code", [b"", b"\x7fELF" + bytes(60), bytes(100)])
def test_what_is_no_object_is_refused(code):
    with pytest.raises(elf.Unsupported):
        elf.flatten(code, "f")


def test_an_object_for_another_processor_is_refused():
    code = bytearray(compiled("---%y = add i64 %a, %b"))
    code[18] = 183  # AArch64
    with pytest.raises(elf.Unsupported):
        elf.flatten(bytes(code), "f")
