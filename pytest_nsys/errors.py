"""What can go wrong, one exception per cause.

Every error carries three things, and shows them in this order: what happened, the evidence
(the line nsys printed, the file and line that is damaged), and what to do about it.
"""

from __future__ import annotations


class NsysError(Exception):
    """Base of every error this package raises for a reason a user can act on.

    Args:
        what: what happened, one sentence.
        evidence: what was seen: lines of a tool's output, a path, a number.
        remedy: what to do now.
    """

    def __init__(self, what: str, *, evidence: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.evidence = evidence.strip()
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [self.what]
        if self.evidence:
            lines += [f"  {line}" for line in self.evidence.splitlines()]
        if self.remedy:
            lines.append(f"What to do: {self.remedy}")
        return "\n".join(lines)


class MarkerError(NsysError):
    """An argument of ``@pytest.mark.nsys`` is wrong."""


class SettingsError(NsysError):
    """A command-line option or ini value is wrong, or options contradict each other."""


class QuantityError(NsysError):
    """A quantity such as ``"200 us"`` or ``"5%"`` cannot be read."""


class UnknownMetric(NsysError):
    """No metric has this key."""


class NsysNotFound(NsysError):
    """There is no nsys to run."""


class NsysUsageError(NsysError):
    """nsys refused its command line."""


class NsysLaunchFailed(NsysError):
    """nsys ended without starting its program."""


class CaptureError(NsysError):
    """A capture was made, or should have been, and cannot be used."""


class CaptureMissing(CaptureError):
    """nsys ended and left no new report."""


class ImporterFailed(CaptureError):
    """nsys left raw events (``.qdstrm``) and could not make a report of them."""


class ExportFailed(CaptureError):
    """``nsys export`` failed or its output is not a complete database."""


class EventsMissing(CaptureError):
    """The capture has less CUDA events than nsys says it collected."""


class LimitReached(CaptureError):
    """A test was not measured, or not to its end: its capture had reached a limit."""


class WindowsMissing(CaptureError):
    """The capture lacks NVTX ranges that the worker opened."""


class NoWindows(WindowsMissing):
    """The capture has none of the worker's NVTX ranges."""


class TimeNotCovered(CaptureError):
    """A stretch of time that is to be cut out of a capture does not lie within it."""


class NoGpu(CaptureError):
    """nsys saw no NVIDIA GPU."""


class NoCudaEvents(CaptureError):
    """The capture holds no CUDA activity although the tests used the GPU."""


class DiagnosticError(CaptureError):
    """nsys itself says that the capture is not good."""


class DeadlineExceeded(CaptureError):
    """A program did not end in its time, and was ended."""


class WorkerFailed(CaptureError):
    """The worker ended before it ran its first test."""


class CommandNotFound(NsysError):
    """There is no program of the name that was given."""


class LauncherFailed(NsysError):
    """What starts programs somewhere else does not start them."""


class FetchFailed(CaptureError):
    """A capture that was made somewhere else cannot be brought here."""


class NoRunFolder(NsysError):
    """There is no place for a run's temporary files."""


class NotACapture(NsysError):
    """A file that should be a capture (report, SQLite export or recording) is none."""


class BaselineError(NsysError):
    """A baseline cannot be read or written."""


class BaselineDamaged(BaselineError):
    """A baseline file is not what this version wrote: damaged, in conflict, or newer."""


class RecordingError(NsysError):
    """A recording is missing, damaged, or of a newer version."""


class ReportError(NsysError):
    """A report cannot be written."""


class RevisionError(NsysError):
    """Another revision of the project cannot be checked out, prepared or measured."""


class GpuBusy(NsysError):
    """A GPU stayed in use by another run."""


class AcceptedError(NsysError):
    """An entry of accepted changes, in the file or a marker, cannot be used."""


class HistoryError(NsysError):
    """A history cannot be read or written."""


class HistoryDamaged(HistoryError):
    """A line of a history is not what this version wrote: damaged, in conflict, or newer."""
