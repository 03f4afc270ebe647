"""Whether what is known of an inference engine holds for the one that is installed here: it is
started under nsys, asked, measured in one window, and ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from pytest_nsys import __version__
from pytest_nsys.capture.export import export_report
from pytest_nsys.capture.nsys import find_nsys
from pytest_nsys.capture.proof import prove_report
from pytest_nsys.doctor.context import CheckResult
from pytest_nsys.errors import LoadFailed, NsysError, ServerDied, ServerFailed, ServerNotReady
from pytest_nsys.measure.windows import measure
from pytest_nsys.process.run_folder import RunFolder
from pytest_nsys.servers.context import ServerContext, show_nobody, tell_nobody
from pytest_nsys.servers.engines.http import get
from pytest_nsys.servers.engines.preset import Preset
from pytest_nsys.servers.engines.presets import preset_named
from pytest_nsys.servers.engines.spec import ServerSpec, spec_of
from pytest_nsys.servers.factory import start_ready
from pytest_nsys.servers.load import Exchange, Load, Target, dialect_of, send
from pytest_nsys.servers.records import TestCaptures, WindowCapture, prove_rounds, round_records
from pytest_nsys.servers.running.nsys_session import demand_sessions
from pytest_nsys.servers.running.process import ServerProcess
from pytest_nsys.servers.server import Server, small_prompts
from pytest_nsys.support.json_values import load as load_json
from pytest_nsys.support.text import without_folders
from pytest_nsys.trace import load_trace

CHECKS = ("nsys", "start", "endpoints", "streaming", "token counts", "window", "end")
"""What is tried, in this order; what comes after a failure may not be."""

METRICS = (
    *("gpu.kernel_time.per_token", "gpu.kernel_count", "gpu.busy_pct"),
    *("client.tokens_per_s", "client.ttft_p50", "client.latency_p50"),
    *("client.output_tokens", "client.errors"),
)
"""What is shown of the window."""

REQUESTS, ROUNDS, TOKENS = 4, 2, 16
"""The window: requests of a round, rounds, tokens of an answer."""

_LOGS = (ServerFailed, ServerNotReady, ServerDied, LoadFailed)
"""What has lines of the engine's log as its evidence, which is to be handed on."""

_NAME = "engine"
_PROBE_S = 10.0
_DYING_S = 1.0
_REQUEST_S = 120.0


@dataclass(frozen=True)
class EngineCheck:
    """What was found of an engine.

    Attributes:
        engine: the preset's name.
        compared: with which version the preset was compared, and when.
        started: the engine and the arguments that were chosen for it, as may be handed on.
        versions: by name: of the engine, as far as it tells it, of nsys and of this package.
        results: one for each of `CHECKS`, in their order.
        stages: seconds that each stage of the start took.
        metrics: of the window, by key: the median of its rounds.
    """

    engine: str
    compared: str
    started: tuple[str, ...]
    versions: Mapping[str, str]
    results: tuple[CheckResult, ...]
    stages: Mapping[str, float] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether all was tried, and held."""
        return all(result.status in ("ok", "warning") for result in self.results)


def check_engine(
    name: str,
    model: str,
    args: Sequence[str],
    *,
    executable: str | None = None,
    ready_timeout: float = 1800.0,
    say: Callable[[str], object] = tell_nobody,
    show: Callable[[str, bool], object] = show_nobody,
) -> EngineCheck:
    """Try an engine. Whatever comes of it, nothing of it is left.

    Args:
        name: of its preset.
        model: name or path; "" where the engine brings its own.
        args: further words of its command.
        executable: the nsys that the user asked for, if any.
        ready_timeout: seconds until it must be ready.
        say: told what takes long.
        show: told again and again what goes on; see `ServerContext`.

    Raises:
        UnknownPreset: there is no such engine.
        LaunchError: it cannot be started so.
    """
    preset = preset_named(name)
    trial = _Trial(preset, spec_of(preset, model, args))
    try:
        nsys = find_nsys(executable)
        trial.versions["nsys"] = nsys.version_text
        demand_sessions(nsys)
        trial.add("nsys", f"nsys {nsys.version_text} can start and stop around a server")
        trial.check = "start"
        with RunFolder() as folder:
            captures = TestCaptures(_NAME, 0)
            trial.run(
                ServerContext(folder, nsys, say=say, show=show, current=captures), ready_timeout
            )
    except NsysError as error:
        trial.fail(error)
    return trial.found()


class _Trial:
    """The one attempt, as far as it has come."""

    def __init__(self, preset: Preset, spec: ServerSpec) -> None:
        self.versions = {"pytest-nsys": __version__}
        self.check = "nsys"
        self._preset = preset
        self._spec = spec
        self._results: dict[str, CheckResult] = {}
        self._stages: Mapping[str, float] = {}
        self._metrics: dict[str, float] = {}

    def found(self) -> EngineCheck:
        """All that is known by now."""
        skipped = (CheckResult(check, "skipped", "not tried") for check in CHECKS)
        return EngineCheck(
            engine=self._preset.name,
            compared=self._preset.checked,
            started=self._spec.published,
            versions=self.versions,
            results=tuple(self._results.get(one.check, one) for one in skipped),
            stages=self._stages,
            metrics=self._metrics,
        )

    def add(self, check: str, what: str, evidence: str = "") -> None:
        """Something is as it should be."""
        self._results[check] = CheckResult(check, "ok", what, evidence)

    def fail(self, error: NsysError) -> None:
        """What is tried at the moment has failed."""
        evidence = without_folders(error.evidence) if isinstance(error, _LOGS) else error.evidence
        self._results[self.check] = CheckResult(
            self.check, "problem", error.what, evidence, error.remedy
        )

    def run(self, context: ServerContext, ready_timeout: float) -> None:
        """Start it, look at it, and end it; then measure what was captured.

        Raises:
            NsysError: `check` has failed.
        """
        process = start_ready(context, self._spec, ready_timeout)
        try:
            self._stages = process.startup.times
            self.add("start", f"ready after {process.startup.seconds:.1f} s")
            self.check = "endpoints"
            self._look(process)
            self.check = "streaming"
            server = Server(process, context, self._spec.dialect, None, {})
            streamed = self._asked(process, server, stream=True)
            self.add("streaming", _stream_words(streamed))
            self.check = "token counts"
            self._demand_counts(streamed, self._asked(process, server, stream=False))
            self.check = "window"
            context.say("measuring one window")
            self._open_window(server)
        finally:
            note = process.stop()
            what = note or "it ended, and nothing of it is left"
            self._results["end"] = CheckResult("end", "warning" if note else "ok", what)
        assert context.current is not None
        self._measure(context, context.current.windows[-1])

    def _look(self, process: ServerProcess) -> None:
        """Its endpoints answer."""
        preset, url = self._preset, process.url
        named = "" if preset.api_model else "/v1/models"  # what tells the model's name
        paths = dict.fromkeys(filter(None, [preset.ready, preset.health, preset.version, named]))
        answers = {path: get(url, path, _PROBE_S) for path in paths}
        lines = [f"GET {path}: HTTP {one.status}" for path, one in answers.items() if one.status]
        lines += [f"GET {path}: {one.text}" for path, one in answers.items() if not one.status]
        if preset.version and answers[preset.version].ok:
            self.versions[preset.name] = version_in(answers[preset.version].text)
        if failed := [path for path, answer in answers.items() if not answer.ok]:
            process.check_alive(_DYING_S)
            raise NsysError(
                f"it does not answer {' and '.join(failed)}",
                evidence="\n".join(lines),
                remedy="this version of the engine has another path for that: register a preset "
                "with the one that it has, and report it",
            )
        self.add("endpoints", "all answer", "\n".join(lines))

    def _asked(self, process: ServerProcess, server: Server, *, stream: bool) -> Exchange:
        """One request, answered.

        Raises:
            ServerDied: the server has ended.
            NsysError: it was not answered.
        """
        dialect = dialect_of(self._spec.dialect)
        load = Load(
            small_prompts(dialect)[:1],
            requests=1,
            max_tokens=TOKENS,
            stream=stream,
            timeout_s=_REQUEST_S,
        )
        (exchange,) = send(load, Target(server.url, server.model, dialect)).exchanges
        if exchange.error:
            process.check_alive(_DYING_S)
            how = "streamed" if stream else "whole"
            path = dialect.path_of(server.model, stream)
            raise NsysError(
                f"it gives no {how} answer in the dialect {dialect.name!r}",
                evidence=f"POST {path}: {exchange.error}",
                remedy="see what it answers; this version may want other fields, or speak another "
                "dialect (dialect=)",
            )
        return exchange

    def _demand_counts(self, streamed: Exchange, whole: Exchange) -> None:
        for how, exchange in (("streamed", streamed), ("whole", whole)):
            if exchange.counted != "usage":
                raise NsysError(
                    f"its {how} answers do not tell how many tokens they have",
                    evidence=f"counted by {exchange.counted}: {exchange.output_tokens}",
                    remedy="values per token would be wrong: see whether it has to be told to "
                    "count (extra=), and report it",
                )
        counts = f"{streamed.output_tokens} and {whole.output_tokens}"
        evidence = f"prompt: {streamed.prompt_tokens} tokens; {TOKENS} were asked for"
        self.add("token counts", f"{counts} tokens, as it counts them", evidence)

    def _open_window(self, server: Server) -> None:
        sending = {"requests": REQUESTS, "rounds": ROUNDS, "max_tokens": TOKENS}
        with server.window(_NAME, timeout=_REQUEST_S, **sending) as window:
            window.load(small_prompts(dialect_of(self._spec.dialect)))

    def _measure(self, context: ServerContext, window: WindowCapture) -> None:
        assert context.nsys is not None
        prove_report(window.report, window.printed)
        trace = load_trace(export_report(context.nsys, window.report, window.report.parent))
        records = round_records(trace, window, _NAME)
        prove_rounds(trace, records, needs_gpu=True, needs_cuda=True)
        measured = measure(trace, records)[_NAME].windows[_NAME]
        known = measured.samples
        self._metrics = {key: measured[key] for key in METRICS if key in known}
        self.add("window", f"{ROUNDS} rounds of {REQUESTS} requests were measured")


def _stream_words(streamed: Exchange) -> str:
    """When its tokens came; a whole stream has some."""
    assert streamed.first_token_ns is not None
    assert streamed.last_token_ns is not None
    first = (streamed.first_token_ns - streamed.start_ns) / 1e6
    rest = (streamed.last_token_ns - streamed.first_token_ns) / 1e6
    return f"the first token after {first:.1f} ms, the last {rest:.1f} ms later"


def version_in(text: str) -> str:
    """The version that an answer tells."""
    try:
        answer = load_json(text)
    except ValueError:
        return "unknown"
    fields = answer if isinstance(answer, dict) else {}
    told = next((fields[key] for key in ("version", "release") if key in fields), None)
    return str(told) if isinstance(told, str | int | float) else "unknown"
