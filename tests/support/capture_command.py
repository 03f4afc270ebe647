"""Running ``pytest-nsys capture``: programs to capture, and what the command answers."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

Answer = tuple[int, str, str]
"""Exit code, stdout, stderr."""

KERNELS = "import simgpu; [simgpu.launch('gemm', 20) for _ in range(4)]; simgpu.synchronize()"
MARKS = "import nvtx, time\nwith nvtx.annotate('mine'): time.sleep(0.05)"
LIVES = "import time; print('begun', flush=True); time.sleep(600)"


def assert_refused(answer: Answer, says: str) -> None:
    """There is no capture, and it is said why."""
    code, _, err = answer
    assert code == 2
    assert says in err
    assert not Path("capture").exists()


class Session:
    """``pytest-nsys capture`` in a process of its own."""

    def __init__(self, *arguments: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest_nsys", "capture", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def until_it_says(self, word: str) -> None:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line == f"{word}\n", self.process.communicate(timeout=60)

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def end(self) -> Answer:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err
