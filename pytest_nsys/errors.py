"""What can go wrong, one exception per cause.

Every error carries three things, and shows them in this order: what happened, the evidence
(the line nsys printed, the file and line that is damaged), and what to do about it. This is all of
them; whoever catches one also catches what is below it::

    NsysError
        MarkerError
        SettingsError
        QuantityError
        UnknownMetric
        UnknownPattern
        CustomMetricFailed
        NotEnoughGpus
        NsysNotFound
        NsysUsageError
        NvtxRefused
        NsysLaunchFailed
        CaptureError
            CaptureMissing
            ImporterFailed
            ExportFailed
                ExportNotUnderstood
            EventsMissing
            LimitReached
            WindowsMissing
                NoWindows
            RoundsMissing
            TimeNotCovered
            NoGpu
            NoCudaEvents
            DiagnosticError
            DeadlineExceeded
            WorkerFailed
            FetchFailed
            CollectionFailed
        CommandNotFound
        LauncherFailed
        NoRunFolder
        NotACapture
        LfsPointer
        BaselineError
            BaselineDamaged
        RecordingError
        NeedsPytest
        ReportError
        RevisionError
        BisectError
        GpuBusy
        NcuError
            NcuNotFound
            NcuForbidden
            NcuUnfit
            NcuFailed
            NcuOutputDamaged
        ExpectedChangeError
        HistoryError
            HistoryDamaged
        ServerError
            PresetError
            UnknownPreset
            LaunchError
            CommandMissing
            CommandFailed
            PortTaken
            ServerFailed
            ServerNotReady
            ServerDied
            EndpointFailed
            WindowError
            SessionError
                NsysTooOld
                SessionTaken
                SessionMissing
                SessionBusy
        LoadError
            PromptsError
            HttpClientMissing
            LoadStuck
        LoadFailed
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
        # Evidence may be of any origin: a terminal would act on what else is in it.
        return "".join(
            one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1]
            for one in "\n".join(lines)
        )


class MarkerError(NsysError):
    """An argument of ``@pytest.mark.nsys`` is wrong."""


class SettingsError(NsysError):
    """A command-line option or ini value is wrong, or options contradict each other."""


class QuantityError(NsysError):
    """A quantity such as ``"200 us"`` or ``"5%"`` cannot be read."""


class UnknownMetric(NsysError):
    """No metric has this key."""


class UnknownPattern(NsysError):
    """No kernel, copy or call can ever match this pattern."""


class CustomMetricFailed(NsysError):
    """The function that computes an added metric failed, or returned something else."""


class NotEnoughGpus(NsysError):
    """There are fewer GPUs than a test asks for, or than workers are to have."""


class NsysNotFound(NsysError):
    """There is no nsys to run."""


class NsysUsageError(NsysError):
    """nsys refused its command line."""


class NvtxRefused(NsysError):
    """This nsys records no range of this version of the nvtx package."""


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


class ExportNotUnderstood(ExportFailed):
    """The export is whole, and of a version whose meaning is not known."""


class EventsMissing(CaptureError):
    """The capture has less CUDA events than nsys says it collected."""


class LimitReached(CaptureError):
    """A test was not measured, or not to its end: its capture had reached a limit."""


class WindowsMissing(CaptureError):
    """The capture lacks NVTX ranges that the worker opened."""


class NoWindows(WindowsMissing):
    """The capture has none of the worker's NVTX ranges."""


class RoundsMissing(CaptureError):
    """A test passed and was measured in fewer rounds than it was to have."""


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


class FetchFailed(CaptureError):
    """A capture that was made somewhere else cannot be brought here."""


class CollectionFailed(CaptureError):
    """nsys did not begin or end a collection as it was told to."""


class CommandNotFound(NsysError):
    """There is no program of the name that was given."""


class LauncherFailed(NsysError):
    """What starts programs somewhere else does not start them."""


class NoRunFolder(NsysError):
    """There is no place for a run's temporary files."""


class NotACapture(NsysError):
    """A file that should be a capture (report, SQLite export or recording) is none."""


class LfsPointer(NsysError):
    """A file is what Git LFS keeps in its place: its content was not fetched."""


class BaselineError(NsysError):
    """A baseline cannot be read or written."""


class BaselineDamaged(BaselineError):
    """A baseline file is not what this version wrote: damaged, in conflict, or newer."""


class RecordingError(NsysError):
    """A recording is missing, damaged, or of a newer version."""


class NeedsPytest(NsysError):
    """What a recording keeps of a test is not enough to judge it: that needs the test modules."""


class ReportError(NsysError):
    """A report cannot be written."""


class RevisionError(NsysError):
    """Another revision of the project cannot be checked out, prepared or measured."""


class BisectError(NsysError):
    """There is nothing to search for the commit that made a test worse, or it cannot go on."""


class GpuBusy(NsysError):
    """A GPU stayed in use by another run."""


class NcuError(NsysError):
    """Base of every error about counters of Nsight Compute (ncu)."""


class NcuNotFound(NcuError):
    """ncu is not installed where it is looked for, or does not say its version."""


class NcuForbidden(NcuError):
    """This user may not read the GPU's performance counters (ERR_NVGPUCTRPERM)."""


class NcuUnfit(NcuError):
    """ncu cannot work here: with this driver, GPU or container."""


class NcuFailed(NcuError):
    """ncu ended without counters, or did not end."""


class NcuOutputDamaged(NcuError):
    """What ncu has written cannot be understood."""


class ExpectedChangeError(NsysError):
    """An entry of expected changes, in the file or a marker, cannot be used."""


class HistoryError(NsysError):
    """A history cannot be read or written."""


class HistoryDamaged(HistoryError):
    """A line of a history is not what this version wrote: damaged, in conflict, or newer."""


class ServerError(NsysError):
    """Base of every error about a server that is started or measured."""


class PresetError(ServerError):
    """A preset cannot be registered."""


class UnknownPreset(ServerError):
    """No preset has this name."""


class LaunchError(ServerError):
    """What a server is to be started with contradicts itself, or something is missing."""


class CommandMissing(ServerError):
    """The server's program is not installed here."""


class CommandFailed(ServerError):
    """A plain command ended with an exit code that says so."""


class PortTaken(ServerError):
    """Somebody else listens on the port."""


class ServerFailed(ServerError):
    """The server ended before it was ready."""


class ServerNotReady(ServerError):
    """The server was not ready in its time."""


class ServerDied(ServerError):
    """The server, or the nsys around it, ended after it had been ready."""


class EndpointFailed(ServerError):
    """The engine refused to start or stop its profiler."""


class WindowError(ServerError):
    """A window is asked for something that it has not, or opened where it cannot be."""


class SessionError(ServerError):
    """Base of the errors about sessions of nsys."""


class NsysTooOld(SessionError):
    """This nsys cannot start and stop collecting around a program that goes on."""


class SessionTaken(SessionError):
    """Another nsys has a session of this name."""


class SessionMissing(SessionError):
    """There is no session of this name, or no program in it."""


class SessionBusy(SessionError):
    """The session collects already."""


class LoadError(NsysError):
    """A load cannot be sent as it is described: its schedule, target or dialect is wrong."""


class PromptsError(LoadError):
    """The prompts of a load, or the file that they are in, cannot be used."""


class HttpClientMissing(LoadError):
    """The HTTP client is not installed."""


class LoadStuck(LoadError):
    """A load did not end, although every request in it has a time limit."""


class LoadFailed(NsysError):
    """More of a load's requests failed than are allowed, or all of them."""
