import asyncio
import threading
import time

import numpy as np
import pytest
from sardonyx.errors import KernelError
from sardonyx.tools.serving.batching import Batcher, Closed, QueueFull
from sardonyx.tools.serving.workers import Workers


class Notes:
    def __init__(self):
        self.rows, self.lengths, self.waited = [], [], []

    def queued(self, length):
        self.lengths.append(length)

    def ran(self, rows, waited, seconds):
        self.rows.append(rows)
        self.waited += waited


def batcher(run, notes=None, slots=1, **options):
    # So many threads that one run at a time is in the background, whatever the machine.
    return Batcher(run, Workers(slots), notes or Notes(), threads=64, **options)


def numbers(contents, cancellation):
    return [each + 1 for each in contents]


def held(gate, seen=None):
    """A run that waits for an event."""

    def run(contents, cancellation):
        if seen is not None:
            seen.append(list(contents))
        while not gate.wait(0.005):
            if cancellation.is_cancelled:
                raise KernelError("cancelled")
        return list(contents)

    return run


def test_each_request_gets_its_result():
    async def main():
        queue = batcher(numbers, max_rows=4)
        return await asyncio.gather(*(queue.submit(number, 1, "a") for number in range(20)))

    assert asyncio.run(main()) == list(range(1, 21))


def test_requests_that_wait_are_joined_by_kind_and_rows():
    async def main():
        gate, seen, notes = threading.Event(), [], Notes()
        queue = batcher(held(gate, seen), notes, max_rows=4)
        first = queue.submit("x", 1, None)
        others = [
            queue.submit(name, rows, kind)
            for name, rows, kind in (
                ("a1", 1, "a"), ("b1", 1, "b"), ("a2", 2, "a"), ("a3", 2, "a"), ("a4", 1, "a"),
                ("alone", 1, None), ("large", 9, "b"),
            )
        ]  # fmt: skip
        gate.set()
        await asyncio.gather(first, *others)
        return seen, notes.rows

    seen, rows = asyncio.run(main())
    assert seen == [["x"], ["a1", "a2", "a4"], ["b1"], ["a3"], ["alone"], ["large"]]
    assert rows == [1, 4, 1, 2, 1, 9]


def test_a_request_waits_for_others_no_longer_than_it_may():
    async def main():
        notes = Notes()
        queue = batcher(numbers, notes, max_rows=4, max_wait=0.05)
        began = time.perf_counter()
        await queue.submit(1, 1, "a")
        alone = time.perf_counter() - began
        began = time.perf_counter()
        await asyncio.gather(*(queue.submit(1, 1, "a") for _ in range(4)))
        return alone, time.perf_counter() - began, notes.rows

    alone, together, rows = asyncio.run(main())
    assert alone >= 0.045
    assert together < 0.045
    assert rows == [1, 4]


def test_a_full_queue_refuses():
    async def main():
        gate = threading.Event()
        queue = batcher(held(gate), max_queue=2)
        running = [queue.submit(number) for number in range(3)]
        with pytest.raises(QueueFull, match="2 requests wait"):
            queue.submit(3)
        gate.set()
        return await asyncio.gather(*running)

    assert asyncio.run(main()) == [0, 1, 2]


def test_a_request_that_is_given_up_leaves_the_queue():
    async def main():
        gate, seen = threading.Event(), []
        queue = batcher(held(gate, seen))
        first, second, third = (queue.submit(number) for number in range(3))
        second.cancel()
        await asyncio.sleep(0)
        assert len(queue) == 1
        gate.set()
        await asyncio.gather(first, third)
        return seen

    assert asyncio.run(main()) == [[0], [2]]


def test_a_run_is_cancelled_when_nobody_wants_it():
    async def main():
        gate = threading.Event()
        queue = batcher(held(gate), max_rows=2, max_wait=1)
        pair = [queue.submit(number, 1, "a") for number in range(2)]
        pair[0].cancel()
        await asyncio.sleep(0.05)
        assert not pair[1].done()  # the other one goes on
        pair[1].cancel()
        began = time.perf_counter()
        await queue.close()
        return time.perf_counter() - began

    assert asyncio.run(main()) < 2


def test_errors_are_those_of_the_request():
    def run(contents, cancellation):
        return [KernelError("bad") if each < 0 else each for each in contents]

    async def main():
        queue = batcher(run, max_rows=4, max_wait=1)
        futures = [queue.submit(number, 1, "a") for number in (1, -1, 2, 3)]
        return await asyncio.gather(*futures, return_exceptions=True)

    one, error, two, three = asyncio.run(main())
    assert (one, two, three) == (1, 2, 3)
    assert isinstance(error, KernelError)


def test_an_error_of_the_run_is_that_of_all_and_the_next_go_on():
    def run(contents, cancellation):
        if 0 in contents:
            raise ZeroDivisionError
        return contents

    async def main():
        queue = batcher(run, max_rows=2, max_wait=1)
        futures = [queue.submit(number, 1, "a") for number in (0, 1, 2, 3)]
        return await asyncio.gather(*futures, return_exceptions=True)

    results = asyncio.run(main())
    assert [type(each).__name__ for each in results[:2]] == ["ZeroDivisionError"] * 2
    assert results[2:] == [2, 3]


def test_closing_answers_what_is_there_and_takes_no_more():
    async def main():
        gate = threading.Event()
        queue = batcher(held(gate))
        futures = [queue.submit(number) for number in range(3)]
        closing = asyncio.ensure_future(queue.close())
        await asyncio.sleep(0)
        with pytest.raises(Closed):
            queue.submit(4)
        gate.set()
        await closing
        return [future.result() for future in futures]

    assert asyncio.run(main()) == [0, 1, 2]


def test_batchers_take_turns():
    async def main():
        gate, seen = threading.Event(), []
        workers = Workers(1)
        queues = [Batcher(held(gate, seen), workers, Notes(), threads=64) for _ in range(2)]
        futures = [queue.submit(f"{name}{turn}") for queue, name in zip(queues, "ab", strict=True)
                   for turn in range(3)]  # fmt: skip
        gate.set()
        await asyncio.gather(*futures)
        return [content for (content,) in seen]

    assert asyncio.run(main()) == ["a0", "a1", "b0", "a2", "b1", "b2"]


def test_any_order_of_requests_gives_each_its_own():
    """Random arrivals, sizes, kinds and cancellations."""
    rng = np.random.default_rng(5)

    def run(contents, cancellation):
        time.sleep(0.0005)
        return list(contents)

    async def main():
        notes = Notes()
        queue = batcher(run, notes, slots=2, max_rows=4, max_wait=0.001, max_queue=1000)
        futures = {}
        for number in range(600):
            kind = [None, "a", "b"][rng.integers(3)]
            futures[number] = queue.submit(number, int(rng.integers(1, 6)), kind)
            if rng.random() < 0.1:
                futures[int(rng.integers(number + 1))].cancel()
            if rng.random() < 0.3:
                await asyncio.sleep(float(rng.random() * 0.002))
        await asyncio.wait(futures.values())
        await queue.close()
        assert len(queue) == 0
        done = {key: future for key, future in futures.items() if not future.cancelled()}
        assert all(future.result() == key for key, future in done.items())
        assert max(notes.rows) <= 5
        return len(done)

    assert asyncio.run(main()) > 400
