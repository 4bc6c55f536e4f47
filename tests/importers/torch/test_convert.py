"""PyTorch modules, against PyTorch."""

from __future__ import annotations

import subprocess
import sys
import traceback

import numpy as np
import pytest
import sardonyx

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install sardonyx[torch]")
nn = torch.nn


class Residual(nn.Module):
    """Convolution, batch normalization, depthwise convolution, a sum, pooling, a classifier."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.last = nn.Linear(16, 5)

    def forward(self, image):
        x = torch.relu(self.norm(self.first(image)))
        x = x + nn.functional.hardswish(self.depthwise(x))
        return self.last(nn.functional.max_pool2d(x, 2).mean((2, 3)))


class Recurrent(nn.Module):
    """Two inputs, two outputs."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(6, 8, batch_first=True)
        self.gru = nn.GRU(8, 4, batch_first=True, bidirectional=True)

    def forward(self, sequence, offset):
        x, (state, _) = self.lstm(sequence)
        return self.gru(x)[0] + offset.unsqueeze(1), state


def check(module, model, *inputs):
    session = sardonyx.Session(model)
    names = [port.name for port in session.get_inputs()]
    feeds = {name: value.numpy() for name, value in zip(names, inputs, strict=True)}
    wanted = module.eval()(*inputs)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    for a, b in zip(session.run(None, feeds), wanted, strict=True):
        np.testing.assert_allclose(a, b.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_a_convolutional_network_takes_any_batch():
    module = Residual().train()
    model = sardonyx.load(module, example_inputs=torch.randn(1, 3, 12, 12))
    assert module.training and module.norm.training
    assert [value.name for value in model.graph.inputs] == ["image"]
    for batch in (1, 3):
        check(module, model, torch.randn(batch, 3, 12, 12))


def test_a_perceptron():
    module = nn.Sequential(
        nn.Linear(6, 9), nn.GELU(), nn.LayerNorm(9), nn.Linear(9, 2), nn.Softmax(1)
    )
    check(module, sardonyx.load(module, example_inputs=(torch.randn(4, 6),)), torch.randn(7, 6))


def test_recurrent_layers_with_several_inputs_and_outputs():
    module = Recurrent()
    inputs = {"sequence": torch.randn(1, 7, 6), "offset": torch.randn(1, 8)}
    model = sardonyx.load(module, example_inputs=inputs)
    assert [value.name for value in model.graph.inputs] == ["sequence", "offset"]
    check(module, model, torch.randn(3, 7, 6), torch.randn(3, 8))
    operators = {node.op_type for node in model.graph}
    assert {"LSTM", "GRU"} <= operators and "Loop" not in operators


def test_names_fixed_shapes_and_exported_programs(tmp_path):
    module = Residual().eval()
    x = torch.randn(2, 3, 12, 12)
    model = sardonyx.load(
        module, example_inputs=x, dynamic_shapes=(), input_names=["x"], output_names=["y"]
    )
    assert [value.name for value in (*model.graph.inputs, *model.graph.outputs)] == ["x", "y"]
    assert model.graph.inputs[0].shape == [2, 3, 12, 12]
    program = torch.export.export(module, (x,))
    check(module, sardonyx.load(program), x)
    torch.export.save(program, tmp_path / "net.pt2")
    check(module, sardonyx.load(tmp_path / "net.pt2"), x)


def test_a_module_that_fixes_its_batch_says_so():
    class Fixed(nn.Module):
        def forward(self, x):
            return x.reshape(2, 12)

    with pytest.warns(UserWarning, match="fixed batch size"):
        model = sardonyx.load(Fixed(), example_inputs=torch.randn(2, 3, 4))
    check(Fixed(), model, torch.randn(2, 3, 4))


def test_errors_name_the_module_and_the_reason():
    class Branch(nn.Module):
        def forward(self, x):
            return x + 1 if x.sum() > 0 else x.nonzero()

    with pytest.raises(sardonyx.InvalidArgument, match="Branch needs example_inputs"):
        sardonyx.load(Branch())
    both = r"could not convert Branch\. torch\.export: .* TorchScript exporter: "
    with pytest.raises(sardonyx.ImportFailed, match=both):
        sardonyx.load(Branch(), example_inputs=torch.randn(2, 3))
    with pytest.raises(
        sardonyx.InvalidArgument, match=r"Residual cannot be called .*float32\[2, 4\]"
    ):
        sardonyx.load(Residual(), example_inputs=torch.randn(2, 4))
    with pytest.raises(sardonyx.InvalidArgument, match="is a str: give a tensor, a tuple"):
        sardonyx.load(Residual(), example_inputs="image")
    with pytest.raises(sardonyx.InvalidArgument, match=r"no submodule 'head', only .*depthwise"):
        sardonyx.load(Residual(), submodule="head", example_inputs=torch.randn(2, 4))
    with pytest.raises(sardonyx.InvalidArgument, match="module= goes with a file"):
        sardonyx.load(Residual(), module=Residual(), example_inputs=torch.randn(2, 4))


class Bessel(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


@pytest.mark.parametrize("way", ["module", "script", "trace", "program"])
def test_an_operator_without_translation_is_named_in_one_line(way, capfd):
    x = torch.randn(2, 3)
    source = {
        "module": lambda: Bessel(),
        "script": lambda: torch.jit.script(Bessel()),
        "trace": lambda: torch.jit.trace(Bessel(), x),
        "program": lambda: torch.export.export(Bessel(), (x,)),
    }[way]()
    options = {} if way == "program" else {"example_inputs": x}
    with pytest.raises(sardonyx.ImportFailed, match=r"operator .*bessel_j0 to ONNX; write") as told:
        sardonyx.load(source, **options)
    text = "".join(traceback.format_exception(told.value)[-1:]) + capfd.readouterr().out
    assert len(text.splitlines()) < 10 and "\x1b" not in text
    assert "step 3" not in text and "graph" not in text
    assert told.value.__cause__ is None and told.value.__suppress_context__


class Packed(nn.Module):
    """Sequences of several lengths, padded to the length of the input again."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], True, 0.0, x.shape[1])[0]


def test_packed_sequences_are_traced_with_warnings():
    module = Packed().eval()
    with pytest.warns(UserWarning, match="Packed went through the TorchScript exporter"):
        model = sardonyx.load(
            module, example_inputs=(torch.randn(3, 7, 4), torch.tensor([7, 5, 2]))
        )
    for lengths in ([7, 5, 2], [2, 6, 3], [1], [4, 4, 7, 1]):
        check(module, model, torch.randn(len(lengths), 7, 4), torch.tensor(lengths))


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}, {"num_layers": 2, "bias": False}])
@pytest.mark.filterwarnings("ignore:LSTM with projections")
def test_an_lstm_with_projections(options):
    class Projected(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(4, 6, proj_size=3, batch_first=True, **options)

        def forward(self, x):
            y, (h, c) = self.lstm(x)
            return y, h, c

    module = Projected().eval()
    x = torch.randn(3, 5, 4)
    model = sardonyx.load(module, example_inputs=x)
    check(module, model, x)
    with pytest.raises(sardonyx.ImportFailed, match="no translation of the operator LSTM"):
        sardonyx.load(torch.jit.script(module), example_inputs=x)


def test_an_integer_takes_the_type_of_the_floats_beside_it():
    class Numbers(nn.Module):
        def forward(self, x):
            two = torch.tensor(2, dtype=torch.int32)
            return x * two, two - x, x > two, torch.pow(two, x), x.int() * two

    x = torch.randn(3, 4)
    session = sardonyx.Session(sardonyx.load(Numbers(), example_inputs=x))
    for found, wanted in zip(session.run(None, {"x": x.numpy()}), Numbers()(x), strict=True):
        assert found.dtype == wanted.numpy().dtype
        np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5)


def test_an_output_may_have_a_name_that_is_taken_inside():
    module = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU())
    x = torch.randn(2, 2, 6, 6)
    plain = sardonyx.load(module, example_inputs=x)
    taken = next(iter(plain.graph)).outputs[0].name
    model = sardonyx.load(module, example_inputs=x, output_names=[taken])
    assert model.graph.outputs[0].name == taken
    np.testing.assert_allclose(
        sardonyx.Session(model)(x.numpy()), module(x).detach().numpy(), rtol=1e-4, atol=1e-5
    )


def test_a_part_of_a_module():
    module = Residual().eval()
    x = torch.randn(2, 16, 5, 5)
    check(module.depthwise, sardonyx.load(module, submodule="depthwise", example_inputs=x), x)


def test_what_torch_export_cannot_goes_through_torchscript_with_the_reason():
    class Sign(nn.Module):
        def forward(self, x):
            return x * 2 if x.sum() > 0 else x - 1

    with pytest.warns(UserWarning, match=r"Sign went through .* torch\.export failed: .*guard"):
        model = sardonyx.load(Sign(), example_inputs=torch.randn(2, 3))
    for x in (torch.ones(3, 3), -torch.ones(1, 3)):
        check(Sign(), model, x)


def test_a_module_that_changes_its_buffers_says_so():
    class Counter(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))

        def forward(self, x):
            self.calls += 1
            return x * self.calls

    with pytest.warns(UserWarning, match="changes its calls"):
        sardonyx.load(Counter(), example_inputs=torch.randn(2, 3))


def test_beside_tensorflow_in_either_order():
    pytest.importorskip("tensorflow", reason="TensorFlow is not installed")
    for first, second in (("torch", "tensorflow"), ("tensorflow", "torch")):
        code = (
            f"import sardonyx, {first}, {second}, torch;"
            "m = torch.nn.Linear(2, 2);"
            "s = sardonyx.Session(sardonyx.load(m, example_inputs=torch.ones(1, 2)));"
            "print(s.run(None, {s.get_inputs()[0].name: torch.ones(3, 2).numpy()})[0].shape)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.strip().endswith("(3, 2)"), done.stderr
