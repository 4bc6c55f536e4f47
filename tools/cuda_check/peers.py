"""PyTorch and onnxruntime beside us: the same model, node by node, on the same GPU."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from .tasks import Skipped

Call = Callable[[], Any]


def torch_device(simulates: bool) -> Any:
    """Import PyTorch; returns it and the device, the CPU where the check is simulated.

    Raises
    ------
    Skipped
        It is not installed, or sees no GPU.
    """
    if importlib.util.find_spec("torch") is None:
        raise Skipped("torch is not installed")
    import torch

    if simulates:
        return torch, "cpu"
    if not torch.cuda.is_available():
        raise Skipped("torch sees no GPU")
    return torch, "cuda"


def seconds_of(call: Call, device: str, repeats: int) -> float:
    """Return the least time of a call in three rows of them, on an idle device."""
    import torch

    def wait() -> None:
        if device == "cuda":
            torch.cuda.synchronize()

    for _ in range(min(repeats, 3)):
        call()
    times = []
    for _ in range(3):
        wait()
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        wait()
        times.append((time.perf_counter() - start) / repeats)
    return min(times)


def allow_tf32(allowed: bool) -> None:
    """Let PyTorch multiply float32 with 11 bits, or not."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed


def torch_module(model: onnx.ModelProto, device: str) -> Any:
    """Return a module of PyTorch that computes what a model does, with its operators' functions."""
    import torch

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weights = {
                each.name: torch.from_numpy(numpy_helper.to_array(each).copy()).to(device)
                for each in model.graph.initializer
            }
            fixed = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
            self.steps = [(*_step(torch, node, fixed), node.output[0]) for node in model.graph.node]
            self.output = model.graph.output[0].name

        def forward(self, name: str, x: Any) -> Any:
            values = {**self.weights, name: x}
            for function, inputs, output in self.steps:
                values[output] = function(*(values[each] for each in inputs))
            return values[self.output]

    return Graph().eval()


def _step(torch: Any, node: onnx.NodeProto, fixed: dict[str, np.ndarray]) -> tuple[Any, list[str]]:
    """Return the function of a node, and the inputs that it takes.

    Raises
    ------
    Skipped
        There is none for the operator.
    """
    f = torch.nn.functional
    given = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
    inputs = list(node.input)

    def window(kind: Any) -> Any:
        pads = given.get("pads", [0, 0, 0, 0])
        return lambda x: kind(x, given["kernel_shape"], given.get("strides", [1, 1]), pads[:2])

    def convolution(x: Any, w: Any, b: Any = None) -> Any:
        pads, strides = given.get("pads", [0] * 4)[:2], given.get("strides", [1, 1])
        dilations, groups = given.get("dilations", [1, 1]), given.get("group", 1)
        return f.conv2d(x, w, b, strides, pads, dilations, groups)

    def attention(q: Any, k: Any, v: Any) -> Any:
        heads = given["q_num_heads"]
        q, k, v = (each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in (q, k, v))
        return f.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    epsilon = given.get("epsilon", 1e-5)
    if node.op_type == "Reshape":
        shape = [int(size) for size in fixed[inputs[1]]]
        # What stands first is the batch.
        return lambda x: x.reshape(x.shape[0], *shape[1:]), inputs[:1]
    functions = {
        "Add": lambda x, y: x + y,
        "Sum": lambda x, y: x + y,
        "Attention": attention,
        "AveragePool": window(f.avg_pool2d),
        "BatchNormalization": lambda x, s, b, m, v: f.batch_norm(x, m, v, s, b, eps=epsilon),
        "Conv": convolution,
        "Gather": lambda table, i: table[i],
        "Gelu": f.gelu,
        "Gemm": lambda x, w, b: f.linear(x, w if given.get("transB") else w.t(), b),
        "GlobalAveragePool": lambda x: x.mean((2, 3), keepdim=True),
        "LayerNormalization": lambda x, s, b: f.layer_norm(x, s.shape, s, b, epsilon),
        "MatMul": lambda x, y: x @ y,
        "MaxPool": window(f.max_pool2d),
        "Relu": f.relu,
        "Softmax": lambda x: x.softmax(-1),
        "Transpose": lambda x: x.permute(given["perm"]),
    }
    if node.op_type not in functions:
        raise Skipped(f"no function of torch for {node.op_type}")
    return functions[node.op_type], inputs


def onnxruntime_call(path: str, feeds: dict[str, np.ndarray], simulates: bool) -> Call:
    """Return a run of onnxruntime with arrays that stay on the GPU.

    Raises
    ------
    Skipped
        It is not installed, or not for GPUs.
    """
    if importlib.util.find_spec("onnxruntime") is None:
        raise Skipped("onnxruntime is not installed")
    import onnxruntime

    provider = "CPUExecutionProvider" if simulates else "CUDAExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise Skipped("onnxruntime-gpu is not installed")
    session = onnxruntime.InferenceSession(path, providers=[provider])
    if provider not in session.get_providers():
        raise Skipped("onnxruntime does not open the GPU")
    binding, where = session.io_binding(), "cpu" if simulates else "cuda"
    for name, value in feeds.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value, where))
    for output in session.get_outputs():
        binding.bind_output(output.name, where)

    def call() -> None:
        session.run_with_iobinding(binding)

    return call
