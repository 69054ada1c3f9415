"""The ops as Triton kernels, a file an op: each has functions of the op's schema."""
