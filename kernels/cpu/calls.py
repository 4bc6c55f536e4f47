"""Calls from Python: arrays of a run are taken and made, and its steps walked without the GIL.

A call is given a dictionary of arrays. If these are what the records are bound to, no Python is run
until the results are there; else it tells so, and Python, which can say what is wrong, takes over.
The layout of array objects is that of numpy's C interface, of which Python finds the beginning.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit
from numba.core import types

from ..abi import (
    ARRAY_FLAGS,
    ARRAY_READABLE,
    ARRAY_SHAPE,
    ARRAY_TYPE,
    CALL_DIFFERS,
    CALL_FAILED,
    JOB_BUSY,
    OBJECT_ARRAY,
    OBJECT_DATA,
    OBJECT_DICT,
    OBJECT_EMPTY,
    PATCH_COLUMNS,
    PATCH_OFFSET,
    PATCH_SOURCE,
    PATCH_WORD,
    PORT_BUFFER,
    PORT_COLUMNS,
    PORT_FLAGS,
    PORT_NAME,
    PORT_RANK,
    PORT_SHAPE,
    PORT_TYPE,
    STATUS_ERROR,
    STEP_COLUMNS,
    STEP_END,
    TIMES_LAST,
)
from ..atomics import cycles, float_control, flush_denormals, set_float_control
from ..registry import INTERRUPTED, Pointer, kernel
from ..simd import call_function, load_i32, load_i64, load_u8, store_i64
from .team import lead
from .walk import has_stopped, report_error, walk

_object, _count = types.int64, types.int64
_save_thread: Any = types.ExternalFunction("PyEval_SaveThread", types.int64())
_restore_thread: Any = types.ExternalFunction("PyEval_RestoreThread", types.void(types.int64))
_retain: Any = types.ExternalFunction("Py_IncRef", types.void(_object))
_release: Any = types.ExternalFunction("Py_DecRef", types.void(_object))
_error: Any = types.ExternalFunction("PyErr_Occurred", _object())
_forget_error: Any = types.ExternalFunction("PyErr_Clear", types.void())
_length: Any = types.ExternalFunction("PyDict_Size", _count(_object))
_entry: Any = types.ExternalFunction("PyDict_GetItemWithError", _object(_object, _object))
_new_list: Any = types.ExternalFunction("PyList_New", _object(_count))
_set_item: Any = types.ExternalFunction("PyList_SetItem", types.int32(_object, _count, _object))
_integer: Any = types.ExternalFunction("PyLong_FromLongLong", _object(types.int64))


class Steps(NamedTuple):
    """Steps ``first`` to ``last``, which a team of ``threads`` walks.

    ``budget`` bounds the time in cycles between two looks for signals, which ``poll`` handles;
    ``flush`` says whether denormal numbers are zeros; ``job`` is the address of the whole record,
    of which the team reads the first words; ``busy`` is not 0 while a thread is without the GIL, or
    waits for it.
    """

    steps: Pointer
    first: int
    last: int
    team: Pointer
    status: Pointer
    budget: int
    times: Pointer
    flush: int
    job: Pointer
    threads: int
    poll: Pointer
    busy: int


class Arrays(NamedTuple):
    """Inputs and outputs of a run, and where their addresses are written to.

    ``arrays`` has the array objects of ``inputs`` and ``outputs``, ``ports`` a row for each;
    ``patch_count`` patches of ``words`` depend on their addresses. ``feeds`` is the dictionary that
    a call was given, or null; ``objects`` what has to be known of Python and numpy.
    """

    patches: Pointer
    patch_count: int
    values: Pointer
    bases: Pointer
    words: Pointer
    arrays: Pointer
    ports: Pointer
    inputs: int
    outputs: int
    feeds: Pointer
    objects: Pointer


@njit
def _port(own: Arrays, index: int) -> Any:
    return own.ports + 8 * PORT_COLUMNS * index


# --- arrays -----------------------------------------------------------------------------------


@njit
def _is_of(thing: Pointer, own: Arrays, kind: int) -> Any:
    """Tell whether an object is exactly of a type; its type is the word before an array's data."""
    return load_i64(thing + load_i64(own.objects, OBJECT_DATA), -1) == load_i64(own.objects, kind)


@njit
def _fits(array: Pointer, port: Pointer, own: Arrays) -> Any:
    """Tell whether an object is an array of a port's type and shape that kernels can read."""
    if not _is_of(array, own, OBJECT_ARRAY):
        return False
    at, rank = array + load_i64(own.objects, OBJECT_DATA), load_i64(port, PORT_RANK)
    flags = load_i32(at, 2 * ARRAY_FLAGS)
    if load_i64(at, ARRAY_TYPE) != load_i64(port, PORT_TYPE) or ~flags & ARRAY_READABLE != 0:
        return False
    if load_i32(at, 2) != rank:
        return False
    for axis in range(rank):
        if load_i64(load_i64(at, ARRAY_SHAPE), axis) != load_i64(load_i64(port, PORT_SHAPE), axis):
            return False
    is_other = 0
    for i in range(load_i64(port, PORT_FLAGS)):
        is_other |= load_u8(load_i64(at, 0), i) >> 1
    return is_other == 0


@njit
def _release_inputs(own: Arrays, count: int) -> None:
    for i in range(count):
        _release(load_i64(own.arrays, i))


@njit
def _take_inputs(own: Arrays) -> Any:
    """Take the arrays out of a dictionary; tells whether they are what the records are bound to."""
    is_dict = _is_of(own.feeds, own, OBJECT_DICT)
    if load_i64(own.ports, PORT_RANK) < 0 or not is_dict or _length(own.feeds) != own.inputs:
        return False
    for i in range(own.inputs):
        array = _entry(own.feeds, load_i64(_port(own, i), PORT_NAME))
        if array == 0 or not _fits(array, _port(own, i), own):
            _release_inputs(own, i)
            return False
        _retain(array)
        store_i64(own.arrays, i, array)
    return True


@njit
def _make_outputs(own: Arrays) -> Any:
    """Make a list of arrays for the results; null where there is no memory."""
    results = _new_list(own.outputs)
    if results == 0:
        return 0
    for i in range(own.outputs):
        port = _port(own, own.inputs + i)
        _retain(load_i64(port, PORT_TYPE))  # numpy takes a reference
        array = call_function(
            load_i64(own.objects, OBJECT_EMPTY),
            (load_i64(port, PORT_RANK), load_i64(port, PORT_SHAPE), load_i64(port, PORT_TYPE), 0),
        )
        if array == 0:
            _release(results)
            return 0
        _set_item(results, i, array)
        store_i64(own.arrays, own.inputs + i, array)
    return results


@njit
def _begin_call(own: Arrays) -> Any:
    """Take a call's arrays; returns the list of its results, or null."""
    if not _take_inputs(own):
        _forget_error()
        return 0
    results = _make_outputs(own)
    if results == 0:
        _forget_error()
        _release_inputs(own, own.inputs)
    return results


# --- steps ------------------------------------------------------------------------------------


@njit
def _write_addresses(own: Arrays) -> None:
    """Read the addresses of inputs and outputs off the array objects, and write the records."""
    data = load_i64(own.objects, OBJECT_DATA)
    for i in range(own.inputs + own.outputs):
        address = load_i64(load_i64(own.arrays, i) + data, 0)
        store_i64(own.bases, load_i64(_port(own, i), PORT_BUFFER), address)
    for i in range(own.patch_count):
        row = PATCH_COLUMNS * i
        base = load_i64(own.bases, load_i64(own.patches, row + PATCH_SOURCE))
        offset = load_i64(own.values, load_i64(own.patches, row + PATCH_OFFSET))
        store_i64(own.words, load_i64(own.patches, row + PATCH_WORD), base + offset)


@njit
def _walk_on(own: Steps, step: int) -> Any:
    """Walk from a step until the time for a look at signals has come; returns the step reached."""
    deadline, ends = cycles() + own.budget, STEP_COLUMNS * step + STEP_END
    if own.threads == 1 or step >= own.last or load_i64(own.steps, ends) >= own.last:
        return walk(own.job, step, own.last, deadline)
    return lead(own.team, own.job, step, own.threads, deadline)


@njit
def _walk_all(own: Steps) -> Any:
    """Walk the steps; returns the step reached, or that the run has failed."""
    step = own.first
    while True:
        step = _walk_on(own, step)
        if has_stopped(own.job):
            return CALL_FAILED
        if not own.first <= step < own.last:
            return step
        if call_function(own.poll, ()) != 0:
            report_error(own.status, INTERRUPTED, step)


@njit
def _run(own: Steps) -> Any:
    """Walk the steps, timed and with denormal numbers as the run wants it."""
    store_i64(own.status, STATUS_ERROR, 0)
    if own.times != 0:
        store_i64(own.times, TIMES_LAST, cycles())
    control = float_control()
    flush_denormals(own.flush)
    reached = _walk_all(own)
    set_float_control(control)
    return reached


@kernel
def run(thread: int, part: int, until: int, parts: int, steps: Steps, arrays: Arrays) -> int:
    """Run steps, called with the GIL; returns an object of Python, null after an exception.

    It is the list of results if the run was given its arrays, or an integer: the step reached,
    ``CALL_FAILED``, or ``CALL_DIFFERS`` if the arrays are not as bound and nothing was done.
    """
    results = 0
    if arrays.feeds != 0:
        results = _begin_call(arrays)
        if results == 0:
            return _integer(CALL_DIFFERS)
    store_i64(steps.job, JOB_BUSY, 1)
    state = _save_thread()
    _write_addresses(arrays)
    reached = _run(steps)
    _restore_thread(state)
    store_i64(steps.job, JOB_BUSY, 0)
    if results != 0:
        _release_inputs(arrays, arrays.inputs)
    if results != 0 and (reached == CALL_FAILED or _error() != 0):
        _release(results)
        results = 0
    if _error() != 0:
        return 0
    return results if results != 0 else _integer(reached)
