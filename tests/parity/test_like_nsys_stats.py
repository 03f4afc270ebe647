"""Our reports against ``nsys stats`` itself, run on the same exports.

The reports follow nsys 2025.3, which cannot be had where these tests run; what it says is kept in
`parity`. nsys 2023.4 defines them the same way, and writes two things differently:

- A range in the default domain has no ``:`` before its name, and one without any name is left out.
- The SQLite within it, as that within 2022.4, rounds what is a little less than a half up: 1.15,
  which is held as 1.1499999999999999, becomes 1.2 there and 1.1 in 2025.3.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_nsys.trace import Trace, load_trace
from tests.parity.cases import (
    CASES,
    MAIN,
    OTHER,
    START_END,
    WORKER,
    Export,
    assert_same_text,
    random_export,
)
from tests.parity.like_nsys import REPORTS, csv_text, like_nsys
from tests.parity.like_nsys.table import rounding
from tests.support.harness import REAL_NSYS, real_nsys_path

Stats = Callable[[Path], Mapping[str, str]]

PROJECTION = "nvtx_gpu_proj_sum"


@pytest.fixture(scope="module")
def stats() -> Stats:
    """What nsys 2023.4 writes of an export, by report; a machine without it fails."""
    nsys = Path(REAL_NSYS["2023"])
    if not nsys.exists():
        pytest.fail(f"nsys 2023 is not at {nsys}: run .ci/install-nsys")

    def run(export: Path) -> Mapping[str, str]:
        output = export.with_suffix("")
        command = [nsys, "stats", "--format", "csv", "--output", output, "--force-overwrite=true"]
        for report in REPORTS:
            command += ["--report", report]
        subprocess.run([*command, export], check=True, capture_output=True, timeout=300)
        written = {report: Path(f"{output}_{report}.csv") for report in REPORTS}
        return {
            report: path.read_bytes().decode() if path.exists() else ""
            for report, path in written.items()
        }

    return run


def as_of_2023(trace: Trace, report: str) -> str:
    """Our text with the roundings of nsys 2023.4, and without the colon of the default domain."""
    with rounding("2023"):
        lines = csv_text(like_nsys(trace, report)).removesuffix("\n").split("\n")
    if report == PROJECTION:
        lines = [re.sub('^("?):', r"\1", line) for line in lines]
    return "\n".join(lines)


def assert_as_nsys(stats: Stats, export: Path) -> None:
    trace = load_trace(export)
    for report, theirs in stats(export).items():
        assert_same_text(as_of_2023(trace, report), theirs)


@pytest.mark.parametrize("capture", ["basic", "llama_node", "train"])
def test_a_real_capture_is_reported_as_nsys_does(
    stats: Stats, captures: dict[str, Path], capture: str
) -> None:
    assert_as_nsys(stats, captures[capture])


# Ranges without a name are in 2025.3 alone; what it says is kept in `parity`.
@pytest.mark.parametrize("case", [case for case in CASES if case != "domains_and_strings"])
def test_a_made_export_is_reported_as_nsys_does(stats: Stats, case: str, tmp_path: Path) -> None:
    assert_as_nsys(stats, CASES[case]().write(tmp_path / f"{case}.sqlite"))


@pytest.mark.parametrize("seed", range(100, 115))
def test_a_random_export_is_reported_as_nsys_does(stats: Stats, seed: int, tmp_path: Path) -> None:
    assert_as_nsys(stats, random_export(seed).in_order().write(tmp_path / "random.sqlite"))


threads = st.sampled_from([MAIN, WORKER, OTHER])
times = st.integers(0, 60) | st.integers(0, 10**9)
lengths = st.integers(0, 30) | st.integers(0, 10**8)
correlations = st.none() | st.integers(0, 9)
devices = st.integers(0, 2)
calls = st.tuples(times, lengths, threads, st.sampled_from(["a", "b_v3020", "b_v10000", "c_v7000"]))
kernels = st.tuples(
    times, lengths, correlations, threads, devices, st.sampled_from(["k", "f(int, int)", "g"])
)
transfers = st.tuples(times, lengths, correlations, threads, devices, st.integers(-1, 14))
ranges = st.tuples(
    times,
    lengths | st.none(),
    st.sampled_from(["x", "y", "x, y"]),
    threads,
    st.sampled_from([59, START_END]),
    st.integers(0, 2),
    st.sampled_from([None, None, None, MAIN]),
)


@st.composite
def exports(draw: st.DrawFn) -> Export:
    """Exports of anything: operations without calls, on other devices, before their calls."""
    export = Export()
    export.domain(1, "lib")
    export.domain(1, "lib of the other", globalTid=OTHER)
    # Correlation ids are unique in a process; see below for what else is.
    for number, (start, length, thread, name) in enumerate(draw(st.lists(calls, max_size=10))):
        export.call(start, start + length, number, name, globalTid=thread)
    for start, length, corr, thread, device, name in draw(st.lists(kernels, max_size=12)):
        export.kernel(start, start + length, corr, name, thread=thread, deviceId=device)
    for start, length, corr, thread, device, kind in draw(st.lists(transfers, max_size=8)):
        place = {"thread": thread, "deviceId": device}
        if kind < 0:
            export.memset(start, start + length, corr, length * 500, **place)
        else:
            export.copy(start, start + length, corr, kind, length * 500, **place)
    for start, length, text, thread, style, domain, ended in draw(st.lists(ranges, max_size=12)):
        end = None if length is None else start + length
        more = {"globalTid": thread, "domainId": domain, "endGlobalTid": ended}
        export.range(start, end, text, style, **more)
    return export


@given(exports())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
def test_any_export_is_reported_as_nsys_does(
    stats: Stats, tmp_path_factory: pytest.TempPathFactory, export: Export
) -> None:
    path = export.in_order().write(tmp_path_factory.mktemp("any") / "any.sqlite")
    trace = load_trace(path)
    for report, theirs in stats(path).items():
        ours = as_of_2023(trace, report)
        # In which order nsys shows rows of equal totals, SQLite decides as it likes.
        assert sorted(ours.split("\n")) == sorted(theirs.split("\n"))


@pytest.mark.parametrize(("year", "report"), [("2022", "cudaapisum"), ("2023", "cuda_api_sum")])
def test_a_mean_is_rounded_as_each_nsys_rounds_it(
    tmp_path: Path, year: Literal["2022", "2023"], report: str
) -> None:
    """591.15 is held as a little less."""
    export = Export()
    for number in range(20):
        busy = 594 if number == 0 else 591
        export.call(10_000 * number, 10_000 * number + busy, number + 1, "cudaFree_v3020")
    path = export.write(tmp_path / "means.sqlite")
    command = [real_nsys_path(year), "stats", "--quiet", "--format", "csv", "--report", report]
    done = subprocess.run([*command, path], check=True, capture_output=True, timeout=300, text=True)
    trace = load_trace(path)
    with rounding(year):
        ours = csv_text(like_nsys(trace, "cuda_api_sum"))
    assert ",591.2," in ours
    assert ours.strip().splitlines()[1:] == done.stdout.strip().splitlines()[1:]
    with rounding("2025"):
        assert ",591.1," in csv_text(like_nsys(trace, "cuda_api_sum"))


def both(stats: Stats, export: Export, report: str, folder: Path) -> tuple[list[str], list[str]]:
    """The lines of a report that differ: nsys's, and ours."""
    path = export.write(folder / "made.sqlite")
    ours = csv_text(like_nsys(load_trace(path), report)).strip().split("\n")
    theirs = stats(path)[report].strip().split("\n")
    return [x for x in theirs if x not in ours], [x for x in ours if x not in theirs]


def test_of_two_calls_of_one_correlation_id_the_first_launched(
    stats: Stats, tmp_path: Path
) -> None:
    """nsys, whose captures have no such calls, would count the kernel of both."""
    export = Export()
    export.call(10, 20, 1, "outer")
    export.call(12, 18, 1, "inner")
    export.kernel(30, 40, 1)
    theirs, ours = both(stats, export, "cuda_kern_exec_sum", tmp_path)
    assert ([line.split(",")[-2] for line in theirs], ours) == (["inner"], [])


def test_what_ends_before_it_starts_took_no_time(stats: Stats, tmp_path: Path) -> None:
    """A clock was set back. nsys would take time off the kernel's others."""
    export = Export()
    export.launch(10, 1, busy=40)
    export.launch(100, 2, busy=-20)
    theirs, ours = both(stats, export, "cuda_gpu_kern_sum", tmp_path)
    assert [line.split(",")[1] for line in theirs] == ["20"]
    assert [line.split(",")[1] for line in ours] == ["40"]


def test_a_range_of_two_texts_has_its_own(stats: Stats, tmp_path: Path) -> None:
    """NVTX has a range's text or a registered one, not both; nsys would take the latter."""
    export = Export()
    export.range(0, 100, "own", textId=export.string("registered"))
    export.launch(10, 1)
    theirs, ours = both(stats, export, PROJECTION, tmp_path)
    assert [line.split(",")[0] for line in theirs] == ["registered"]
    assert [line.split(",")[0] for line in ours] == [":own"]


def test_ranges_of_imported_text_files_are_not_read(stats: Stats, tmp_path: Path) -> None:
    """NVTXT files merged into a report (event types 70 and 71): no capture of ours has them."""
    export = Export()
    export.range(0, 100, "imported", 70)
    export.launch(10, 1)
    theirs, _ = both(stats, export, PROJECTION, tmp_path)
    assert [line.split(",")[0] for line in theirs] == ["Range", "imported"]
