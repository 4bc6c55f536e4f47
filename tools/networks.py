"""Convolutional networks of the literature, built by code with random weights.

Each is written as a framework exports it: convolutions without bias, a BatchNormalization after
each, activations by parts where the standard has no operator, and a free batch. Their weights are
drawn by `weights.draw`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from . import weights

_OPSET = 17
_IR_VERSION = 8
_CLASSES = 1000


class _Network:
    """Collects nodes, constants and the shapes of parameters."""

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.parameters: dict[str, tuple[int, ...]] = {}
        self.channels = {"images": 3}

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output, which has as many channels as the first input."""
        return self.split(kind, *inputs, outputs=1, **attributes)[0]

    def split(self, kind: str, *inputs: str, outputs: int, **attributes: Any) -> list[str]:
        """Add a node with several outputs."""
        name = f"{kind}_{len(self.nodes)}"
        names = [name if outputs == 1 else f"{name}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, name, **attributes))
        self.channels.update(dict.fromkeys(names, self.channels[inputs[0]]))
        return names

    def parameter(self, *shape: int) -> str:
        name = f"parameter_{len(self.parameters)}"
        self.parameters[name] = shape
        return name

    def constant(self, value: Any, dtype: type[np.generic] = np.float32) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def conv(
        self,
        x: str,
        channels: int,
        kernel: int = 1,
        stride: int = 1,
        *,
        group: int = 1,
        bias: bool = False,
        pad: int | None = None,
    ) -> str:
        pad = kernel // 2 if pad is None else pad
        parameters = [self.parameter(channels, self.channels[x] // group, kernel, kernel)]
        if bias:
            parameters.append(self.parameter(channels))
        y = self.op(
            "Conv",
            x,
            *parameters,
            kernel_shape=[kernel, kernel],
            strides=[stride, stride],
            pads=[pad] * 4,
            dilations=[1, 1],
            group=group,
        )
        self.channels[y] = channels
        return y

    def norm(self, x: str) -> str:
        parameters = [self.parameter(self.channels[x]) for _ in range(4)]
        return self.op("BatchNormalization", x, *parameters, epsilon=1e-5, momentum=0.9)

    def layer(self, x: str, channels: int, *size: int, act: Activation | None, **more: Any) -> str:
        """Convolution, normalization and, unless it is None, an activation."""
        y = self.norm(self.conv(x, channels, *size, **more))
        return y if act is None else act(self, y)

    def concat(self, *inputs: str) -> str:
        y = self.op("Concat", *inputs, axis=1)
        self.channels[y] = sum(self.channels[x] for x in inputs)
        return y

    def linear(self, x: str, outputs: int) -> str:
        y = self.op(
            "Gemm", x, self.parameter(outputs, self.channels[x]), self.parameter(outputs), transB=1
        )
        self.channels[y] = outputs
        return y

    def pooled(self, x: str) -> str:
        return self.op("Flatten", self.op("GlobalAveragePool", x), axis=1)

    def max_pool(self, x: str, kernel: int, stride: int) -> str:
        pads = [(kernel - 1) // 2] * 4
        return self.op(
            "MaxPool", x, kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads, ceil_mode=0
        )

    def finish(self, output: str, shape: Sequence[Any], seed: int) -> onnx.ModelProto:
        drawn = weights.draw(self.nodes, self.parameters, np.random.default_rng(seed))
        kind = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info("images", kind, ["N", 3, self.size, self.size])],
            [helper.make_tensor_value_info(output, kind, ["N", *shape])],
            [*self.constants, *(numpy_helper.from_array(w, name) for name, w in drawn.items())],
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)


Activation = Callable[[_Network, str], str]


def _relu(net: _Network, x: str) -> str:
    return net.op("Relu", x)


def _relu6(net: _Network, x: str) -> str:
    return net.op("Clip", x, net.constant(0), net.constant(6))


def _hard_swish(net: _Network, x: str) -> str:
    return net.op("HardSwish", x)


def _sigmoid(net: _Network, x: str) -> str:
    return net.op("Sigmoid", x)


def _hard_sigmoid(net: _Network, x: str) -> str:
    return net.op("HardSigmoid", x, alpha=1 / 6)


def _silu(net: _Network, x: str) -> str:
    return net.op("Mul", x, net.op("Sigmoid", x))


def _round_to_8(channels: float) -> int:
    """Nearest multiple of 8 that is at least 8, and not more than a tenth below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


# --- mobile networks --------------------------------------------------------------------------


def _inverted_residual(
    net: _Network,
    x: str,
    kernel: int,
    wide: int,
    channels: int,
    stride: int,
    act: Activation,
    squeeze: tuple[int, Activation, Activation] | None = None,
) -> str:
    """Expand to ``wide`` channels, convolve each alone, excite, project, and add.

    ``squeeze`` gives the channels between the two layers of squeeze-and-excitation, the activation
    there, and the gate.
    """
    y = x if wide == net.channels[x] else net.layer(x, wide, act=act)
    y = net.layer(y, wide, kernel, stride, group=wide, act=act)
    if squeeze:
        narrow, between, gate = squeeze
        inner = between(net, net.conv(net.op("GlobalAveragePool", y), narrow, bias=True))
        y = net.op("Mul", y, gate(net, net.conv(inner, wide, bias=True)))
    y = net.layer(y, channels, act=None)
    same = stride == 1 and channels == net.channels[x]
    return net.op("Add", x, y) if same else y


def mobilenet_v2(seed: int = 0) -> onnx.ModelProto:
    """MobileNetV2, 224 × 224 (Sandler et al. 2018, arXiv:1801.04381, table 2)."""
    net = _Network("mobilenet_v2", 224)
    x = net.layer("images", 32, 3, 2, act=_relu6)
    blocks = [
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2),
        (6, 320, 1, 1),
    ]  # fmt: skip
    for expansion, channels, count, stride in blocks:
        for index in range(count):
            wide = expansion * net.channels[x]
            x = _inverted_residual(net, x, 3, wide, channels, 1 if index else stride, _relu6)
    x = net.layer(x, 1280, act=_relu6)
    return net.finish(net.linear(net.pooled(x), _CLASSES), [_CLASSES], seed)


def mobilenet_v3(seed: int = 0) -> onnx.ModelProto:
    """MobileNetV3-Large, 224 × 224 (Howard et al. 2019, arXiv:1905.02244, table 1)."""
    net = _Network("mobilenet_v3", 224)
    x = net.layer("images", 16, 3, 2, act=_hard_swish)
    blocks = [
        (3, 16, 16, False, _relu, 1), (3, 64, 24, False, _relu, 2), (3, 72, 24, False, _relu, 1),
        (5, 72, 40, True, _relu, 2), (5, 120, 40, True, _relu, 1), (5, 120, 40, True, _relu, 1),
        (3, 240, 80, False, _hard_swish, 2), (3, 200, 80, False, _hard_swish, 1),
        (3, 184, 80, False, _hard_swish, 1), (3, 184, 80, False, _hard_swish, 1),
        (3, 480, 112, True, _hard_swish, 1), (3, 672, 112, True, _hard_swish, 1),
        (5, 672, 160, True, _hard_swish, 2), (5, 960, 160, True, _hard_swish, 1),
        (5, 960, 160, True, _hard_swish, 1),
    ]  # fmt: skip
    for kernel, wide, channels, excited, act, stride in blocks:
        squeeze = (_round_to_8(wide / 4), _relu, _hard_sigmoid) if excited else None
        x = _inverted_residual(net, x, kernel, wide, channels, stride, act, squeeze)
    x = net.layer(x, 960, act=_hard_swish)
    x = _hard_swish(net, net.linear(net.pooled(x), 1280))
    return net.finish(net.linear(x, _CLASSES), [_CLASSES], seed)


def efficientnet_b0(seed: int = 0) -> onnx.ModelProto:
    """EfficientNet-B0, 224 × 224 (Tan & Le 2019, arXiv:1905.11946, table 1)."""
    net = _Network("efficientnet_b0", 224)
    x = net.layer("images", 32, 3, 2, act=_silu)
    blocks = [
        (1, 3, 16, 1, 1), (6, 3, 24, 2, 2), (6, 5, 40, 2, 2), (6, 3, 80, 3, 2), (6, 5, 112, 3, 1),
        (6, 5, 192, 4, 2), (6, 3, 320, 1, 1),
    ]  # fmt: skip
    for expansion, kernel, channels, count, stride in blocks:
        for index in range(count):
            before = net.channels[x]
            squeeze = (max(1, before // 4), _silu, _sigmoid)
            step = 1 if index else stride
            x = _inverted_residual(
                net, x, kernel, expansion * before, channels, step, _silu, squeeze
            )
    x = net.layer(x, 1280, act=_silu)
    return net.finish(net.linear(net.pooled(x), _CLASSES), [_CLASSES], seed)


# --- residual network -------------------------------------------------------------------------


def resnet18(seed: int = 0) -> onnx.ModelProto:
    """ResNet-18, 224 × 224 (He et al. 2015, arXiv:1512.03385, table 1, projections of kind B)."""
    net = _Network("resnet18", 224)
    x = net.max_pool(net.layer("images", 64, 7, 2, act=_relu), 3, 2)
    for channels in (64, 128, 256, 512):
        for _ in range(2):
            narrower = channels != net.channels[x]
            stride = 2 if narrower else 1
            y = net.layer(x, channels, 3, stride, act=_relu)
            y = net.layer(y, channels, 3, act=None)
            shortcut = net.layer(x, channels, 1, stride, act=None) if narrower else x
            x = _relu(net, net.op("Add", y, shortcut))
    return net.finish(net.linear(net.pooled(x), _CLASSES), [_CLASSES], seed)


# --- segmentation -----------------------------------------------------------------------------


def unet(seed: int = 0, size: int = 256, base: int = 32) -> onnx.ModelProto:
    """U-Net, two classes (Ronneberger et al. 2015, arXiv:1505.04597, figure 1).

    With padded convolutions and normalization, as it is mostly used; ``base`` channels at the
    top, of which the paper has 64.
    """
    net = _Network("unet", size)

    def double(x: str, channels: int) -> str:
        return net.layer(net.layer(x, channels, 3, act=_relu), channels, 3, act=_relu)

    x, skips = double("images", base), []
    for level in range(1, 5):
        skips.append(x)
        x = double(net.max_pool(x, 2, 2), base << level)
    for skip in reversed(skips):
        channels = net.channels[skip]
        parameters = net.parameter(2 * channels, channels, 2, 2), net.parameter(channels)
        up = net.op("ConvTranspose", x, *parameters, kernel_shape=[2, 2], strides=[2, 2])
        net.channels[up] = channels
        x = double(net.concat(skip, up), channels)
    return net.finish(net.conv(x, 2, bias=True), [2, size, size], seed)


# --- detection --------------------------------------------------------------------------------

# Widths and heights of three boxes for each of three scales (Redmon & Farhadi 2018,
# arXiv:1804.02767, section 2.3).
_ANCHORS = {
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}
_BOX = 85  # four numbers of a box, its confidence, 80 classes


def _cross_stage(net: _Network, x: str, channels: int, count: int, add: bool = True) -> str:
    """Send half of the channels through ``count`` bottlenecks, the other half past them."""
    half = channels // 2
    y = net.layer(x, half, act=_silu)
    for _ in range(count):
        inner = net.layer(net.layer(y, half, act=_silu), half, 3, act=_silu)
        y = net.op("Add", y, inner) if add else inner
    return net.layer(net.concat(y, net.layer(x, half, act=_silu)), channels, act=_silu)


def _pyramid_pooling(net: _Network, x: str) -> str:
    """Maxima over 5 × 5, 9 × 9 and 13 × 13, each made of the one before."""
    channels = net.channels[x]
    pooled = [net.layer(x, channels // 2, act=_silu)]
    for _ in range(3):
        pooled.append(net.max_pool(pooled[-1], 5, 1))
    return net.layer(net.concat(*pooled), channels, act=_silu)


def _upsampled(net: _Network, x: str) -> str:
    scales = net.constant([1, 1, 2, 2])
    return net.op(
        "Resize", x, "", scales, mode="nearest", nearest_mode="floor",
        coordinate_transformation_mode="asymmetric",
    )  # fmt: skip


def _boxes(net: _Network, x: str, stride: int) -> str:
    """Predict boxes from one scale: centre, size, confidence and classes of each, in pixels."""
    anchors, cells = _ANCHORS[stride], net.size // stride
    count = len(anchors)
    y = net.conv(x, count * _BOX, bias=True)
    y = net.op("Reshape", y, net.constant([0, count, _BOX, cells, cells], np.int64))
    y = net.op("Sigmoid", net.op("Transpose", y, perm=[0, 1, 3, 4, 2]))
    parts = net.constant([2, 2, _BOX - 4], np.int64)
    centre, size, scores = net.split("Split", y, parts, outputs=3, axis=-1)
    grid = np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), -1)[None, None] - 0.5
    centre = net.op("Add", net.op("Mul", centre, net.constant(2)), net.constant(grid))
    centre = net.op("Mul", centre, net.constant(stride))
    size = net.op("Pow", net.op("Mul", size, net.constant(2)), net.constant(2))
    size = net.op("Mul", size, net.constant(np.reshape(anchors, (1, count, 1, 1, 2))))
    y = net.op("Concat", centre, size, scores, axis=-1)
    return net.op("Reshape", y, net.constant([0, count * cells**2, _BOX], np.int64))


def yolo(seed: int = 0, size: int = 640, base: int = 16) -> onnx.ModelProto:
    """Detector: a backbone of cross-stage blocks, a path-aggregation neck, heads at three scales.

    Of the smallest width and depth in use (``base`` channels after the first layer; 1, 2, 3, 1
    bottlenecks). Cross-stage partial network: Wang et al. 2019, arXiv:1911.11929; path
    aggregation: Liu et al. 2018, arXiv:1803.01534; heads: Redmon & Farhadi 2018,
    arXiv:1804.02767; sizes from YOLOv5, doi:10.5281/zenodo.3908559.
    """
    net = _Network("yolo", size)
    x, scales = net.layer("images", base, 6, 2, pad=2, act=_silu), []
    for level, count in enumerate((1, 2, 3, 1), 1):
        x = net.layer(x, base << level, 3, 2, act=_silu)
        x = _cross_stage(net, x, base << level, count)
        scales.append(x)
    _, fine, middle, coarse = scales
    coarse = net.layer(_pyramid_pooling(net, coarse), 8 * base, act=_silu)
    x = _cross_stage(net, net.concat(_upsampled(net, coarse), middle), 8 * base, 1, add=False)
    middle = net.layer(x, 4 * base, act=_silu)
    fine = _cross_stage(net, net.concat(_upsampled(net, middle), fine), 4 * base, 1, add=False)
    down = net.layer(fine, 4 * base, 3, 2, act=_silu)
    middle = _cross_stage(net, net.concat(down, middle), 8 * base, 1, add=False)
    down = net.layer(middle, 8 * base, 3, 2, act=_silu)
    coarse = _cross_stage(net, net.concat(down, coarse), 16 * base, 1, add=False)
    outputs = [
        _boxes(net, x, stride) for x, stride in zip((fine, middle, coarse), _ANCHORS, strict=True)
    ]
    count = 3 * sum((size // stride) ** 2 for stride in _ANCHORS)
    return net.finish(net.op("Concat", *outputs, axis=1), [count, _BOX], seed)


NETWORKS: dict[str, Callable[[], onnx.ModelProto]] = {
    build.__name__: build
    for build in (mobilenet_v2, mobilenet_v3, efficientnet_b0, resnet18, unet, yolo)
}
"""What `zoo.model` builds, by name."""
