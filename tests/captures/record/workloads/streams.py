"""Two streams: kernels beside kernels, copies beside kernels, events, a range over two threads."""

from __future__ import annotations

import threading

import nvtx
import torch

SPIN = 200_000  # clock cycles, about 0.1 ms
MIB = 2**20


def main() -> None:
    torch.manual_seed(0)
    first, second = torch.cuda.Stream(), torch.cuda.Stream()
    host = torch.empty(16 * MIB, dtype=torch.uint8, pin_memory=True)
    device = torch.empty(16 * MIB, dtype=torch.uint8, device="cuda")
    matrix = torch.randn(2048, 2048, device="cuda", dtype=torch.float16)
    torch.cuda.synchronize()

    with nvtx.annotate("kernels beside kernels"):
        for _ in range(20):
            for stream in (first, second):
                with torch.cuda.stream(stream):
                    torch.cuda._sleep(SPIN)
        torch.cuda.synchronize()

    with nvtx.annotate("copies beside kernels", domain="streams"):
        for _ in range(20):
            with torch.cuda.stream(first):
                matrix @ matrix
                torch.cuda._sleep(SPIN)
            with torch.cuda.stream(second):
                device.copy_(host, non_blocking=True)
                host.copy_(device, non_blocking=True)
        torch.cuda.synchronize()

    with nvtx.annotate("events"):
        for _ in range(20):
            with torch.cuda.stream(first):
                device.copy_(host, non_blocking=True)
                copied = first.record_event()
            second.wait_event(copied)
            with torch.cuda.stream(second):
                device.add_(1)
                computed = second.record_event()
            first.wait_event(computed)
        computed.synchronize()
        first.synchronize()

    # Started here, ended on another thread, which launches too.
    across = nvtx.start_range("across threads")

    def finish() -> None:
        with torch.cuda.stream(second):
            torch.cuda._sleep(SPIN)
        second.synchronize()
        nvtx.end_range(across)

    with torch.cuda.stream(first):
        torch.cuda._sleep(SPIN)
    thread = threading.Thread(target=finish)
    thread.start()
    thread.join()
    torch.cuda.synchronize()
    nvtx.push_range("never closed")
    torch.cuda._sleep(SPIN)
    torch.cuda.synchronize()


if __name__ == "__main__":
    main()
