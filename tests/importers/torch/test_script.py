"""TorchScript modules, against PyTorch."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import sardonyx

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install sardonyx[torch]")
nn = torch.nn

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # TorchScript as such


class Branch(nn.Module):
    """A branch, which tracing would not see."""

    def forward(self, x, y):
        x = x * 3 if x.mean() > 0 else x - 1
        return x + y, y


class Keeping(nn.Module):
    """Adds up what it is called with."""

    def __init__(self):
        super().__init__()
        self.cell = nn.Linear(3, 3)
        self.total = torch.zeros(1)

    def forward(self, x):
        self.total = self.total + self.cell(x).sum()
        return x + self.total


def check(module, model, *inputs):
    session = sardonyx.Session(model)
    names = [port.name for port in session.get_inputs()]
    found = session.run(None, {n: v.numpy() for n, v in zip(names, inputs, strict=True)})
    wanted = module(*inputs)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-4, atol=1e-5)


def dims(model):
    return [[d if isinstance(d, int) else d.value for d in v.shape] for v in model.graph.inputs]


@pytest.mark.parametrize("ending", [".pt", ".pth", ".jit", ".ts"])
def test_files_hold_scripts(ending, tmp_path):
    script = torch.jit.script(Branch())
    script.save(str(tmp_path / f"m{ending}"))
    inputs = {"y": torch.ones(1, 3), "x": torch.ones(1, 3)}
    model = sardonyx.load(tmp_path / f"m{ending}", example_inputs=inputs)
    assert [value.name for value in model.graph.inputs] == ["x", "y"]
    assert dims(model) == [["batch", 3]] * 2
    for sign in (1.0, -1.0):
        check(script, model, torch.full((4, 3), sign), torch.randn(4, 3))


def test_traced_modules_keep_what_tracing_fixed():
    free = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3)).eval()
    x = torch.randn(2, 3, 8, 8)
    model = sardonyx.load(torch.jit.trace(free, x), example_inputs=x)
    assert dims(model) == [["batch", 3, 8, 8]]
    check(free, model, torch.randn(5, 3, 8, 8))

    class Fixed(nn.Module):
        def forward(self, x):
            return x.reshape(2, 192)

    traced = torch.jit.trace(Fixed(), x)
    with pytest.warns(UserWarning, match="Fixed is imported with fixed dimensions"):
        model = sardonyx.load(traced, example_inputs=x)
    assert dims(model) == [[2, 3, 8, 8]]
    check(traced, model, x)


def test_batch_and_sequence_and_given_names():
    script = torch.jit.script(nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 2)))
    ids = torch.ones(1, 6, dtype=torch.int64)
    model = sardonyx.load(script, example_inputs=ids, output_names=["logits"])
    assert dims(model) == [["batch", "sequence"]]
    assert [value.name for value in model.graph.outputs] == ["logits"]
    check(script, model, torch.randint(0, 9, (3, 8)))
    assert dims(sardonyx.load(script, example_inputs=ids, dynamic_shapes=())) == [[1, 6]]
    given = ({1: "words"},)
    assert dims(sardonyx.load(script, example_inputs=ids, dynamic_shapes=given)) == [[1, "words"]]


def test_a_module_that_keeps_state_is_refused_by_its_attributes():
    script = torch.jit.script(Keeping())
    x = torch.ones(2, 3)
    with pytest.raises(
        sardonyx.UnsupportedModel, match=r"Keeping keeps total .*submodule= \(cell\)"
    ):
        sardonyx.load(script, example_inputs=x)
    check(script.cell, sardonyx.load(script, submodule="cell", example_inputs=x), x)


def test_bad_inputs(tmp_path):
    script = torch.jit.script(nn.Linear(3, 2))
    with pytest.raises(sardonyx.InvalidArgument, match="Linear needs example_inputs="):
        sardonyx.load(script)
    with pytest.raises(
        sardonyx.InvalidArgument, match=r"Linear cannot be called .*float32\[2, 5\]"
    ):
        sardonyx.load(script, example_inputs=torch.randn(2, 5))
    script.save(str(tmp_path / "m.pt"))
    with pytest.raises(
        sardonyx.InvalidArgument, match=r"holds TorchScript, not weights: leave out"
    ):
        sardonyx.load(tmp_path / "m.pt", module=nn.Linear(3, 2), example_inputs=torch.ones(1, 3))
    with zipfile.ZipFile(tmp_path / "damaged.pt", "w") as damaged:
        damaged.writestr("damaged/constants.pkl", b"")
    with pytest.raises(sardonyx.ImportFailed, match=r"damaged\.pt"):
        sardonyx.load(tmp_path / "damaged.pt", example_inputs=torch.ones(1, 3))
