"""Kernels of GPUs as PTX, which needs no GPU: no local memory, and no division that may trap."""

import importlib.util

import pytest
from sardonyx.kernels.ref import KernelRef

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None or importlib.util.find_spec("nvidia") is None,
    reason="needs numba-cuda and NVIDIA's compilers: pip install 'sardonyx[cuda]'",
)

KERNELS = [
    ("byte_tables", "look_up_bytes"),
    ("depthwise_convolution", "depthwise_convolution", "f32"),
    ("extremes", "extremes"),
    ("extremes", "scale_and_zero"),
    ("log_sum_exp", "log_sum_exp", "f32"),
    ("lrn", "lrn", "f32", "f32", 0),
    ("order", "top_k", "f32", 1),
    ("order", "top_k", "u64", 0),
    ("pool", "max_pool_indices", "f32"),
    ("recurrent_layer", "recurrent_layer", "lstm", "sigmoid tanh tanh", "peepholes", 1, "f32"),
    ("recurrent_layer", "recurrent_layer", "gru", "sigmoid tanh", "", 0, "f32"),
    ("recurrent_layer", "recurrent_layer", "gru_linear", "sigmoid tanh", "", 0, "f64"),
    ("recurrent_layer", "recurrent_layer", "rnn", "softplus", "", 0, "f32"),
    ("resample", "axis_weights", "f32"),
    ("resample", "blend_axis", "f32"),
    ("resample", "nearest_positions"),
    ("resize", "resize", 2),
    ("resize", "resize", 4),
    ("resize", "resize_nearest", 1),
    ("reverse", "reverse_sequence", 4),
    ("rotary", "rotary", 0),
    ("scatter", "scatter_elements", "f32", "i64", "add"),
    ("scatter", "scatter_nd", "f64", "max"),
    ("scatter", "scatter_nd", "u8", "none"),
    ("tensor_scatter", "check_begins"),
    ("tensor_scatter", "tensor_scatter"),
]


@pytest.mark.parametrize("name", KERNELS, ids=lambda name: " ".join(map(str, name[1:])))
def test_a_kernel_compiles(name):
    from sardonyx.kernels.cuda.compilation import compiled
    from sardonyx.kernels.cuda.kernel import find

    module, function, *parameters = name
    kernel = find(KernelRef(f"kernels.cuda.{module}", function, tuple(parameters)))
    ptx, entry = compiled(kernel, (8, 0))
    assert entry in ptx
    assert b".local" not in ptx
    assert b"trap" not in ptx
    # A compare-exchange is there where changes must not be lost, and nowhere else.
    assert (b"atom." in ptx) == (parameters[-1:] in (["add"], ["max"]))
