"""Single requests with the standard library: no proxies, no redirects, always a deadline."""

from __future__ import annotations

import contextlib
import http.client
import socket
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pytest_nsys.servers.engines.preset import Endpoint
from pytest_nsys.support.json_values import load, read_keys
from pytest_nsys.support.own import own

_LONGEST = 1 << 20


@dataclass(frozen=True)
class Answer:
    """What a server answered.

    Attributes:
        status: of HTTP; 0 if there was no answer.
        text: the body, or why there was no answer.
    """

    status: int
    text: str

    @property
    def ok(self) -> bool:
        """Whether it is a success."""
        return 200 <= self.status < 300

    @property
    def words(self) -> str:
        """The answer as a person reads it."""
        if not self.status:
            return self.text
        start = " ".join(self.text.split())[:300]
        return f"HTTP {self.status}" + (f": {start}" if start else "")


def ask(url: str, endpoint: Endpoint, timeout_s: float) -> Answer:
    """Send one request.

    Args:
        url: of the server, such as "http://127.0.0.1:8000".
        endpoint: what is sent there.
        timeout_s: longest time until the answer is there as a whole, the look-up of the host's
            name included.
    """
    return _Request(url, endpoint, timeout_s).answered()


class _Request:
    """A request in a thread: no time limit of a socket is one for all that is to be received, and
    a look-up of a name has none at all."""

    def __init__(self, url: str, endpoint: Endpoint, timeout_s: float) -> None:
        name = f"pytest-nsys {endpoint.method} {endpoint.path}"
        self._thread = own.Thread(target=self._run, name=name, daemon=True)
        self._answer: Answer | None = None
        self._url = urlsplit(url)
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._given_up = False
        self._socket: socket.socket | None = None

    def answered(self) -> Answer:
        """Ask, and wait for the answer; the thread ends when its time is over, too."""
        self._thread.start()
        self._thread.join(self._timeout_s)
        if self._answer is not None:
            return self._answer
        self._given_up = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)
        return self._none_in_time()

    def _run(self) -> None:
        try:
            self._answer = self._ask()
        except TimeoutError:
            self._answer = self._none_in_time()
        except ConnectionRefusedError:
            self._answer = Answer(0, "connection refused")
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._answer = Answer(0, f"{type(error).__name__}: {error}")

    def _none_in_time(self) -> Answer:
        return Answer(0, f"no answer within {self._timeout_s:g} s")

    def _ask(self) -> Answer:
        url, endpoint = self._url, self._endpoint
        kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        headers, body = {}, None
        if endpoint.body is not None:
            headers, body = {"Content-Type": "application/json"}, own.to_json(endpoint.body)
        with closing(kind(url.hostname or "", url.port, timeout=self._timeout_s)) as connection:
            connection.connect()
            self._socket = connection.sock
            if self._given_up:
                return self._none_in_time()
            connection.request(endpoint.method, url.path.rstrip("/") + endpoint.path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read(_LONGEST).decode("utf-8", "replace"))


def get(url: str, path: str, timeout_s: float) -> Answer:
    """Ask for a path."""
    return ask(url, Endpoint(path, "GET"), timeout_s)


def first_model(url: str, timeout_s: float) -> str:
    """The first model that ``/v1/models`` of a server names; "" if it names none."""
    answer = get(url, "/v1/models", timeout_s)
    try:
        models = read_keys({"data": tuple[Any, ...]}, load(answer.text))["data"]
        name = read_keys({"id": str}, models[0])["id"]
    except (ValueError, IndexError):
        return ""
    return name if name.isprintable() else ""
