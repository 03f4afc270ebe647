"""The ledger of a run: what became of each measured test, and what is written of it at the end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_nsys.plan.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from pytest_nsys.capture.result import CaptureResult, RanTest
    from pytest_nsys.plan.kept import KeptMarks
    from pytest_nsys.plan.marker import Spec
    from pytest_nsys.report.figures import FigureTable
    from pytest_nsys.report.figures_text import Line
    from pytest_nsys.report.run import RunReport, Unmeasured
    from pytest_nsys.storage.baselines import Change
    from pytest_nsys.storage.baselines.orphans import Orphan
    from pytest_nsys.storage.recordings.recording import RecordedTest
    from pytest_nsys.verdict.verdict import Verdict


_RECORDINGS = 3


class Ledger:
    """Collects while the run goes on; nothing in it is changed once it is entered."""

    def __init__(self, config: pytest.Config, settings: Settings) -> None:
        self._config = config
        self._settings = settings
        self._results: list[CaptureResult] = []
        self._captures: dict[int, list[int]] = {}
        self._seconds: dict[str, float] = {}
        self._notes: list[str] = []
        self._verdicts: list[Verdict] = []
        self._unmeasured: list[Unmeasured] = []
        self._changes: list[Change] = []
        self._orphans: tuple[Orphan, ...] = ()
        self._recorded: list[RecordedTest] = []
        self._marks: dict[str, KeptMarks] = {}

    def add_marks(self, item: pytest.Item, spec: Spec) -> None:
        """A test is to be measured; a recording keeps how it is to be judged."""
        if self._settings.record is not None:
            from pytest_nsys.plan.kept import kept_marks

            self._marks[item.nodeid] = kept_marks(item, spec)

    def add_result(self, result: CaptureResult, under_test: bool) -> None:
        """A capture was made, or replayed; only those of the revision under test are kept."""
        for name, value in result.seconds.items():
            self._seconds[name] = self._seconds.get(name, 0.0) + value
        if result.trace is not None:
            from pytest_nsys.trace.notes import defect_notes

            self._notes += defect_notes(result.trace)
        if not under_test or self._settings.record is None:
            return
        if result.export is not None:
            number = len(self._exported())
            for test in result.tests:
                self._captures.setdefault(id(test), []).append(number)
        # Tables of a whole capture are not kept beyond it.
        self._results.append(replace(result, trace=None))

    def add_note(self, note: str) -> None:
        """Something about the run as a whole."""
        self._notes.append(note)

    def add_verdict(self, verdict: Verdict, change: Change | None) -> None:
        """A test was judged, and its baseline perhaps written."""
        self._verdicts.append(verdict)
        self._note_capture(verdict)
        if change is not None:
            self._changes.append(change)

    def _note_capture(self, verdict: Verdict) -> None:
        """That baselines are of another capture: whoever reads the summary is to know."""
        from pytest_nsys.verdict.captures import other_capture

        if verdict.baseline is not None and verdict.comparisons:
            other = other_capture(verdict.measurement, verdict.baseline)
            if other:
                self._notes.append(f"{other}: times of the host are not compared")

    @property
    def has_verdicts(self) -> bool:
        """Whether any test was measured and judged."""
        return bool(self._verdicts)

    def add_unmeasured(self, nodeid: str, reason: str, baselines: Sequence[str] = ()) -> None:
        """A test was to be measured and has no verdict; ``baselines`` are devices that have one."""
        from pytest_nsys.report.run import Unmeasured
        from pytest_nsys.support.text import line_without_folders

        self._unmeasured.append(Unmeasured(nodeid, line_without_folders(reason), tuple(baselines)))

    def add_orphans(self, orphans: tuple[Orphan, ...]) -> None:
        """There are baselines without a test."""
        self._orphans = orphans

    def add_test(self, ran: RanTest) -> None:
        """A test ended; a recording keeps how."""
        if self._settings.record is None:
            return
        from pytest_nsys.storage.recordings.recording import RecordedTest
        from pytest_nsys.storage.recordings.reports import kept_report
        from pytest_nsys.support.text import line_without_folders

        problem = ran.lost or (ran.problem.what if ran.problem else "")
        self._recorded.append(
            RecordedTest(
                nodeid=ran.nodeid,
                reports=tuple(kept_report(report) for report in ran.reports),
                captures=tuple(self._captures.get(id(ran), ())),
                warmup=ran.warmup,
                rounds=ran.rounds,
                problem=line_without_folders(problem),
            )
        )

    def _exported(self) -> list[CaptureResult]:
        return [result for result in self._results if result.export is not None]

    def _write_recording(self, folder: Path, unfinished: str) -> None:
        from pytest_nsys.plan.kept import judging_hooks, kept_options
        from pytest_nsys.storage.recordings.recording import (
            RecordedCapture,
            Recording,
            write_recording,
        )
        from pytest_nsys.support.text import line_without_folders

        results = self._exported()
        ended = {test.nodeid for test in self._recorded}
        recording = Recording(
            captures=tuple(
                RecordedCapture(
                    f"capture-{number}.sqlite.xz", result.options, result.records, result.server
                )
                for number, result in enumerate(results, 1)
            ),
            tests=tuple(self._recorded),
            versions=self._results[0].versions if self._results else {},
            nsys=self._results[0].nsys if self._results else "",
            date=self._results[0].date if self._results else "",
            commit=self._results[0].commit if self._results else "",
            marks={
                nodeid: marks
                for nodeid, marks in self._marks.items()
                if unfinished or nodeid in ended
            },
            options=kept_options(self._config),
            hooks=judging_hooks(self._config),
            part=self._settings.part,
            unfinished=line_without_folders(unfinished),
        )
        write_recording(folder, recording, [r.export for r in results if r.export is not None])

    def run_report(self) -> RunReport:
        """What the run found so far."""
        from pytest_nsys.controller.recorded import COMMAND
        from pytest_nsys.plan.privacy import published_command
        from pytest_nsys.report.run import RunReport

        arguments = [str(arg) for arg in self._config.invocation_params.args]
        return RunReport(
            mode=self._settings.mode,
            verdicts=tuple(self._verdicts),
            unmeasured=tuple(self._unmeasured),
            changes=tuple(self._changes),
            orphans=self._orphans,
            seconds=dict(self._seconds),
            notes=tuple(dict.fromkeys([*self._notes, *self._void_tolerances(), *self._thin()])),
            command=self._config.stash.get(COMMAND, "") or published_command(arguments),
            kept=str(self._settings.keep or ""),
            columns=self._settings.columns,
            name=self._settings.report_name or "",
        )

    def _thin(self) -> list[str]:
        """On baselines that were made from a recording, and of how many processes."""
        if not (self._settings.replay and self._changes):
            return []
        from pytest_nsys.support.text import listed

        names = [folder.name for folder in self._settings.replay]
        shown = listed(names, _RECORDINGS)
        recordings = "recording" if len(names) == 1 else "recordings"
        notes = [f"baselines were made from the {recordings} {shown}"]
        wanted = self._settings.processes
        thin = [one.after for one in self._changes if one.after.processes < wanted]
        if thin:
            first = f"{thin[0].processes} process{'es' * (thin[0].processes != 1)}"
            more = f", and {len(thin) - 1} more like it" if len(thin) > 1 else ""
            notes.append(
                f"the baseline of {thin[0].nodeid} is of {first} in the place of {wanted}{more}: "
                "what one process measures says little of the next; record the run with "
                f"--nsys-processes={wanted}"
            )
        return notes

    def _void_tolerances(self) -> list[str]:
        """On tolerances of the run, which are of no test in particular, that no test met."""
        from pytest_nsys.verdict.unmatched import never_matched

        keys = [key for key, _ in self._settings.tolerance]
        found = never_matched(keys, [verdict.measurement for verdict in self._verdicts])
        return [f"nsys_tolerance: {text}" for text in found]

    def write(self, unfinished: str) -> None:
        """Write the recording and the reports that were asked for.

        Args:
            unfinished: why the run did not come to its end; "" where it did.

        Raises:
            OSError, NsysError: one of them cannot be written.
        """
        settings, run = self._settings, self.run_report()
        if settings.record is not None and (self._marks or settings.part is not None):
            self._write_recording(settings.record, unfinished)
        if settings.json is not None:
            from pytest_nsys.report.json import write_json

            write_json(run, settings.json, samples=settings.json_samples)
        if settings.html is not None:
            from pytest_nsys.report.html.render import write_html

            write_html(run, settings.html)
        if settings.markdown is not None:
            from pytest_nsys.report.markdown import write_markdown

            write_markdown(run, settings.markdown, settings.report_url)
        for form, path in settings.exports:
            from pytest_nsys.report.export import write_export

            write_export(run, form, path)
        if settings.job_summary is not None and (run.verdicts or run.unmeasured):
            self._append_summary(run, settings.job_summary)
        if settings.history is not None:
            from pytest_nsys.storage.history import record_run

            record_run(
                settings.history, run.verdicts, settings.rootdir, ignoring=[settings.baseline_dir]
            )

    def _append_summary(self, run: RunReport, path: Path) -> None:
        """Nobody asked for it by an option, so that it fails no run: the terminal tells."""
        from pytest_nsys.errors import NsysError
        from pytest_nsys.report.markdown import append_summary

        try:
            append_summary(run, path, self._settings.report_url)
        except NsysError as error:
            self._notes.append(f"{error.what}: {error.evidence}")

    def summary(self, width: int, verbosity: int, told: Collection[str]) -> Iterator[Line]:
        """The lines of the terminal's summary section.

        Args:
            width: of the terminal.
            verbosity: of the run: below zero there is no table, from two on it has all rows.
            told: tests whose failure pytest's own short summary tells.
        """
        from pytest_nsys.report.figures_text import ROWS, Line, figure_lines
        from pytest_nsys.report.text import summary_lines

        settings = self._settings
        written = {
            "recording": settings.record,
            "JSON": settings.json,
            "HTML": settings.html,
            "Markdown": settings.markdown,
            **{f"{form} export": path for form, path in settings.exports},
            "history": settings.history,
        }
        tables = self._tables(verbosity)
        # Of an update the counts say what became of the rows.
        tabled = bool(tables) and settings.mode == "update" and settings.table != "changed"
        counts, *lines = summary_lines(self.run_report(), width, told, tabled=tabled)
        yield Line(counts)
        where = str(settings.html or settings.json or "-vv or --nsys-html=FILE shows them")
        most = None if verbosity > 1 else ROWS
        yield from figure_lines(tables, width, most, where)
        yield from map(Line, lines)
        for name, path in written.items():
            if path is not None:
                yield Line(f"{name}: {path}")

    def _tables(self, verbosity: int) -> tuple[FigureTable, ...]:
        """What the summary's tables show: by default all where nothing but numbers is asked for."""
        from pytest_nsys.report.figures import figure_tables
        from pytest_nsys.report.figures_text import changed_only

        asked = self._settings.table
        by_default = self._settings.mode != "gate" or verbosity > 0
        if verbosity < 0 or asked == "off" or not (asked or by_default):
            return ()
        tables = figure_tables(self._verdicts, self._settings.columns)
        return changed_only(tables) if asked == "changed" else tables

    def word(self, verdict: Verdict) -> str:
        """What a test's own line says of it."""
        from pytest_nsys.report.figures_text import figure_word

        return figure_word(verdict, self._settings.columns)
