"""Proving a capture: each way in which it cannot be trusted is an error of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from pytest_nsys.capture import proof
from pytest_nsys.capture.proof import prove_report, prove_trace
from pytest_nsys.errors import (
    CaptureError,
    CaptureMissing,
    DiagnosticError,
    EventsMissing,
    ImporterFailed,
    NoCudaEvents,
    NoGpu,
    WindowsMissing,
)
from pytest_nsys.trace import Trace, TraceGpu, load_trace
from pytest_nsys.windows.cut import cut_records
from pytest_nsys.windows.record import DOMAIN, WindowRecord

RECORDS = (
    WindowRecord(0, "span", "test_it.py::test_a", "test", -1),
    WindowRecord(1, "round", "test_it.py::test_a", "test", 0),
    WindowRecord(2, "sentinel", "", "test", -1),
)
CALL, LAUNCH = 1, 2


def make_trace(
    records: Sequence[WindowRecord] = RECORDS,
    *,
    domain: str = DOMAIN,
    open_: Sequence[int] = (),
    calls: int = 1,
    gpus: tuple[TraceGpu, ...] = (TraceGpu(0, "NVIDIA H200"),),
    diagnostics: tuple[tuple[int, str], ...] = (),
) -> Trace:
    """A trace with the ranges of the records."""
    ranges = [
        {
            "start": 10 * record.index,
            "end": -1 if record.index in open_ else 10 * record.index + 5,
            "domain": domain,
            "text": record.label,
            "pid": 1,
            "tid": 1,
        }
        for record in records
    ]
    empty = pd.DataFrame({"start": [], "end": []})
    return Trace(
        kernels=empty,
        copies=empty,
        memsets=empty,
        graphs=empty,
        calls=pd.DataFrame({"start": range(calls), "end": range(calls), "name": [CALL] * calls}),
        memory=empty,
        faults=empty,
        samples=empty,
        ranges=pd.DataFrame(ranges, columns=["start", "end", "domain", "text", "pid", "tid"]),
        strings={CALL: "cudaMalloc", LAUNCH: "cudaLaunchKernel_v7000"},
        sampled={},
        gpus=gpus,
        diagnostics=diagnostics,
        driver="580.1",
        nsys="2025.3.1",
    )


def prove(
    trace: Trace,
    records: Sequence[WindowRecord] = RECORDS,
    *,
    gpu: bool = True,
    cuda: bool = True,
) -> None:
    """The proof of a capture on a machine with a GPU, unless told otherwise."""
    prove_trace(trace, records, needs_gpu=gpu, needs_cuda=cuda)


def said(error: CaptureError) -> str:
    """What the user reads; a remedy is part of it."""
    assert error.remedy
    assert f"What to do: {error.remedy}" in str(error)
    return str(error)


class TestTheReport:
    def test_is_there(self, tmp_path: Path) -> None:
        report = tmp_path / "report.nsys-rep"
        report.touch()
        prove_report(report, "Generating...\nGenerated: report.nsys-rep\n")

    def test_is_missing(self, tmp_path: Path) -> None:
        with pytest.raises(CaptureMissing) as caught:
            prove_report(tmp_path / "report.nsys-rep", "No space left on device")
        assert "nsys ended and left no report" in said(caught.value)
        assert "No space left on device" in said(caught.value)
        assert "$TMPDIR" in caught.value.remedy

    @pytest.mark.parametrize("report_too", [True, False])
    def test_could_not_be_made_of_the_raw_events(self, tmp_path: Path, report_too: bool) -> None:
        (tmp_path / "report.qdstrm").touch()
        if report_too:
            (tmp_path / "report.nsys-rep").touch()
        with pytest.raises(ImporterFailed) as caught:
            prove_report(tmp_path / "report.nsys-rep", "what nsys said")
        assert "what nsys said" in said(caught.value)
        assert "libdw" in caught.value.remedy

    @pytest.mark.parametrize(
        "line",
        [
            "Importer error status: An unknown error occurred.",
            "  Errors occurred while processing the raw events.",
            "Failed to create '/full/disk/report.nsys-rep': No space left on device",
        ],
    )
    def test_counts_for_nothing_where_the_import_complained(
        self, tmp_path: Path, line: str
    ) -> None:
        (tmp_path / "report.nsys-rep").touch()
        with pytest.raises(ImporterFailed) as caught:
            prove_report(tmp_path / "report.nsys-rep", f"Generating\n{line}\nGenerated\n")
        assert caught.value.evidence == line.strip()


def test_a_good_capture_is_good() -> None:
    prove(make_trace(diagnostics=((2, "Not all CUDA events might have been collected"),)))


def test_a_window_that_is_missing() -> None:
    with pytest.raises(WindowsMissing) as caught:
        prove(replace(make_trace(RECORDS[1:]), diagnostics=((2, "buffers were lost"), (1, "x"))))
    text = said(caught.value)
    assert "1 of 3 windows are missing in the capture" in text
    assert "missing: 0 test_it.py::test_a span" in text
    assert "NVTX ranges in the capture: 2, of them ours: 2" in text
    assert "buffers were lost" in text
    assert "nsys 2025.3.1" in text
    assert "profile fewer tests" in caught.value.remedy


def test_a_window_that_never_ended() -> None:
    with pytest.raises(WindowsMissing, match="1 of 3 windows are missing") as caught:
        prove(make_trace(open_=[1]))
    assert "missing: 1 test_it.py::test_a round 0" in said(caught.value)


@pytest.mark.parametrize("trace", [make_trace(()), make_trace(domain="somebody else's")])
def test_no_window_at_all_is_a_matter_of_versions(trace: Trace) -> None:
    with pytest.raises(WindowsMissing, match="3 of 3 windows are missing") as caught:
        prove(trace)
    assert f"NVTX ranges in the capture: {len(trace.ranges)}, of them ours: 0" in said(caught.value)
    assert "nvtx<0.2.12" in caught.value.remedy


def test_of_many_missing_windows_three_are_named() -> None:
    records = [WindowRecord(number, "round", "test", "test", number) for number in range(50)]
    with pytest.raises(WindowsMissing, match="50 of 50") as caught:
        prove(make_trace(()), records)
    assert caught.value.evidence.count("missing:") == 3


def test_ranges_of_ours_without_a_number_are_nobodys() -> None:
    trace = make_trace()
    trace.ranges.loc[len(trace.ranges)] = [1, 2, DOMAIN, "by hand", 1, 1]
    prove(trace)
    assert len(cut_records(trace, RECORDS)) == 3


def test_a_worker_that_did_not_reach_its_end() -> None:
    with pytest.raises(WindowsMissing) as caught:
        prove(make_trace(), RECORDS[:2])
    assert "its sentinel is missing" in said(caught.value)
    assert caught.value.evidence == "2 window records"


def test_a_worker_without_any_window() -> None:
    with pytest.raises(WindowsMissing, match="sentinel"):
        prove(make_trace(), ())


def test_a_machine_without_a_gpu() -> None:
    trace = make_trace(gpus=(), calls=0, diagnostics=((2, "No CUDA events collected."),))
    with pytest.raises(NoGpu) as caught:
        prove(trace)
    assert "No CUDA events collected.\n  nsys 2025.3.1, driver 580.1" in said(caught.value)
    assert "--nsys-replay" in caught.value.remedy
    prove(trace, gpu=False, cuda=False)


def test_an_error_of_nsys_itself() -> None:
    errors = tuple((3, f"error {number}") for number in range(9))
    with pytest.raises(DiagnosticError) as caught:
        prove(make_trace(diagnostics=(*errors, (2, "a warning"))))
    assert "error 0" in said(caught.value)
    assert "error 5" not in said(caught.value)
    assert "a warning" not in said(caught.value)
    assert "older than the driver" in caught.value.remedy


def test_a_gpu_that_nobody_used() -> None:
    trace = make_trace(calls=0)
    with pytest.raises(NoCudaEvents) as caught:
        prove(replace(trace, driver=""))
    assert "driver unknown" in said(caught.value)
    assert "allow_empty=True" in caught.value.remedy
    prove(trace, cuda=False)


def test_records_are_found_by_their_number_whatever_the_order() -> None:
    cut = cut_records(make_trace(RECORDS[::-1]), RECORDS)
    assert cut.starts.tolist() == [0, 10, 20]
    assert cut.ends.tolist() == [5, 15, 25]


def test_no_records_are_no_windows() -> None:
    assert len(cut_records(make_trace(), ())) == 0


def count(number: int) -> tuple[int, str]:
    """What nsys says of one process."""
    return (1, f"Number of CUDA events collected: \t{number}.")


def test_all_events_that_were_collected_are_there() -> None:
    several = (count(3), count(2), (1, "Number of NVTX events collected: \t99."))
    prove(make_trace(calls=5, diagnostics=several))
    prove(make_trace(calls=6, diagnostics=several))


def test_events_that_were_collected_and_are_missing() -> None:
    with pytest.raises(EventsMissing) as caught:
        prove(make_trace(calls=4, diagnostics=(count(3), count(2))))
    assert "less CUDA events than nsys collected" in said(caught.value)
    assert "collected: 5, in the export: 4" in caught.value.evidence


def test_graphs_that_are_traced_as_a_whole_are_not_counted() -> None:
    trace = make_trace(calls=4, diagnostics=(count(5),))
    with pytest.raises(EventsMissing):
        prove(replace(trace, graphs=pd.DataFrame({"start": range(9)})))


def test_real_captures_hold_all_that_nsys_collected(captures: Mapping[str, Path]) -> None:
    """Those of the captures in which what nsys says of its counts was kept."""
    exact = {}
    for name in ("basic", "train", "llama_node"):
        trace = load_trace(captures[name])
        tables = (trace.calls, trace.kernels, trace.copies, trace.memsets)
        exact[name] = proof.stated_events(trace) - sum(len(table) for table in tables)
    assert exact == {"basic": 0, "train": 0, "llama_node": 0}


def test_no_real_capture_holds_less_than_nsys_collected(captures: Mapping[str, Path]) -> None:
    for name in captures:
        proof.prove_counts(load_trace(captures[name]))


@pytest.mark.parametrize("cuda", [True, False])
def test_launches_of_which_there_is_no_kernel_are_lost(cuda: bool) -> None:
    trace = make_trace()
    launches = replace(trace, calls=trace.calls.assign(name=LAUNCH))
    if not cuda:
        prove(launches, cuda=False)
        return
    with pytest.raises(EventsMissing, match="launches and no kernel") as caught:
        prove(launches)
    assert f"calls that launch kernels: {len(trace.calls)}" in caught.value.evidence
    prove(replace(launches, kernels=pd.DataFrame({"start": [0], "end": [1]})))
