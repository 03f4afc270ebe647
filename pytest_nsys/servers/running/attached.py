"""A server that somebody else has started, under ``nsys launch`` or ``profile --start-later``."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_nsys.capture.nsys import NsysTool, trace_options
from pytest_nsys.errors import NsysError, ServerDied, ServerNotReady, SessionBusy
from pytest_nsys.process.environment import minimal_environment
from pytest_nsys.servers.engines.http import first_model, get
from pytest_nsys.servers.running.nsys_session import (
    CAN_START,
    Collection,
    SessionTool,
    StartStop,
    demand_sessions,
)

_PROBE_S = 5.0


class AttachedServer:
    """A server that runs already, and goes on after the tests.

    Attributes:
        url: its address, without a slash at the end.
        session: nsys's name for it; "" if it is not profiled.
        options: of the collections, as far as they are decided here.
    """

    def __init__(
        self,
        url: str,
        health: str,
        model: str,
        session: str = "",
        collection: StartStop | None = None,
        options: tuple[str, ...] = (),
    ) -> None:
        self.url = url.rstrip("/")
        self.session = session
        self._health = health
        self._model = model
        self._collection = collection
        self.options = options

    @property
    def model(self) -> str:
        """What requests call the model."""
        return self._model or first_model(self.url, _PROBE_S)

    @property
    def recorded(self) -> None:
        """Where nsys puts what it records: not known here, so that no size can be watched."""

    @property
    def collection(self) -> Collection | None:
        """Starts and stops collecting around it; None without nsys."""
        return self._collection

    def check_alive(self, patience_s: float = 0.0) -> None:
        """The server answers.

        Args:
            patience_s: nothing here: an answer that does not come is waited for anyway.

        Raises:
            ServerDied: it does not.
        """
        del patience_s
        answer = get(self.url, self._health, _PROBE_S)
        if not answer.ok:
            raise ServerDied(
                f"the server at {self.url} does not answer that it is well",
                evidence=f"GET {self.url}{self._health}: {answer.words}",
                remedy="it was started elsewhere: see its log there",
            )

    def stop(self) -> str:
        """Stop a collection that is left running; the server stays. Returns what to tell of it."""
        if self._collection is None or not self._collection.collecting:
            return ""
        try:
            self._collection.stop()
        except NsysError as error:
            return f"nsys's session {self.session} may still be collecting: {error.what}"
        return ""


def attach(
    url: str,
    session: str,
    *,
    nsys: NsysTool | None,
    nsys_args: Sequence[str] = (),
    health: str = "/health",
    model: str = "",
    deadline_s: float = 900.0,
) -> AttachedServer:
    """A server that runs already.

    Args:
        url: its address.
        session: nsys's name for it (``nsys sessions list``).
        nsys: what collects, of the version that it was started under; None for no collections.
        nsys_args: arguments of nsys; those that only count when a program is started do nothing.
        health: path that answers 200 while it lives.
        model: what requests call the model; "" to ask it.
        deadline_s: longest time for one command of nsys.

    Raises:
        ServerNotReady: it does not answer.
        NsysTooOld: this nsys cannot start and stop.
        SessionMissing: there is no such session, or nothing runs in it.
        SessionBusy: it collects already.
    """
    answer = get(url.rstrip("/"), health, _PROBE_S)
    if not answer.ok:
        raise ServerNotReady(
            f"no server answers at {url}",
            evidence=f"GET {url.rstrip('/')}{health}: {answer.words}",
            remedy="start it first, or correct the address or the path (health=)",
        )
    if nsys is None:
        return AttachedServer(url, health, model)
    demand_sessions(nsys)
    tool = SessionTool(nsys, session, minimal_environment(), deadline_s)
    state = tool.demand().state
    if state not in CAN_START:
        raise SessionBusy(
            f"nsys's session {session!r} cannot start a collection now",
            evidence=f"state: {state}",
            remedy=f"'nsys stop --session={session}' ends a collection; a server that is "
            "attached to must be started by 'nsys launch' or with --start-later=true",
        )
    options = trace_options(nsys_args)
    return AttachedServer(url, health, model, session, StartStop(tool, options), options)
