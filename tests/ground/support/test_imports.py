"""What importing much at once leaves to the garbage collector."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import gc
from pytest_nsys.support.imports import imported_for_good

class Told:
    def __del__(self):
        print("gone")

def garbage():
    one = Told()
    one.itself = one

garbage()
with imported_for_good("colorsys"):
    print("imports")
    assert not gc.isenabled()
    import colorsys
frozen = gc.get_freeze_count()
assert frozen > 0 and gc.isenabled()
with imported_for_good("colorsys"):
    assert gc.isenabled()
    garbage()
assert gc.get_freeze_count() == frozen
print("collects")
gc.collect()
"""


def test_what_is_garbage_before_and_after_is_collected() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["gone", "imports", "collects", "gone"]
