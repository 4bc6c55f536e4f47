"""Decisions by sizes, which PyTorch makes once: right, fixed with a warning, or refused."""

from __future__ import annotations

import dataclasses
import warnings

import numpy as np
import pytest
import sardonyx

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install sardonyx[torch]")
nn = torch.nn
AUTO = torch.export.Dim.AUTO


class One(nn.Module):
    def forward(self, x):
        return x.sum(1) if x.shape[0] == 1 else x.mean(1)


class Cut(nn.Module):
    def forward(self, x):
        return x[:, :16].sum(1)


class PadIfOdd(nn.Module):
    def forward(self, x):
        if x.shape[1] % 2:
            x = nn.functional.pad(x, (0, 1))
        return x.reshape(x.shape[0], -1, 2).sum(1)


class Long(nn.Module):
    def forward(self, x):
        return x * 2 if x.shape[1] > 30 else x + 1


class Windows(nn.Module):
    """Pads to windows of 7, which is arithmetic and no decision."""

    def forward(self, x):
        x = nn.functional.pad(x, (0, (7 - x.shape[1] % 7) % 7))
        return x.reshape(x.shape[0], -1, 7).mean(2)


class Places(nn.Module):
    """Takes at most 20 columns."""

    def __init__(self):
        super().__init__()
        self.places = nn.Parameter(torch.arange(20.0))

    def forward(self, x):
        return x + self.places[: x.shape[1]]


class Flat(nn.Module):
    """Nearly the same for both branches."""

    def forward(self, x):
        return x.sum(1) if x.shape[1] > 30 else x.mean(1) * x.shape[1]


class SameSizes(nn.Module):
    def forward(self, x, y):
        return x.mean() * y if x.shape[1] == y.shape[0] else x.mean() - y


class Masked(nn.Module):
    """Has a mask as long as x; for others, which it takes, it does something else."""

    def forward(self, x, mask):
        length = mask.shape[1]
        return x[:, :length].sum(1) if x.shape[1] <= length else x.mean(1)


SIZES = (1, 2, 3, 6, 7, 8, 13, 14, 15, 16, 17, 24, 29, 30, 31, 32, 40)
CASES = [
    (One(), (1, 4)), (One(), (3, 4)), (Cut(), (2, 12)), (Cut(), (2, 20)), (PadIfOdd(), (2, 12)),
    (PadIfOdd(), (2, 11)), (Long(), (2, 20)), (Long(), (2, 33)), (Windows(), (2, 14)),
    (Places(), (2, 9)), (Flat(), (2, 20)),
]  # fmt: skip
OPEN = (Windows, Places, Flat)


def dims(model):
    return [[d if isinstance(d, int) else d.value for d in v.shape] for v in model.graph.inputs]


def load(source, **options):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = sardonyx.load(source, **options)
    return model, " ".join(str(each.message) for each in told)


def check(module, model, example):
    """Compare for all sizes that the model and the module take."""
    session = sardonyx.Session(model, threads=1)
    (shape,) = dims(model)
    for size in SIZES:
        for free in ((example[0], size), (size, example[1]), (size, size)):
            x = torch.randn(*(f if isinstance(d, str) else d for f, d in zip(free, shape)))  # noqa: B905
            try:
                wanted = module(x).detach().numpy()
            except Exception:  # this module does not take it
                continue
            np.testing.assert_allclose(session(x.numpy()), wanted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("module", "example"), CASES, ids=lambda case: type(case).__name__)
def test_a_module_is_right_for_every_size_that_its_model_takes(module, example):
    model, told = load(module, example_inputs=torch.randn(example))
    (shape,) = dims(model)
    for axis, dim in enumerate(shape):
        assert isinstance(dim, str) or f"dimension {axis} of x" in told
    if isinstance(module, OPEN):
        assert shape == ["batch", "x_1"] and not told
    check(module, model, example)


@pytest.mark.parametrize("way", ["program", "trace", "script"])
@pytest.mark.parametrize(("module", "example"), CASES[2:7], ids=lambda case: type(case).__name__)
def test_other_ways_are_right_for_every_size_they_take(module, example, way):
    x = torch.randn(example)
    if way == "program":
        free = ({0: AUTO, 1: AUTO},)
        source = torch.export.export(module, (x,), dynamic_shapes=free)
        wanted, model = source.module(), load(source)[0]  # which refuses some
    else:
        source = torch.jit.script(module) if way == "script" else torch.jit.trace(module, x)
        wanted, model = source, load(source, example_inputs=x)[0]
    check(wanted, model, example)


def test_a_program_is_fixed_where_it_refuses_sizes_but_not_by_its_authors_limits(tmp_path):
    x = torch.randn(2, 12)
    guarded = torch.export.export(Cut(), (x,), dynamic_shapes=({0: AUTO, 1: AUTO},))
    torch.export.save(guarded, tmp_path / "m.pt2")
    for source in (guarded, tmp_path / "m.pt2"):
        model, told = load(source)
        assert dims(model) == [["batch", 12]] and "refuses a size of" in told
    limit = torch.export.Dim("columns", max=14)
    limited = torch.export.export(Places(), (x,), dynamic_shapes=({0: AUTO, 1: limit},))
    model, told = load(limited)
    assert isinstance(dims(model)[0][1], str) and not told


@pytest.mark.parametrize(("module", "example"), [CASES[1], CASES[4], CASES[6]])
def test_a_dimension_that_the_caller_wants_open_is_right_or_refused(module, example):
    try:
        model, _ = load(
            module, example_inputs=torch.randn(example), dynamic_shapes=({0: "n", 1: "m"},)
        )
    except sardonyx.ImportFailed as error:
        assert "decides by dimension" in str(error)
        return
    assert dims(model) == [["n", "m"]]
    check(module, model, example)


def test_a_dimension_that_the_caller_names_is_open_or_told():
    names = ({0: "n", 1: "m"},)
    model, told = load(Places(), example_inputs=torch.randn(1, 9), dynamic_shapes=names)
    assert dims(model) == [["n", "m"]] and not told
    check(Places(), model, (1, 9))
    fixed = nn.Linear(4, 3)
    model, told = load(fixed, example_inputs=torch.randn(1, 4), dynamic_shapes=names)
    assert dims(model) == [["n", 4]] and "dimension 1 of input, which dynamic_shapes=" in told


def test_limits_that_the_caller_states_are_kept():
    most = torch.export.Dim("m", max=15)
    x = torch.randn(2, 12)
    model, told = load(Cut(), example_inputs=x, dynamic_shapes=({0: "n", 1: most},))
    assert dims(model) == [["n", "m"]] and not told


def test_inputs_whose_sizes_have_to_be_the_same_or_not():
    x, y = torch.randn(2, 5), torch.randn(6)
    model, told = load(SameSizes(), example_inputs=(x, y))
    session = sardonyx.Session(model, threads=1)
    for columns, others in ((5, 6), (7, 7), (1, 1), (6, 5)):
        feeds = {"x": torch.randn(2, columns), "y": torch.randn(others)}
        try:
            (found,) = session.run(None, {name: value.numpy() for name, value in feeds.items()})
        except sardonyx.InvalidArgument:
            assert "decides by" in told
            continue
        np.testing.assert_allclose(found, SameSizes()(**feeds), rtol=1e-4, atol=1e-5)


def test_a_mask_has_the_length_of_what_it_masks():
    x = torch.randn(2, 12)
    model, told = load(Masked(), example_inputs=(x, torch.ones(2, 12)))
    assert dims(model) == [["batch", "x_1"], ["batch", "x_1"]] and not told
    session = sardonyx.Session(model, threads=1)
    for size in (1, 7, 24):
        x, mask = torch.randn(3, size), torch.ones(3, size)
        (found,) = session.run(None, {"x": x.numpy(), "mask": mask.numpy()})
        np.testing.assert_allclose(found, Masked()(x, mask), rtol=1e-4, atol=1e-5)


def test_a_module_with_random_numbers_gives_no_evidence():
    class Noisy(nn.Module):
        def forward(self, x):
            return x + torch.rand_like(x)

    model, told = load(Noisy(), example_inputs=torch.randn(2, 5))
    assert dims(model) == [["batch", "x_1"]] and "decides" not in told


@dataclasses.dataclass
class Answer:
    scores: object
    state: object


class State:
    """An object that PyTorch does not know, as transformers' caches are."""

    def __init__(self, first, second):
        self.kind, self.layers = "kept", [first, {"second": second}]


def test_results_are_also_objects_and_dataclasses():
    class Answering(nn.Module):
        def forward(self, words):
            return Answer(words * 2, State(words + 1, words.sum(1)))

    x = torch.randn(2, 5)
    model, _ = load(Answering(), example_inputs=x)
    names = [value.name for value in model.graph.outputs]
    assert names == ["scores", "state.layers.0", "state.layers.1.second"]
    assert [value.name for value in model.graph.inputs] == ["words"]
    found = sardonyx.Session(model, threads=1).run(None, {"words": x.numpy()})
    for value, wanted in zip(found, (x * 2, x + 1, x.sum(1)), strict=True):
        np.testing.assert_allclose(value, wanted, rtol=1e-5)
    assert sardonyx.convert(Answering(), example_inputs=x).agrees


class Merging(nn.Module):
    """Pads, shifts and merges windows, as window transformers do with images."""

    def forward(self, x):
        for _ in range(5):
            odd, rest = x.shape[1] % 2, -x.shape[1] % 7
            x = nn.functional.pad(x, (0, odd + rest))
            x = torch.cat([x[:, ::2], x[:, 1 : x.shape[1] // 3 + 1]], 1)
        return x.reshape(x.shape[0], -1).sum(1)


def test_sizes_that_are_long_expressions_are_fixed(monkeypatch):
    monkeypatch.setattr("sardonyx.importers.torch.patches._TERMS", 30)
    model, told = load(Merging(), example_inputs=torch.randn(2, 40))
    assert dims(model) == [["batch", 40]]
    assert "fixed sizes but that of the batch" in told and "more than 30 terms" in told
    check(Merging(), model, (2, 40))


class Squeezed(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return x.squeeze(self.dim) + 1


@pytest.mark.parametrize(
    ("example", "dim", "shape"),
    [((3, 4), 0, [3, 4]), ((3, 4), -1, ["batch", 4]), ((3, 1), 1, ["batch", 1])],
)
def test_an_axis_that_is_squeezed_is_fixed(example, dim, shape):
    model, _ = load(Squeezed(dim), example_inputs=torch.randn(example))
    assert dims(model) == [shape]
    check(Squeezed(dim), model, example)
    program = torch.export.export(
        Squeezed(dim), (torch.randn(example),), dynamic_shapes=({0: AUTO, 1: AUTO},)
    )
    if 1 in example:
        check(Squeezed(dim), load(program)[0], example)
    else:
        with pytest.raises(sardonyx.ImportFailed, match="is squeezed: where it is 1"):
            sardonyx.load(program)


class Doubled(nn.Module):
    def forward(self, x):
        return x * 2


class WrongAlone(nn.Module):
    def forward(self, x):
        return x * 2 + (len(x) == 1)


def test_a_program_is_compared_with_what_it_is_translated_to(monkeypatch):
    source = torch.export.export(Doubled(), (torch.randn(4, 5),), dynamic_shapes=({0: AUTO},))
    assert dims(load(source)[0]) == [["batch", 5]]
    monkeypatch.setattr(
        "sardonyx.importers.torch.sizes.unconditional", lambda program: WrongAlone()
    )
    model, told = load(source)
    assert dims(model) == [[4, 5]]
    assert "dimension 0 of x as in the examples: where it is 1, the model computes" in told
