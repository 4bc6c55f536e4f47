"""Blocks of the simulator: threads of which one runs at a time, in an order that is chosen.

numba's own simulator lets all threads of a block run freely and polls them, and has nothing that a
warp does together. Here a thread runs until it has to wait, and hands on to the next: runs repeat
exactly, other orders can be asked for (what depends on the order is a race), a block in which
nobody can go on is told as such, and a barrier costs microseconds.
"""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from . import operations as operations
from .memory import Memory
from .process_memory import ProcessMemory
from .program import program_of
from .races import Accesses

_IDLE_TURNS = 20
"""Turns of a thread that polls and finds nothing, one after the other, until we give up."""


class Deadlock(RuntimeError):
    """No thread of a block can go on."""


class _Stopped(BaseException):
    """Another thread failed."""


class Thread(threading.Thread):
    """A thread of a block, with what the hardware keeps for it.

    Attributes
    ----------
    index, block : int, Block
        Its number in its block.
    pending, groups : list
        Asynchronous copies: those behind the last commit, and lists of committed ones.
    trace : dict of str to list of int
        Addresses in shared memory by instruction, in the order of execution.
    """

    def __init__(self, block: Block, index: int, function: Callable[..., None], arguments: Any):
        super().__init__(daemon=True)
        self.block, self.index = block, index
        self.baton = threading.Lock()
        self.baton.acquire()
        self.pending: list[Any] = []
        self.groups: list[list[Any]] = []
        self.trace: dict[str, list[int]] = defaultdict(list)
        self.results: Any = None
        self._call = function, arguments

    def run(self) -> None:
        """Run the kernel, from when it is this thread's turn."""
        function, arguments = self._call
        try:
            self.baton.acquire()
            if self.block.error is None:
                function(*arguments)
        except _Stopped:
            pass
        except BaseException as error:
            error.add_note(f"in thread {self.index} of block {self.block.place}")
            self.block.error = error
        self.block.end(self)

    def execute(self, instruction: Any, arguments: tuple[Any, ...]) -> Any:
        """Execute an instruction, together with the other threads that it takes."""
        program = program_of(instruction)
        if instruction.threads == 1:
            return program.run(self.block, [self], [arguments])[0]
        return self.block.together(self, program, instruction.threads, arguments)


class Block:
    """A block of threads and its shared memory.

    Attributes
    ----------
    place, grid : tuple of int
        Index of the block and size of the grid, x, y, z.
    shared : ndarray of uint8
        Shared memory, with bytes 0xFF (of floats: NaN) where nothing was written.
    memory : Memory or ProcessMemory
        Global memory.
    barriers : dict of int to MemoryBarrier
        Those (mbarrier) that lie in shared memory, by address.
    warp_groups : dict of int to Group
        What warp groups have under way.
    accesses : Accesses, optional
        Those to shared memory, where races are looked for.
    """

    def __init__(
        self,
        place: tuple[int, ...],
        grid: tuple[int, ...],
        shared_bytes: int,
        memory: Memory | ProcessMemory,
    ) -> None:
        self.place, self.grid, self.memory = place, grid, memory
        self.shared = np.full(shared_bytes, 0xFF, np.uint8)
        self.threads: list[Thread] = []
        self._alive: list[Thread] = []
        self.error: BaseException | None = None
        self.barriers: dict[int, Any] = {}
        self.warp_groups: dict[int, Any] = {}
        self.accesses: Accesses | None = None
        self._ready: deque[Thread] = deque()
        self._waiting: dict[Any, list[tuple[Thread, Any]]] = defaultdict(list)
        self._done = threading.Lock()
        self._idle = 0

    def run(self, function: Callable[..., None], count: int, arguments: Any, order: Any) -> None:
        """Run a kernel with so many threads; ``order`` permutes those that are ready."""
        self.threads = [Thread(self, i, function, arguments) for i in range(count)]
        self._done.acquire()
        self._ready.extend(self.threads[i] for i in order(count))
        self._alive = list(self.threads)
        for thread in self.threads:
            thread.start()
        self._next()
        self._done.acquire()
        for thread in self.threads:
            thread.join()
        if self.error is not None:
            raise self.error

    def _next(self) -> None:
        """Hand on to a thread that is ready."""
        if self.error is not None:
            self._alive[-1].baton.release()  # one by one, too
        elif self._ready:
            self._ready.popleft().baton.release()
        else:
            waits = {str(key): len(at) for key, at in self._waiting.items() if at}
            self.error = Deadlock(f"block {self.place}: threads that wait: {waits}")
            self._next()

    def _stop(self, thread: Thread) -> None:
        """Wait for the next turn."""
        self._next()
        thread.baton.acquire()
        if self.error is not None:
            raise _Stopped

    def end(self, thread: Thread) -> None:
        """Take a thread out that has ended or failed."""
        self._alive.remove(thread)
        self._idle = 0
        if self._alive:
            self._next()
        else:
            self._done.release()

    def pause(self, thread: Thread) -> None:
        """Let all others run first: the thread polls.

        Raises
        ------
        Deadlock
            Nothing else has happened for long.
        """
        self._idle += 1
        if self._idle > _IDLE_TURNS * len(self.threads):
            raise Deadlock(f"block {self.place}: all threads that are left poll")
        self._ready.append(thread)
        self._stop(thread)

    def refuse_reads(self, start: int, end: int) -> None:
        """Refuse to write where products that are under way read.

        Raises
        ------
        RuntimeError
            There are some.
        """
        for group in self.warp_groups.values():
            for first, last in itertools.chain(*group.reads.values()):
                if first < end and start < last:
                    raise RuntimeError(f"bytes {start} to {end} are written while wgmma reads them")

    def progress(self) -> None:
        """Note that something happened that others may wait for."""
        self._idle = 0

    def barrier(self, thread: Thread, name: int, count: int) -> None:
        """Wait until so many threads (0: all of the block) have come to a barrier."""
        waiting = self._waiting["barrier", name]
        waiting.append((thread, None))
        self.progress()
        if len(waiting) < (count or len(self.threads)):
            self._stop(thread)
            return
        self._ready.extend(other for other, _ in waiting if other is not thread)
        waiting.clear()
        if self.accesses is not None and not count:
            self.accesses.barriers += 1

    def together(self, thread: Thread, program: Any, count: int, arguments: Any) -> Any:
        """Execute what neighbouring threads do together; the last that comes does it for all."""
        key = thread.index // count
        waiting = self._waiting["together", count, key]
        if waiting and waiting[0][1][0] is not program:
            raise RuntimeError(
                f"{program.name} by thread {thread.index}, where others of its warp are at "
                f"{waiting[0][1][0].name}"
            )
        waiting.append((thread, (program, arguments)))
        self.progress()
        if len(waiting) < count:
            self._stop(thread)
            return thread.results
        members = sorted(waiting, key=lambda each: each[0].index)
        waiting.clear()
        results = program.run(self, [each[0] for each in members], [each[1][1] for each in members])
        for (other, _), result in zip(members, results, strict=True):
            other.results = result
            if other is not thread:
                self._ready.append(other)
        return thread.results


def launch(
    kernel: Callable[..., None],
    grid: Sequence[int],
    threads: int,
    arguments: Sequence[Any],
    memory: Memory | ProcessMemory,
    shared_bytes: int = 0,
    seed: int | None = None,
    finds_races: bool = False,
) -> list[Block]:
    """Run a kernel, block after block.

    Parameters
    ----------
    kernel : function
        Takes integers and floats.
    grid : sequence of int
        Blocks along x, y, z.
    threads : int
        Threads of a block.
    arguments : sequence
        What the kernel is called with.
    memory : Memory or ProcessMemory
        Global memory.
    shared_bytes : int
        Shared memory of a block.
    seed : int, optional
        Of the order of a block's threads; without one they begin in their order.
    finds_races : bool
        Whether accesses to shared memory are looked at (`races`): twice the time.

    Returns
    -------
    list of Block
        The blocks as they ended.

    Raises
    ------
    Exception
        What a thread raised: `Deadlock`, `Race`, `IndexError` of memory, `PtxError`.
    """
    generator = None if seed is None else np.random.default_rng(seed)
    order = range if generator is None else generator.permutation
    sizes = (*grid, 1, 1)[:3]
    blocks = []
    for z, y, x in np.ndindex(sizes[::-1]):
        block = Block((x, y, z), sizes, shared_bytes, memory)
        if finds_races:
            block.accesses = Accesses(shared_bytes)
        block.run(kernel, threads, tuple(arguments), order)
        blocks.append(block)
    return blocks
