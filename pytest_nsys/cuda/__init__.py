"""Names of CUDA: of its functions, and of what its copies are called in captures."""
