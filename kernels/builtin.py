"""Functions of Python that run a kernel on a record, and what compiled code knows of Python.

A call through ctypes converts every argument anew and costs 1.5 microseconds; these are called like
any function of the interpreter. Each is a function of a few instructions in LLVM assembly, and what
it calls is compiled code of ours (``kernels.cpu.calls``).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

from ..forks import fork_lock
from . import elf
from .abi import (
    JOB_FEEDS,
    JOB_RECORD_WORDS,
    OBJECT_ARRAY,
    OBJECT_DATA,
    OBJECT_DICT,
    OBJECT_EMPTY,
)
from .compiler import assembled, load_or_make
from .record import data_offset

_WORD = 8
_NO_ARGUMENT, _ONE_ARGUMENT = 4, 8
"""Python's numbers of these kinds of methods."""

# A method gets its ``self``; here that is an array, whose data pointer follows the two words every
# Python object begins with. After the record comes the kernel's address.
_BUILTIN = """
define ptr @builtin(i64 %self, i64 %argument) {{
  %at = add i64 %self, {data}
  %pointer = inttoptr i64 %at to ptr
  %record = load i64, ptr %pointer
  %words = inttoptr i64 %record to ptr
  %feeds = getelementptr i64, ptr %words, i64 {feeds}
  store i64 %argument, ptr %feeds
  %behind = getelementptr i64, ptr %words, i64 {kernel}
  %kernel = load ptr, ptr %behind
  %result = alloca i64
  %error = alloca ptr
  %code = call i32 %kernel(ptr %result, ptr %error, i64 %record, i64 0, i64 0, i64 1, i64 1)
  %object = load ptr, ptr %result
  ret ptr %object
}}
"""

# What a handler of a signal raises stays with the thread, and ends the call of the builtin. Once
# the interpreter has ended the thread has no state; ``PyGILState_Ensure`` would crash making one.
_POLL = """
declare ptr @PyGILState_GetThisThreadState()
declare void @PyEval_RestoreThread(ptr)
declare i32 @PyErr_CheckSignals()
declare ptr @PyEval_SaveThread()

define i64 @poll() {
  %state = call ptr @PyGILState_GetThisThreadState()
  %ended = icmp eq ptr %state, null
  br i1 %ended, label %none, label %look
look:
  call void @PyEval_RestoreThread(ptr %state)
  %raised = call i32 @PyErr_CheckSignals()
  %same = call ptr @PyEval_SaveThread()
  %wide = sext i32 %raised to i64
  ret i64 %wide
none:
  ret i64 0
}
"""


class _Method(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


def _text_address(symbol: str, text: str) -> int:
    """Address of a function that is given as LLVM assembly."""
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    return load_or_make(f"{name}.o", lambda: (symbol, assembled(text)))


@functools.cache
def signal_poll() -> int:
    """Address of a function that handles signals within a call of a builtin.

    It returns 0, or another number where a handler raised an exception.
    """
    with fork_lock:
        return _text_address("poll", _POLL)


@functools.cache
def known_objects() -> Any:
    """Return the words ``OBJECT_...``, which compiled code has to know of Python and numpy."""
    import numpy as np
    from numpy._core import multiarray

    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    functions = pointer(multiarray._ARRAY_API, None)
    words = np.zeros(4, np.int64)
    words[OBJECT_DICT], words[OBJECT_ARRAY] = id(dict), id(np.ndarray)
    words[OBJECT_DATA] = data_offset()
    place = 184 * _WORD  # of PyArray_Empty in numpy's C interface
    words[OBJECT_EMPTY] = ctypes.c_int64.from_address(functions + place).value
    return words


@functools.cache
def _method(kind: int) -> _Method:
    """Python's description of a method that runs a kernel on a record."""
    text = _BUILTIN.format(data=data_offset(), feeds=JOB_FEEDS, kernel=JOB_RECORD_WORDS)
    method = _Method(b"run", _text_address("builtin", text), kind, None)
    elf.keep(method)
    return method


class Builtins(NamedTuple):
    """Functions that run a kernel on one record."""

    walk: Callable[[], Any]
    call: Callable[[Any], Any]


def builtins_of(kernel: int, record: Any) -> Builtins:
    """Make functions that run all of a kernel on a record: without, and with an argument.

    Parameters
    ----------
    kernel : int
        Address of the machine code; it returns an object, or null after an exception.
    record : ndarray of int64
        Its argument record and a word more, which is set; held by the functions. The argument is
        written into it.
    """
    record[JOB_RECORD_WORDS] = kernel
    make = ctypes.pythonapi.PyCFunction_NewEx
    make.restype = ctypes.py_object
    make.argtypes = (ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)
    with fork_lock:  # of descriptions created at once, one would be freed while its function lives
        methods = [ctypes.addressof(_method(kind)) for kind in (_NO_ARGUMENT, _ONE_ARGUMENT)]
    return Builtins(*(make(method, record, None) for method in methods))
