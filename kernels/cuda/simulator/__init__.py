"""A GPU in Python: blocks of threads that interpret PTX, for tests of kernels without a GPU."""
