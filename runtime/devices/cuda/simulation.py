"""Name of the device whose kernels run in numba's simulator."""

SIMULATED = "cuda:simulated"
