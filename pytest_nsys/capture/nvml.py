"""What the NVIDIA driver says of the machine's GPUs, as evidence in an error."""

from __future__ import annotations


def describe_gpus() -> str:
    """One line: the GPUs that NVML sees, or why it sees none. Never raises, never starts CUDA."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception as error:  # a missing package, library or driver: all are evidence
        return f"NVML: {error}"
    try:
        count = pynvml.nvmlDeviceGetCount()
        names = [
            pynvml.nvmlDeviceGetName(pynvml.nvmlDeviceGetHandleByIndex(number))
            for number in range(count)
        ]
        return f"NVML: driver {pynvml.nvmlSystemGetDriverVersion()}, {', '.join(names) or 'no GPU'}"
    except pynvml.NVMLError as error:
        return f"NVML: {error}"
    finally:
        pynvml.nvmlShutdown()
