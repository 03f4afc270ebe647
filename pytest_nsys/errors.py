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
            NsysMissing
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
        NeedsNsys
        CuptiError
            CuptiNotFound
            CuptiUnfit
            CuptiForbidden
            CuptiTaken
            CuptiUnread
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
    """An argument of ``@pytest.mark.nsys`` is wrong.

    What to do: correct the argument that is named; the nearest that there is is named beside
    it.
    """


class SettingsError(NsysError):
    """A command-line option or ini value is wrong, or options contradict each other.

    What to do: correct or leave out the option or ini value that is named.
    """


class QuantityError(NsysError):
    """A quantity such as ``"200 us"`` or ``"5%"`` cannot be read.

    What to do: write a number with a unit of its kind (``us``, ``MiB``, ``%``), or a pair of a
    share and an amount, such as ``("2%", "16 MiB")``.
    """


class UnknownMetric(NsysError):
    """No metric has this key.

    What to do: write the key as ``pytest-nsys metrics`` lists it; the nearest is named.
    """


class UnknownPattern(NsysError):
    """No kernel, copy or call can ever match this pattern.

    What to do: write the name as the report of a run shows it; the nearest is named.
    """


class CustomMetricFailed(NsysError):
    """The function that computes an added metric failed, or returned something else.

    What to do: mend the function that the hook ``pytest_nsys_metrics`` gave: it returns one
    number per window, NaN where there is none.
    """


class NotEnoughGpus(NsysError):
    """There are fewer GPUs than a test asks for, or than workers are to have.

    What to do: run it where there are more, ask for fewer (``-n``, ``gpus=``), or leave the
    test out here.
    """


class NsysNotFound(NsysError):
    """There is no nsys to run.

    What to do: install Nsight Systems, put nsys on the PATH, or name it with
    ``--nsys-executable``. Without the options of nsys, tests run unprofiled.
    """


class NsysMissing(NsysNotFound):
    """No nsys is installed, as far as can be seen, and none was named.

    What to do: where there is a GPU, install Nsight Systems, or name it with
    ``--nsys-executable``; elsewhere judge a recording with ``--nsys-replay``.
    """


class NsysUsageError(NsysError):
    """nsys refused its command line.

    What to do: correct ``nsys_args``, of the ini file or of a marker, by what nsys itself says.
    """


class NvtxRefused(NsysError):
    """This nsys records no range of this version of the nvtx package.

    What to do: use nsys 2025 or newer, or ``pip install 'nvtx<0.2.12'``.
    """


class NsysLaunchFailed(NsysError):
    """nsys ended without starting its program.

    What to do: run ``nsys profile true`` by hand: it should fail in the same way; ``pytest-nsys
    doctor`` looks for the cause.
    """


class CaptureError(NsysError):
    """A capture was made, or should have been, and cannot be used.

    What to do: do what the message says. ``pytest-nsys doctor`` finds out whether captures can
    be made here.
    """


class CaptureMissing(CaptureError):
    """nsys ended and left no new report.

    What to do: read nsys's own lines in the message; look whether TMPDIR is writable and not
    full.
    """


class ImporterFailed(CaptureError):
    """nsys left raw events (``.qdstrm``) and could not make a report of them.

    What to do: install libdw1, or a whole nsys; look whether TMPDIR is full.
    """


class ExportFailed(CaptureError):
    """``nsys export`` failed or its output is not a complete database.

    What to do: use an nsys at least as new as the one that made the report; look whether the
    disk is full.
    """


class ExportNotUnderstood(ExportFailed):
    """The export is whole, and of a version whose meaning is not known.

    What to do: export again, or with another nsys; a newer pytest-nsys may know it.
    """


class EventsMissing(CaptureError):
    """The capture has less CUDA events than nsys says it collected.

    What to do: look which test fails first: a CUDA error that breaks the process's context
    takes its events with it. Run that one alone, or with ``isolate=True``.
    """


class LimitReached(CaptureError):
    """A test was not measured, or not to its end: its capture had reached a limit.

    What to do: raise the limit (``nsys_max_duration``, ``nsys_max_capture_size``), or measure
    less in one run.
    """


class WindowsMissing(CaptureError):
    """The capture lacks NVTX ranges that the worker opened.

    What to do: run again; if it stays so, a plugin ends the worker's session early or runs the
    test in a way of its own: measure its calls with ``nsys(function, ...)``.
    """


class NoWindows(WindowsMissing):
    """The capture has none of the worker's NVTX ranges.

    What to do: look whether a module of the project is called nvtx, and what ``pytest-nsys
    doctor`` says of nvtx and nsys.
    """


class RoundsMissing(CaptureError):
    """A test passed and was measured in fewer rounds than it was to have.

    What to do: let the test fail where a round fails: what it handed to ``nsys(function, ...)``
    raised, and the test caught it.
    """


class TimeNotCovered(CaptureError):
    """A stretch of time that is to be cut out of a capture does not lie within it.

    What to do: use nsys 2023.4 or newer.
    """


class NoGpu(CaptureError):
    """nsys saw no NVIDIA GPU.

    What to do: run on a machine with a GPU and its driver (``nvidia-smi`` shows it), or judge a
    recording from there with ``--nsys-replay``.
    """


class NoCudaEvents(CaptureError):
    """The capture holds no CUDA activity although the tests used the GPU.

    What to do: look whether what is measured uses the GPU (``allow_empty=True`` says that a
    test need not), and that nsys is not older than the driver.
    """


class DiagnosticError(CaptureError):
    """nsys itself says that the capture is not good.

    What to do: use a newer nsys: one that is older than the driver is the usual cause.
    """


class DeadlineExceeded(CaptureError):
    """A program did not end in its time, and was ended.

    What to do: give it longer with the value that is named (``timeout=``,
    ``nsys_tool_timeout``), or less to do.
    """


class WorkerFailed(CaptureError):
    """The worker ended before it ran its first test.

    What to do: the same imports and collection work without nsys: look in its lines for what
    differs, such as a plugin or a fixture.
    """


class FetchFailed(CaptureError):
    """A capture that was made somewhere else cannot be brought here.

    What to do: look whether the connection holds, whether both machines have the same
    pytest-nsys, and whether TMPDIR has space.
    """


class CollectionFailed(CaptureError):
    """nsys did not begin or end a collection as it was told to.

    What to do: read nsys's own lines in the message; where an engine's own endpoints begin it,
    leave ``own_endpoints`` out.
    """


class CommandNotFound(NsysError):
    """There is no program of the name that was given.

    What to do: correct the command, or put its interpreter before it.
    """


class LauncherFailed(NsysError):
    """What starts programs somewhere else does not start them.

    What to do: run the launcher by hand: what asks for a password or a terminal cannot be used.
    """


class NoRunFolder(NsysError):
    """There is no place for a run's temporary files.

    What to do: free some space, or name a folder on a larger disk in TMPDIR.
    """


class NotACapture(NsysError):
    """A file that should be a capture (report, SQLite export or recording) is none.

    What to do: name the capture itself, and a range or window that it has.
    """


class LfsPointer(NsysError):
    """A file is what Git LFS keeps in its place: its content was not fetched.

    What to do: ``git lfs pull``; in GitHub Actions, check out with ``lfs: true``.
    """


class BaselineError(NsysError):
    """A baseline cannot be read or written.

    What to do: name the folder that has the baselines, or record some with ``--nsys-update``.
    """


class BaselineDamaged(BaselineError):
    """A baseline file is not what this version wrote: damaged, in conflict, or newer.

    What to do: resolve the conflict, or delete the file and record it anew with
    ``--nsys-update``; of a newer version: upgrade pytest-nsys.
    """


class RecordingError(NsysError):
    """A recording is missing, damaged, or of a newer version.

    What to do: record the run again, or restore its files; of a newer version: upgrade
    pytest-nsys.
    """


class NeedsPytest(NsysError):
    """What a recording keeps of a test is not enough to judge it: that needs the test modules.

    What to do: judge it with ``pytest --nsys-replay`` and the test modules, or name the plugin
    that has the hooks with ``-p``.
    """


class ReportError(NsysError):
    """A report cannot be written.

    What to do: name another file; look whether the disk is full.
    """


class RevisionError(NsysError):
    """Another revision of the project cannot be checked out, prepared or measured.

    What to do: name a revision at which the tests pass, or make that one ready with
    ``nsys_against_setup`` and ``nsys_against_python``.
    """


class BisectError(NsysError):
    """There is nothing to search for the commit that made a test worse, or it cannot go on.

    What to do: do what the message says; the same command goes on with the steps before it.
    """


class GpuBusy(NsysError):
    """A GPU stayed in use by another run.

    What to do: wait for the other run, end it, or use another GPU (``CUDA_VISIBLE_DEVICES``).
    """


class NeedsNsys(NsysError):
    """What is asked for cannot be had of CUPTI within the process, but of nsys.

    What to do: use nsys (``nsys_capture = nsys``), or leave out what is named.
    """


class CuptiError(NsysError):
    """CUPTI, which records in the place of nsys, could not do it.

    What to do: use nsys (``nsys_capture = nsys``).
    """


class CuptiNotFound(CuptiError):
    """There is no libcupti, or it cannot be loaded.

    What to do: install NVIDIA's package nvidia-cuda-cupti, or use nsys.
    """


class CuptiUnfit(CuptiError):
    """This libcupti does not fit the driver or the GPU, or there is no driver.

    What to do: run on a machine with a GPU and its driver, and with a libcupti of the driver's
    version; or use nsys.
    """


class CuptiForbidden(CuptiError):
    """The driver lets administrators alone record what GPUs do.

    What to do: run as root, or have an administrator allow it to all users.
    """


class CuptiTaken(CuptiError):
    """Another profiler has CUPTI, which has one user at a time.

    What to do: run without torch.profiler, Proton, nsys or ncu around these tests.
    """


class CuptiUnread(CuptiError):
    """CUPTI's records are not of the form that is known, or some were lost.

    What to do: measure less in a round, or use nsys.
    """


class NcuError(NsysError):
    """Base of every error about counters of Nsight Compute (ncu)."""


class NcuNotFound(NcuError):
    """ncu is not installed where it is looked for, or does not say its version.

    What to do: install Nsight Compute, and put ncu on the PATH.
    """


class NcuForbidden(NcuError):
    """This user may not read the GPU's performance counters (ERR_NVGPUCTRPERM).

    What to do: have an administrator allow it, as NVIDIA's page on ERR_NVGPUCTRPERM says; no
    verdict needs it.
    """


class NcuUnfit(NcuError):
    """ncu cannot work here: with this driver, GPU or container.

    What to do: run where ``ncu --query-metrics`` works: not in a sandboxed container, and with
    an ncu of the driver's age.
    """


class NcuFailed(NcuError):
    """ncu ended without counters, or did not end.

    What to do: read ncu's own lines in the message; give it longer with ``nsys_tool_timeout``.
    """


class NcuOutputDamaged(NcuError):
    """What ncu has written cannot be understood.

    What to do: run it again, or with another version of Nsight Compute, put first on the PATH.
    """


class ExpectedChangeError(NsysError):
    """An entry of expected changes, in the file or a marker, cannot be used.

    What to do: write the entry with a reason and a day (``until``), as docs/accepting.md shows.
    """


class HistoryError(NsysError):
    """A history cannot be read or written.

    What to do: name the folder that ``--nsys-history`` named.
    """


class HistoryDamaged(HistoryError):
    """A line of a history is not what this version wrote: damaged, in conflict, or newer.

    What to do: keep the lines of both sides of a conflict; of a newer version: upgrade
    pytest-nsys.
    """


class ServerError(NsysError):
    """Base of every error about a server that is started or measured.

    What to do: do what the message says; it shows the end of the server's log.
    """


class PresetError(ServerError):
    """A preset cannot be registered.

    What to do: correct the preset where it is registered.
    """


class UnknownPreset(ServerError):
    """No preset has this name.

    What to do: write its name as it is registered; the nearest is named.
    """


class LaunchError(ServerError):
    """What a server is to be started with contradicts itself, or something is missing.

    What to do: correct the arguments of ``nsys_server``.
    """


class CommandMissing(ServerError):
    """The server's program is not installed here.

    What to do: install the engine into the environment that runs pytest, or give the path of
    its program.
    """


class CommandFailed(ServerError):
    """A plain command ended with an exit code that says so.

    What to do: read what it printed; with ``check=False`` its exit code is only returned.
    """


class PortTaken(ServerError):
    """Somebody else listens on the port.

    What to do: end that process, or leave the choice of the port to the plugin (no ``port=``).
    """


class ServerFailed(ServerError):
    """The server ended before it was ready.

    What to do: read the lines of its log in the message; ``pytest-nsys doctor --engine NAME``
    tries it alone.
    """


class ServerNotReady(ServerError):
    """The server was not ready in its time.

    What to do: read the lines of its log in the message; correct the path (``ready=``), or give
    it longer (``ready_timeout=``).
    """


class ServerDied(ServerError):
    """The server, or the nsys around it, ended after it had been ready.

    What to do: read the lines of its log in the message.
    """


class EndpointFailed(ServerError):
    """The engine refused to start or stop its profiler.

    What to do: leave ``own_endpoints`` out: nsys then starts and stops by itself.
    """


class WindowError(ServerError):
    """A window is asked for something that it has not, or opened where it cannot be.

    What to do: correct the window: each has a name of its own, one load, and a server that
    runs.
    """


class SessionError(ServerError):
    """Base of the errors about sessions of nsys."""


class NsysTooOld(SessionError):
    """This nsys cannot start and stop collecting around a program that goes on.

    What to do: install nsys 2023.4 or newer, and name it with ``--nsys-executable``.
    """


class SessionTaken(SessionError):
    """Another nsys has a session of this name.

    What to do: end it with ``nsys shutdown --session=NAME``.
    """


class SessionMissing(SessionError):
    """There is no session of this name, or no program in it.

    What to do: start the server with ``nsys launch --session-new=NAME`` as the same user and
    with the same TMPDIR; ``nsys sessions list`` shows it then.
    """


class SessionBusy(SessionError):
    """The session collects already.

    What to do: ``nsys stop --session=NAME`` ends a collection that nobody else needs.
    """


class LoadError(NsysError):
    """A load cannot be sent as it is described: its schedule, target or dialect is wrong.

    What to do: correct the load: one schedule, a URL, and a dialect that there is.
    """


class PromptsError(LoadError):
    """The prompts of a load, or the file that they are in, cannot be used.

    What to do: correct the prompts: a list of texts, of lists of token ids, or of objects with
    a ``prompt``.
    """


class HttpClientMissing(LoadError):
    """The HTTP client is not installed.

    What to do: ``pip install 'pytest-nsys[servers]'``.
    """


class LoadStuck(LoadError):
    """A load did not end, although every request in it has a time limit.

    What to do: look whether a function of the dialect does not return.
    """


class LoadFailed(NsysError):
    """More of a load's requests failed than are allowed, or all of them.

    What to do: read the errors of the requests in the message; ``allow_errors=0.01`` lets one
    in a hundred fail.
    """
