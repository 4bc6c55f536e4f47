"""Each module of torch.nn alone, with its usual options: converted, run, compared with PyTorch.

A case is how to build the module, and the shapes of its inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import sardonyx

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install sardonyx[torch]")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: pip install sardonyx[torch]")


class Case(NamedTuple):
    """A module, the shapes of its inputs, and what integers among them are below."""

    build: Callable[[Any], Any]
    shapes: tuple[tuple[int, ...], ...]
    below: int = 0


def _same(name: str, *shape: int, **options: Any) -> Case:
    return Case(lambda nn: getattr(nn, name)(**options), (shape,))


SIGNAL, IMAGE, VOLUME = (2, 4, 20), (2, 4, 12, 10), (2, 4, 6, 7, 8)

_ELEMENTWISE = (
    "ELU", "Hardshrink", "Hardsigmoid", "Hardtanh", "Hardswish", "LeakyReLU", "LogSigmoid",
    "PReLU", "ReLU", "ReLU6", "RReLU", "SELU", "CELU", "GELU", "Sigmoid", "SiLU", "Mish",
    "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Identity", "Dropout",
    "AlphaDropout", "FeatureAlphaDropout", "Flatten", "Softmax2d",
)  # fmt: skip

CASES: dict[str, Case] = {name: _same(name, *IMAGE) for name in _ELEMENTWISE}
CASES |= {
    "Threshold": _same("Threshold", *IMAGE, threshold=0.1, value=20.0),
    "GLU": _same("GLU", *IMAGE, dim=1),
    "Softmin": _same("Softmin", *IMAGE, dim=1),
    "Softmax": _same("Softmax", *IMAGE, dim=1),
    "LogSoftmax": _same("LogSoftmax", *IMAGE, dim=1),
    "Dropout1d": _same("Dropout1d", *SIGNAL),
    "Dropout2d": _same("Dropout2d", *IMAGE),
    "Dropout3d": _same("Dropout3d", *VOLUME),
    "LocalResponseNorm": _same("LocalResponseNorm", *IMAGE, size=3),
    "CrossMapLRN2d": _same("CrossMapLRN2d", *IMAGE, size=3),
    "LayerNorm": _same("LayerNorm", *IMAGE, normalized_shape=[12, 10]),
    "RMSNorm": _same("RMSNorm", *IMAGE, normalized_shape=[10]),
    "GroupNorm": _same("GroupNorm", *IMAGE, num_groups=2, num_channels=4),
    "SyncBatchNorm": _same("SyncBatchNorm", *IMAGE, num_features=4),
    "Linear": _same("Linear", 3, 5, in_features=5, out_features=7),
    "Bilinear": Case(lambda nn: nn.Bilinear(5, 6, 7), ((3, 5), (3, 6))),
    "Embedding": Case(lambda nn: nn.Embedding(11, 6, padding_idx=0), ((3, 5),), 11),
    "EmbeddingBag": Case(lambda nn: nn.EmbeddingBag(11, 6, mode="mean"), ((3, 5),), 11),
    "CosineSimilarity": Case(lambda nn: nn.CosineSimilarity(), ((3, 5), (3, 5))),
    "PairwiseDistance": Case(lambda nn: nn.PairwiseDistance(), ((3, 5), (3, 5))),
    "PixelShuffle": _same("PixelShuffle", *IMAGE, upscale_factor=2),
    "PixelUnshuffle": _same("PixelUnshuffle", *IMAGE, downscale_factor=2),
    "ChannelShuffle": _same("ChannelShuffle", *IMAGE, groups=2),
    "Upsample": _same("Upsample", *IMAGE, scale_factor=2, mode="bicubic"),
    "UpsamplingNearest2d": _same("UpsamplingNearest2d", *IMAGE, scale_factor=3),
    "UpsamplingBilinear2d": _same("UpsamplingBilinear2d", *IMAGE, scale_factor=2),
    "Unflatten": _same("Unflatten", 3, 12, dim=1, unflattened_size=(3, 4)),
    "Unfold": _same("Unfold", *IMAGE, kernel_size=3, padding=1, stride=2),
    "Fold": _same("Fold", 2, 12, 20, output_size=(5, 6), kernel_size=2),
    "FractionalMaxPool2d": Case(
        lambda nn: nn.FractionalMaxPool2d(2, output_size=(6, 5),
                                          _random_samples=_half(2, 4, 2)), (IMAGE,),
    ),
    "FractionalMaxPool3d": Case(
        lambda nn: nn.FractionalMaxPool3d(2, output_size=(3, 3, 4),
                                          _random_samples=_half(2, 4, 3)), (VOLUME,),
    ),
}  # fmt: skip


def _half(*shape: int) -> Any:
    import torch

    return torch.full(shape, 0.5)


for axes, shape in ((1, SIGNAL), (2, IMAGE), (3, VOLUME)):
    CASES |= {
        f"Conv{axes}d": _same(f"Conv{axes}d", *shape, in_channels=4, out_channels=6,
                              kernel_size=3, padding=1, stride=2, groups=2),
        f"ConvTranspose{axes}d": _same(f"ConvTranspose{axes}d", *shape, in_channels=4,
                                       out_channels=6, kernel_size=3, stride=2, padding=1,
                                       output_padding=1),
        f"MaxPool{axes}d": _same(f"MaxPool{axes}d", *shape, kernel_size=3, stride=2, padding=1),
        f"AvgPool{axes}d": _same(f"AvgPool{axes}d", *shape, kernel_size=3, stride=2, padding=1),
        f"LPPool{axes}d": _same(f"LPPool{axes}d", *shape, norm_type=2, kernel_size=2),
        f"AdaptiveMaxPool{axes}d": _same(f"AdaptiveMaxPool{axes}d", *shape, output_size=2),
        f"AdaptiveAvgPool{axes}d": _same(f"AdaptiveAvgPool{axes}d", *shape, output_size=2),
        f"BatchNorm{axes}d": _same(f"BatchNorm{axes}d", *shape, num_features=4),
        f"InstanceNorm{axes}d": _same(f"InstanceNorm{axes}d", *shape, num_features=4, affine=True),
        f"ZeroPad{axes}d": _same(f"ZeroPad{axes}d", *shape, padding=2),
        f"ConstantPad{axes}d": _same(f"ConstantPad{axes}d", *shape, padding=2, value=1.5),
        f"ReflectionPad{axes}d": _same(f"ReflectionPad{axes}d", *shape, padding=2),
        f"ReplicationPad{axes}d": _same(f"ReplicationPad{axes}d", *shape, padding=2),
        f"CircularPad{axes}d": _same(f"CircularPad{axes}d", *shape, padding=2),
    }  # fmt: skip


def _unpool(axes: int) -> Callable[[Any], Any]:
    def build(nn: Any) -> Any:
        class Unpooled(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.pool = getattr(nn, f"MaxPool{axes}d")(2, 2, return_indices=True)
                self.unpool = getattr(nn, f"MaxUnpool{axes}d")(2, 2)

            def forward(self, x: Any) -> Any:
                return self.unpool(*self.pool(x))

        return Unpooled()

    return build


CASES |= {
    "MaxUnpool1d": Case(_unpool(1), (SIGNAL,)),
    "MaxUnpool2d": Case(_unpool(2), (IMAGE,)),
    "MaxUnpool3d": Case(_unpool(3), ((2, 4, 6, 8, 8),)),
    "RNN": _same("RNN", 5, 3, 6, input_size=6, hidden_size=4, num_layers=2),
    "LSTM": _same("LSTM", 5, 3, 6, input_size=6, hidden_size=4, bidirectional=True),
    "GRU": _same("GRU", 3, 5, 6, input_size=6, hidden_size=4, batch_first=True),
    "RNNCell": _same("RNNCell", 3, 6, input_size=6, hidden_size=4),
    "LSTMCell": _same("LSTMCell", 3, 6, input_size=6, hidden_size=4),
    "GRUCell": _same("GRUCell", 3, 6, input_size=6, hidden_size=4),
    "MultiheadAttention": Case(
        lambda nn: nn.MultiheadAttention(8, 2, batch_first=True), ((2, 5, 8),) * 3
    ),
    "TransformerEncoderLayer": _same(
        "TransformerEncoderLayer", 2, 5, 8, d_model=8, nhead=2, dim_feedforward=16, batch_first=True
    ),
    "TransformerDecoderLayer": Case(
        lambda nn: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), ((2, 5, 8), (2, 7, 8))
    ),
    "TransformerEncoder": Case(
        lambda nn: nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False
        ),
        ((2, 5, 8),),
    ),
    "TransformerDecoder": Case(
        lambda nn: nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 16), 2),
        ((5, 2, 8), (7, 2, 8)),
    ),
    "Transformer": Case(
        lambda nn: nn.Transformer(8, 2, 1, 1, 16, batch_first=True), ((2, 5, 8), (2, 7, 8))
    ),
}

_BASES = (
    "Module", "Sequential", "ModuleList", "ModuleDict", "ParameterList", "ParameterDict",
    "Container", "DataParallel", "RNNBase", "RNNCellBase",
)  # fmt: skip


def left_out(name: str) -> bool:
    """Tell whether a module has no case of its own on purpose.

    Bases and containers, losses, and those that get their sizes later, then to be the same.
    """
    lost = "Loss" in name
    return lost or name in _BASES or name.startswith(("Lazy", "Uninitialized"))


FAILURES = {
    "AdaptiveAvgPool3d": "PyTorch exports no windows of several sizes in volumes",
    "AdaptiveMaxPool3d": "PyTorch exports no windows of several sizes in volumes",
    "CrossMapLRN2d": "Python code that PyTorch cannot export; use LocalResponseNorm",
    "FractionalMaxPool2d": "ONNX has no windows at random places",
    "FractionalMaxPool3d": "ONNX has no windows at random places",
}
"""What does not work, and why."""


def modules() -> list[str]:
    """Names of all modules that mean something in inference."""
    kinds = ((name, kind) for name, kind in vars(torch.nn).items() if isinstance(kind, type))
    return [n for n, kind in kinds if issubclass(kind, torch.nn.Module) and not left_out(n)]


def check(case: Case) -> None:
    torch.manual_seed(0)
    module = case.build(torch.nn).eval()
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(0, case.below, shape) if case.below
        else rng.standard_normal(shape).astype(np.float32)
        for shape in case.shapes
    ]  # fmt: skip
    inputs = tuple(map(torch.from_numpy, arrays))
    with torch.no_grad():
        expected = torch.utils._pytree.tree_leaves(module(*inputs))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = sardonyx.load(module, example_inputs=inputs)
    session = sardonyx.Session(model)
    names = [port.name for port in session.get_inputs()]
    found = session.run(None, dict(zip(names, arrays, strict=True)))
    for a, b in zip(found, (x for x in expected if x is not None), strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_alone(name, attempt):
    attempt(f"torch.nn.{name}", lambda: check(CASES[name]), FAILURES.get(name))


def test_nearly_all_have_a_case_and_work():
    wanted = modules()
    missing = sorted(set(wanted) - set(CASES))
    assert len(missing) + len(FAILURES) <= 0.05 * len(wanted), missing
