"""Records, patches, weights and steps as they are written into a program."""

from __future__ import annotations

import numpy as np
from sardonyx.kernels.abi import ADDRESS, ARENA, INPUT, KERNEL, RECORD, VALUE
from sardonyx.kernels.cpu.fill import fill
from sardonyx.kernels.cpu.words import store_words
from sardonyx.runtime.assembler import Assembler
from sardonyx.runtime.graph import Info
from sardonyx.runtime.symbolic import symbol
from sardonyx.runtime.tensors import Pending, Record, Tensor

N = symbol("n")


def tensor(program: Assembler, kind: int = ARENA, name: str = "t") -> Tensor:
    return Tensor(program.buffer(kind, N * 8), 0, "int64", (N,), (1,), name)


def pending(target: Tensor, words: list, name: str = "node", over=()) -> Pending:
    fields = {"y": target, "itemsize": 8, "count": N, "words": Record(words)}
    return Pending(store_words, [target], "Test", [name], ["Test"], 0, over=over, fields=fields)


def test_records_come_before_those_that_point_to_them():
    program = Assembler()
    program.add_step(pending(tensor(program), [7, fill(8), None]))
    made = program.finish({})
    (step,) = made.steps
    assert step.record == 3
    assert made.words[:3].tolist() == [7, 0, 0]
    names = store_words.fields
    patches = {int(word): (int(kind), int(a)) for word, kind, a, _ in made.patches}
    assert patches[1] == (KERNEL, made.kernels.index(fill(8).ref))
    assert patches[3 + names.index("words")] == (RECORD, 0)
    assert patches[3 + names.index("y")] == (ADDRESS, 0)
    assert patches[3 + names.index("count")][0] == VALUE
    assert len(patches) == 4


def test_traffic_is_counted_once_for_each_place_and_not_for_scratch():
    program = Assembler()
    target, scratch = tensor(program), tensor(program)
    scratch.buffer.is_scratch = True
    program.add_step(pending(target, [target, scratch, target]))
    (step,) = program.finish({}).steps
    assert step.bytes == program.code.slot(N * 8)


def test_weights_lie_on_lines():
    program = Assembler()
    arrays = [np.arange(count, dtype=np.float32) for count in (3, 16, 1)]
    firsts = [program.store(array)[1] for array in arrays]
    assert firsts == [0, 64, 128]
    blob = program.finish({}).weights
    for first, array in zip(firsts, arrays, strict=True):
        np.testing.assert_array_equal(blob[first:][: array.nbytes].view(np.float32), array)


def test_an_operand_that_is_not_used_again_is_written_over():
    program = Assembler()
    first, second = tensor(program), tensor(program)
    program.add_step(pending(first, [0]))
    program.add_step(pending(second, [first], over=[first]))
    made = program.finish({})
    numbers = [step.outputs[0] for step in made.steps]
    assert [made.tensors[number].buffer for number in numbers] == [0, 0]


def test_steps_that_are_taken_back_are_gone():
    program = Assembler()
    program.add_step(pending(tensor(program), [0], "kept"))
    count = program.step_count
    program.add_step(pending(tensor(program), [0], "gone"))
    program.take_back(count)
    made = program.finish({})
    assert [step.name for step in made.steps] == ["kept"]
    assert [(s.first, s.last, s.host) for s in made.stretches] == [(0, 1, -1)]


def test_inputs_define_symbols():
    program = Assembler()
    given = tensor(program, INPUT, "x")
    program.check(N, 4, False, "sizes")
    program.add_output(Info("y", "int64", (N * 2,)), given, "tensor(int64)")
    program.add_input(Info("x", "int64", (N, 3)), given, "tensor")
    made = program.finish({"why": 1})
    assert made.symbols == ["model:n"]
    assert (made.inputs[0].dims, made.inputs[0].symbols) == (["n", 3], [0, -1])
    assert made.outputs[0].dims == ["2*n"]
    assert [(check.message, check.phase) for check in made.checks] == [("sizes", 0)]
    assert made.metadata == {"why": 1}


def test_a_phase_begins_with_sizes_of_data():
    program = Assembler()
    program.open_phase()
    tensor(program)
    program.check(N, 1, True, "later")
    made = program.finish({})
    assert made.buffers[0, 4] == 1
    assert made.checks[0].phase == 1
