"""Kernels of NVIDIA GPUs, written for numba.cuda; imported when a session is opened on one.

A module has the name of its twin in ``kernels.cpu`` (``pointwise``: in ``kernels``), a factory the
name of its twin, and a kernel the fields of its twin's record, where there is one.
"""
