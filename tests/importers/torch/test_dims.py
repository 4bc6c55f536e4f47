"""Open dimensions of a PyTorch module, and their names."""

from __future__ import annotations

import numpy as np
import pytest
import sardonyx

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install sardonyx[torch]")
nn = torch.nn


class Tokens(nn.Module):
    """Two inputs of tokens, as in transformers; at most 16 of them."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 6)
        self.places = nn.Embedding(16, 6)

    def forward(self, ids, mask):
        x = self.words(ids) + self.places(torch.arange(ids.shape[1]))
        return (x * mask.unsqueeze(-1)).sum(1)


def shapes(model, values=None):
    return [
        [dim if isinstance(dim, int) else dim.value for dim in value.shape]
        for value in values or model.graph.inputs
    ]


def check(module, model, *inputs):
    session = sardonyx.Session(model)
    names = [port.name for port in session.get_inputs()]
    (found,) = session.run(None, {n: v.numpy() for n, v in zip(names, inputs, strict=True)})
    wanted = module.eval()(*inputs).detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("examples", [(1, 9), (3, 16)])
def test_batch_and_sequence_of_tokens(examples):
    module = Tokens()
    # One tensor for both inputs, which torch.export would take for one input.
    example = torch.ones(examples, dtype=torch.int64)
    model = sardonyx.load(module, example_inputs=(example, example))
    assert shapes(model) == [["batch", "sequence"]] * 2
    assert shapes(model, model.graph.outputs) == [["batch", 6]]
    for size in ((1, 1), (4, 16)):
        check(module, model, torch.randint(0, 20, size), torch.randint(0, 2, size))


def test_other_dimensions_are_named_after_their_input():
    model = sardonyx.load(nn.Conv2d(3, 4, 3), example_inputs=torch.randn(1, 3, 8, 9))
    assert shapes(model) == [["batch", 3, "input_2", "input_3"]]
    assert shapes(model, model.graph.outputs) == [["batch", 4, "input_2 - 2", "input_3 - 2"]]


def test_what_the_module_wants_equal_has_one_name():
    class Product(nn.Module):
        def forward(self, a, b):
            return a @ b

    inputs = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
    model = sardonyx.load(Product(), example_inputs=inputs)
    assert shapes(model) == [["batch", "a_1", "a_2"], ["batch", "a_2", "b_2"]]
    check(Product(), model, torch.randn(5, 2, 7), torch.randn(5, 7, 3))


def test_what_the_module_fixes_is_fixed():
    # torch.export leaves height and width open here.
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 3))
    model = sardonyx.load(module, example_inputs=torch.randn(1, 3, 8, 8))
    assert shapes(model) == [["batch", 3, 8, 8]]
    assert "Shape" not in {node.op_type for node in model.graph}


def test_first_axes_of_several_sizes():
    class Step(nn.Module):
        def forward(self, x, state):
            scale, shift = state
            return x * scale + shift

    model = sardonyx.load(Step(), example_inputs=(torch.randn(3, 4), torch.randn(2, 3, 4)))
    assert shapes(model) == [["batch", "x_1"], [2, "batch", "x_1"]]
    check(Step(), model, torch.randn(5, 6), torch.randn(2, 5, 6))


def test_given_dimensions_come_first():
    x = torch.randn(2, 3, 8, 8)
    dim = torch.export.Dim("n")
    for given in (
        ({0: "n", 2: "height"},),
        {"input": {0: dim, 2: torch.export.Dim("height", min=3)}},
    ):
        model = sardonyx.load(nn.Conv2d(3, 4, 3), example_inputs=x, dynamic_shapes=given)
        assert shapes(model) == [["n", 3, "height", 8]]
    named = {"input": torch.randn(2, 3, 8, 8)}
    model = sardonyx.load(
        nn.Conv2d(3, 4, 3), example_inputs=named, dynamic_shapes={"input": ("n", None, None, None)}
    )
    assert shapes(model) == [["n", 3, 8, 8]]
