"""Why an ncu has counted nothing: by what it said, and what the worker did."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_nsys.errors import NcuFailed, NcuForbidden, NcuNotFound, NcuUnfit, NsysError
from pytest_nsys.ncu.run import _why_nothing
from pytest_nsys.ncu.tool import find_ncu, read_version
from tests.support.harness import write_program

# As ncu 2022.3 and 2024.1 print them, or as public reports have them.
PERMISSION = (
    "==PROF== Connected to process 35989 (/usr/bin/python3.10)\n==ERROR== ERR_NVGPUCTRPERM - The "
    "user does not have permission to access NVIDIA GPU Performance Counters on the target device "
    "0. For instructions on enabling permissions see https://developer.nvidia.com/ERR_NVGPUCTRPERM"
)
NO_DRIVER = (
    "==ERROR== Nsight Compute failed to connect to the CUDA driver (stub libcuda.so[.1] on path?)."
)
NOTHING = "==PROF== Disconnected from process 41\n==WARNING== No kernels were profiled."
RAN = [{"event": "start", "nodeid": "t"}, {"event": "finish", "nodeid": "t"}, {"event": "end"}]
FAILED = {"event": "report", "data": {"outcome": "failed", "when": "call"}}


@pytest.mark.parametrize(
    ("printed", "code", "events", "others", "kind", "what"),
    [
        (PERMISSION, 0, RAN, [], NcuForbidden, "this user may not read"),
        ("==ERROR== LibraryNotLoaded", 1, [], [], NcuUnfit, "ncu cannot reach the driver"),
        (NO_DRIVER, 1, [], [], NcuUnfit, "ncu cannot reach the driver"),
        ("==PROF== Connected", None, RAN[:1], [], NcuFailed, "ncu did not end within 9 s"),
        ("unrecognised option '--x'\n\nUse --help", 255, [], [], NcuFailed, "ncu refused"),
        (
            "==ERROR== the argument ('x') for option '--launch-count' is invalid.",
            *(1, [], [], NcuFailed, "ncu refused"),
        ),
        (
            NOTHING,
            0,
            [*RAN[:1], FAILED, *RAN[1:]],
            [],
            NcuFailed,
            "under ncu, the test failed (call)",
        ),
        (NOTHING, 0, RAN[2:], [], NcuFailed, "under ncu, the test was not run"),
        (NOTHING, 0, [], [], NcuFailed, "under ncu, the worker ended before the test"),
        (NOTHING, 0, RAN[:1], [], NcuFailed, "under ncu, the worker ended in the test"),
        (
            NOTHING,
            1,
            [{"event": "unfit", "text": "no nvtx", "remedy": ""}],
            *([], NcuFailed, "under ncu, the worker cannot measure: no nvtx"),
        ),
        ("", -9, RAN, [], NcuFailed, "the worker or its ncu was ended by SIGKILL"),
        ("", 139, RAN, [], NcuFailed, "the worker or its ncu was ended by SIGSEGV"),
        ("==PROF==", 0, RAN, ["relu"], NcuFailed, "under ncu, the kernel did not come up again"),
        ("==ERROR== Unknown Error on device 0.", 0, RAN, [], NcuFailed, "ncu failed"),
        (NOTHING, 0, RAN, [], NcuFailed, "under ncu, the kernel did not come up again"),
    ],
)
def test_each_reason_is_an_error_of_its_own(
    printed: str,
    code: int | None,
    events: list[dict[str, object]],
    others: list[str],
    kind: type[NsysError],
    what: str,
) -> None:
    error = _why_nothing(printed, code, events, others, 9.0)
    assert type(error) is kind
    assert error.what.startswith(what)
    assert error.remedy


def test_the_version_is_read_and_a_program_without_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "NVIDIA (R) Nsight Compute Command Line Profiler\nVersion 2024.1.1.0 (build 33998838)"
    assert read_version(text) == (2024, 1, 1)
    assert read_version("npm-check-updates 17.1.0") is None
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(NcuNotFound, match="was not found"):
        find_ncu([f"{tmp_path}/*/ncu"])
    write_program(tmp_path / "x/ncu", "#!/bin/sh\necho 'Version 2025.3.1.0 (build 1)'\n")
    assert find_ncu([f"{tmp_path}/*/ncu"]).version_text == "2025.3.1"
    # Another program of that name, such as npm-check-updates.
    write_program(tmp_path / "ncu", "#!/bin/sh\necho 17.1.0\n")
    with pytest.raises(NcuNotFound, match="does not answer"):
        find_ncu()
    write_program(tmp_path / "ncu", "#!/no/such/shell\n")
    with pytest.raises(NcuNotFound, match="does not answer"):
        find_ncu()
