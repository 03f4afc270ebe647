"""The machine's GPUs by NVML: which there are, what state they are in, and who may use them now."""
