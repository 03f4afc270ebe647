"""Single requests with the standard library: no proxies, no redirects, always a deadline."""

from __future__ import annotations

import http.client
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
        timeout_s: longest silence.
    """
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    headers, body = {}, None
    if endpoint.body is not None:
        headers, body = {"Content-Type": "application/json"}, own.to_json(endpoint.body)
    try:
        connection.request(endpoint.method, parts.path.rstrip("/") + endpoint.path, body, headers)
        response = connection.getresponse()
        return Answer(response.status, response.read(_LONGEST).decode("utf-8", "replace"))
    except TimeoutError:
        return Answer(0, f"no answer within {timeout_s:g} s")
    except ConnectionRefusedError:
        return Answer(0, "connection refused")
    except (OSError, http.client.HTTPException) as error:
        return Answer(0, f"{type(error).__name__}: {error}")
    finally:
        connection.close()


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
