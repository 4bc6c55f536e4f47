"""Cases of the kernels of GPUs: tests run them in numba's simulator, `cuda_check` on a GPU."""
