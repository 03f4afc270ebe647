"""A real HTTP server for loads to be sent to, whose answers a test decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

from aiohttp import web

Answer = Callable[["Server", web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@dataclass
class Server:
    """What it has seen; `answer` is called for each request."""

    answer: Answer
    url: str = ""
    paths: list[str] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    connections: set[object] = field(default_factory=set)
    in_flight: int = 0
    most_in_flight: int = 0
    given_up: Event = field(default_factory=Event)  # a client went away before its answer
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for other requests to come or go."""
        async with self.changed:
            await self.changed.wait_for(condition)

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.paths.append(request.raw_path)
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        self.connections.add(request.transport)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await self._notify()
        try:
            return await self.answer(self, request, body)
        except asyncio.CancelledError:
            self.given_up.set()
            raise
        finally:
            self.in_flight -= 1
            await self._notify()


@contextmanager
def serving(answer: Answer) -> Iterator[Server]:
    """A server in a thread of its own."""
    loop = asyncio.new_event_loop()
    made: list[Server] = []
    ready, stop = Event(), asyncio.Event()

    async def main() -> None:
        server = Server(answer)
        made.append(server)
        app = web.Application()
        app.router.add_post("/{path:.*}", server.handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        ready.set()
        await stop.wait()
        await runner.cleanup()

    def run() -> None:
        try:
            loop.run_until_complete(main())
        finally:
            loop.close()

    thread = Thread(target=run)
    thread.start()
    try:
        assert ready.wait(10)
        yield made[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)


def event(data: object) -> bytes:
    """A server-sent event, of a text or of JSON."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    return f"data: {text}\n\n".encode()


async def begin_stream(request: web.Request) -> web.StreamResponse:
    """The beginning of a stream of events."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    return response


def streams(*parts: object) -> Answer:
    """Answers with these events, or bytes."""

    async def answer(server: Server, request: web.Request, body: object) -> web.StreamResponse:
        response = await begin_stream(request)
        for part in parts:
            await response.write(part if isinstance(part, bytes) else event(part))
        await response.write_eof()
        return response

    return answer


def replies(data: object, status: int = 200) -> Answer:
    """Answers with this JSON, or text."""

    async def answer(server: Server, request: web.Request, body: object) -> web.StreamResponse:
        if isinstance(data, str):
            return web.Response(text=data, status=status)
        return web.json_response(data, status=status)

    return answer


def completion(tokens: int = 3, usage: bool = True) -> Iterable[object]:
    """The events of a completion, as vLLM sends them."""
    for number in range(tokens):
        finish = "length" if number == tokens - 1 else None
        yield {"choices": [{"index": 0, "text": f" w{number}", "finish_reason": finish}]}
    if usage:
        yield {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": tokens}}
    yield "[DONE]"
