"""Kernels for GPUs, written for numba.cuda; instructions that numba lacks are PTX text."""
