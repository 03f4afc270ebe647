"""Counters of single kernels by Nsight Compute (ncu): why a kernel takes longer than it did."""
