"""Faults of the capture: reports that are missing or broken, exports, and what they hold."""

from __future__ import annotations

from pytest_nsys.errors import (
    CaptureMissing,
    DeadlineExceeded,
    DiagnosticError,
    EventsMissing,
    ExportFailed,
    ImporterFailed,
    NoCudaEvents,
    NoGpu,
    NotACapture,
    NoWindows,
    WindowsMissing,
)
from tests.faults.fault import HEALTHY, REAL, Fault
from tests.faults.scene import STAND_IN, Scene, can_mount

USES_GPU = HEALTHY.format(empty=False)
BOTH = ("test_one", "test_two")
NO_REPORT = "nsys could not make a report of what it recorded"

# Takes the arguments of a real nsys apart to find the report that it has made.
BREAKS_REPORT = """
"$REAL" "$@"
code=$?
if [ "$1" = profile ]; then
    while [ "$1" != -o ]; do shift; done
    # nsys may end before its daemon has written the report, which would then be whole.
    for _ in $(seq 100); do [ ! -s "$2.nsys-rep" ] || break; sleep 0.1; done
    {action}
fi
exit $code
"""
MUTE_NVTX = """
    from contextlib import contextmanager

    def start_range(*args, **kwargs):
        return 0

    def end_range(*args, **kwargs):
        pass

    def get_domain(*args, **kwargs):
        return None
"""


def breaks_report(action: str) -> object:
    def prepare(scene: Scene) -> None:
        scene.script(BREAKS_REPORT.format(action=action))

    return prepare


def mute_nvtx(scene: Scene) -> None:
    scene.write(MUTE_NVTX, "mute/nvtx.py")
    scene.environment["PYTHONPATH"] = "mute"


def fill_the_disk(scene: Scene) -> None:
    """A disk that is full once the tests have begun, where we may mount one."""
    if can_mount():
        scene.small_disk(scene.temporary, "150m")
    else:
        scene.script(BREAKS_REPORT.format(action='mv "$2.nsys-rep" "$2.qdstrm"'))


# Fills what is left of the temporary files' disk: nsys has made its own files by then.
FILLS = """
    import os
    import pytest

    @pytest.mark.nsys(rounds=2, warmup=0, allow_empty=True)
    def test_it():
        name = os.path.join(os.environ["TMPDIR"], "filler")
        with open(name, "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                pass
"""

ROWS = (
    Fault(
        "nsys does not return after the worker",
        "nsys did not end within 3 s of the worker's end",
        DeadlineExceeded,
        made="it ignores signals, too",
        faults=("hang_after_child",),
        ini=("nsys_tool_timeout = 3",),
    ),
    Fault(
        "nsys leaves its agent behind, which is busy for ever",
        "",
        None,
        code=0,
        faults=("agent_left",),
        recorded=BOTH,
    ),
    Fault(
        "nsys leaves no report",
        "nsys ended and left no report",
        CaptureMissing,
        faults=("no_report",),
    ),
    Fault(
        "nsys cannot write the report where it belongs",
        NO_REPORT,
        ImporterFailed,
        made="it says so, and writes the report to its temporary folder instead",
        faults=("report_in_tmpdir",),
    ),
    Fault(
        "nsys leaves raw events and no report",
        NO_REPORT,
        ImporterFailed,
        faults=("qdstrm_only",),
    ),
    Fault(
        "nsys's importer fails",
        NO_REPORT,
        ImporterFailed,
        made="it prints 'Importer error status'",
        faults=("importer_error",),
    ),
    Fault(
        "nsys's importer is not installed",
        NO_REPORT,
        ImporterFailed,
        drives=REAL[:1],
        prepare=lambda scene: scene.importer(None),
    ),
    Fault(
        "nsys's importer fails once",
        "",
        None,
        code=0,
        made="it is killed; the raw events are imported again",
        drives=REAL[1:],
        prepare=lambda scene: scene.importer(
            f'mkdir {scene.root}/failed 2>/dev/null && kill -9 $$; exec "$REAL" "$@"'
        ),
        recorded=BOTH,
    ),
    Fault(
        "nsys's importer fails again and again",
        "*a second import failed too: exit code 3, nothing printed",
        ImporterFailed,
        made="it ends with exit code 3",
        drives=REAL[1:],
        prepare=lambda scene: scene.importer(
            'case "$1" in --version) exec "$REAL" "$@";; esac; exit 3'
        ),
    ),
    Fault(
        "The report is cut off",
        "nsys export ended with exit code 1*",
        ExportFailed,
        drives=(REAL[1], STAND_IN),
        prepare=breaks_report('truncate -s 5000 "$2.nsys-rep"'),
    ),
    Fault(
        "The disk for temporary files is full",
        "*: the disk with the temporary files is full (TMPDIR)",
        DeadlineExceeded,
        made="a disk of 150 MiB, which the test fills",
        drives=REAL[1:],
        ini=("nsys_tool_timeout = 4",),
        tests=FILLS,
        prepare=fill_the_disk,
    ),
    Fault(
        "nsys export fails",
        "nsys export ended with exit code 1*",
        ExportFailed,
        faults=("export_fails",),
    ),
    Fault(
        "nsys export does not return",
        "nsys export did not end within 4 s",
        DeadlineExceeded,
        faults=("export_hangs",),
        ini=("nsys_tool_timeout = 4",),
    ),
    Fault(
        "nsys export writes nothing",
        "nsys export ended with exit code 0 and wrote nothing",
        ExportFailed,
        faults=("export_nothing",),
    ),
    Fault(
        "The export is cut off",
        "*/export.* is damaged or was cut off",
        ExportFailed,
        faults=("export_truncated",),
    ),
    Fault(
        "The export is not a database",
        "*/export.sqlite is not an SQLite file",
        NotACapture,
        faults=("export_not_a_database",),
    ),
    Fault(
        "The export is of a newer version",
        "",
        None,
        code=0,
        made="a schema of version 9; a line in the summary says how it was read",
        faults=("newer_schema",),
        recorded=BOTH,
    ),
    Fault(
        "nsys and nvtx do not understand each other",
        "5 of 5 windows are missing in the capture",
        NoWindows,
        made="an nvtx that nsys does not see, as 0.2.12 and later for nsys 2023",
        drives=REAL[1:],
        tests=HEALTHY.format(empty=True).replace("rounds=2", "rounds=1"),
        prepare=mute_nvtx,
    ),
    Fault(
        "No range is recorded",
        "7 of 7 windows are missing in the capture",
        NoWindows,
        faults=("no_nvtx",),
    ),
    Fault(
        "One range is missing",
        "1 of 7 windows are missing in the capture",
        WindowsMissing,
        faults=("drop_first_window",),
    ),
    Fault(
        "The closing range is missing",
        "1 of 7 windows are missing in the capture",
        WindowsMissing,
        faults=("drop_last_window",),
    ),
    Fault(
        "nsys reports an error in its capture",
        "nsys reports errors in its own capture",
        DiagnosticError,
        faults=("diagnostic_error",),
    ),
    Fault(
        "CUDA events are missing",
        "the capture has less CUDA events than nsys collected",
        EventsMissing,
        made="one less than nsys says",
        faults=("lost_events",),
    ),
    Fault(
        "CUDA events may be missing",
        "",
        None,
        code=0,
        made="nsys's warning 'Not all CUDA events might have been collected' alone",
        faults=("partial",),
        recorded=BOTH,
    ),
    Fault(
        "There are no CUDA events",
        "the capture holds no CUDA events at all",
        NoCudaEvents,
        faults=("no_cuda_events",),
        tests=USES_GPU,
    ),
    Fault(
        "There is no GPU",
        "nsys saw no NVIDIA GPU on this machine",
        NoGpu,
        drives=(REAL[1], STAND_IN),
        faults=("no_gpu",),
        options=("--nsys-update", "-o", "nsys_device="),
    ),
)
