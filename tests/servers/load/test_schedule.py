"""Closed and open loops: how many requests, when, and how many at once."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from aiohttp import web

from pytest_nsys.servers.load import Load, Prompt, Target, call, schedule, send
from tests.support.load_server import Server, completion, serving, streams

ONE = ("Say something.",)


@pytest.mark.parametrize(("concurrency", "requests"), [(1, 3), (4, 12), (5, 3)])
def test_a_closed_loop_holds_so_many_in_flight(concurrency: int, requests: int) -> None:
    async def answer(server: Server, request: web.Request, body: Any) -> web.StreamResponse:
        # Nobody is answered before so many are here; fewer would wait until they time out.
        await server.until(
            lambda: server.in_flight == concurrency or len(server.bodies) == requests
        )
        return await streams(*completion())(server, request, body)

    with serving(answer) as server:
        load = Load(ONE, requests=requests, concurrency=concurrency, timeout_s=10)
        result = send(load, Target(server.url))
    assert not result.failed
    assert len(result.exchanges) == len(server.bodies) == requests
    assert server.most_in_flight == min(concurrency, requests)


def test_an_open_loop_does_not_wait_for_answers() -> None:
    async def answer(server: Server, request: web.Request, body: Any) -> web.StreamResponse:
        await server.until(lambda: len(server.bodies) == 6)
        return await streams(*completion())(server, request, body)

    with serving(answer) as server:
        result = send(Load(ONE, requests=6, rate_per_s=50, timeout_s=10), Target(server.url))
    assert not result.failed
    assert server.most_in_flight == 6
    for number, exchange in enumerate(result.exchanges):
        due_ns = result.began_ns + number / 50 * 1e9
        assert due_ns - 2e6 <= exchange.start_ns <= due_ns + 2e9


@pytest.mark.parametrize(
    ("requests", "duration_s", "rate", "count"),
    [
        (None, 1.0, 10, 10),
        (None, 0.7, 10, 7),  # 0.7 * 10 is a little more than 7
        (None, 0.75, 10, 8),
        (None, 0.01, 10, 1),
        (3, 1.0, 10, 3),
        (30, 1.0, 10, 10),
    ],
)
def test_how_many_requests_an_open_loop_sends(
    requests: int | None, duration_s: float, rate: float, count: int
) -> None:
    load = Load(ONE, requests=requests, duration_s=duration_s, rate_per_s=rate)
    assert schedule._due(load, rate) == count


def test_a_sustained_load_waits_for_its_last_answers() -> None:
    calls: list[Prompt] = []

    def function(prompt: Prompt) -> None:
        calls.append(prompt)
        time.sleep(0.05)

    result = call(function, Load(ONE, duration_s=1.0, concurrency=2))
    assert not result.failed
    assert len(result.exchanges) == len(calls) > 2
    last = max(result.exchanges, key=lambda exchange: exchange.start_ns)
    assert last.end_ns - last.start_ns >= 50e6
    assert result.ended_ns >= result.began_ns + 1e9


def test_a_sustained_load_ends_where_nobody_is_answered_any_more() -> None:
    calls: list[Prompt] = []

    def function(prompt: Prompt) -> None:
        calls.append(prompt)
        if len(calls) > 3:
            raise ConnectionError("gone")

    result = call(function, Load(ONE, duration_s=600.0, concurrency=4))
    assert len(result.exchanges) - len(result.failed) == 3
    assert 100 <= len(result.failed) < 120


def test_failures_between_answers_do_not_end_a_sustained_load() -> None:
    calls: list[Prompt] = []

    def function(prompt: Prompt) -> None:
        calls.append(prompt)
        if len(calls) % 2:
            raise ConnectionError("now and then")

    result = call(function, Load(ONE, requests=300, duration_s=600.0, concurrency=1))
    assert len(result.exchanges) == 300


def test_a_sustained_load_sends_at_least_one_request() -> None:
    assert len(call(lambda prompt: None, Load(ONE, duration_s=1e-9)).exchanges) == 1


def test_a_sustained_load_ends_at_its_number_of_requests() -> None:
    assert len(call(lambda prompt: 1, Load(ONE, requests=5, duration_s=60)).exchanges) == 5


def test_an_open_loop_that_is_sustained() -> None:
    result = call(lambda prompt: 1, Load(ONE, duration_s=0.1, rate_per_s=100))
    assert len(result.exchanges) == 10
    assert result.output_tokens == 10


def test_a_server_that_is_gone_is_not_asked_all_the_time() -> None:
    def function(prompt: Prompt) -> None:
        raise ConnectionRefusedError

    result = call(function, Load(ONE, duration_s=0.3))
    assert 1 < len(result.exchanges) <= 31


# The user's own function.


def test_a_function_as_a_load() -> None:
    threads: set[int] = set()

    def function(prompt: Prompt) -> int:
        threads.add(threading.get_ident())
        return len(prompt)

    result = call(function, Load(("ab", "cde"), requests=4, concurrency=2))
    assert [exchange.output_tokens for exchange in result.exchanges] == [2, 3, 2, 3]
    assert threading.get_ident() not in threads
    for exchange in result.exchanges:
        assert result.began_ns <= exchange.start_ns <= exchange.end_ns <= result.ended_ns
        assert exchange.first_token_ns is None
    assert result.counted == "usage"


def test_a_function_that_counts_nothing() -> None:
    result = call(lambda prompt: None, Load(ONE, requests=1))
    assert not result.failed
    assert result.counted == "nothing"


def test_concurrent_calls_run_together() -> None:
    together = threading.Barrier(4, timeout=10)
    result = call(lambda prompt: together.wait(), Load(ONE, requests=8, concurrency=4))
    assert not result.failed


def test_what_a_function_raises_is_the_error_of_its_request() -> None:
    def function(prompt: Prompt) -> int:
        if prompt == "fail":
            pytest.fail("not this one")
        if prompt == "raise":
            raise ValueError
        return 1

    result = call(function, Load(("fine", "fail", "raise"), requests=3))
    assert [exchange.error for exchange in result.exchanges] == [
        "",
        "Failed: not this one",
        "ValueError",
    ]


@pytest.mark.parametrize("returned", [True, -1, 1.5, "3"])
def test_what_a_function_returns_is_a_number_of_tokens(returned: Any) -> None:
    (exchange,) = call(lambda prompt: returned, Load(ONE, requests=1)).exchanges
    assert exchange.error.startswith(f"the function returned {returned!r}")


def test_a_function_that_does_not_return() -> None:
    released = threading.Event()

    def function(prompt: Prompt) -> int:
        if prompt == "slow":
            released.wait(20)
        return 1

    load = Load(("slow", "quick"), requests=4, timeout_s=0.2)
    result = call(function, load)
    released.set()
    late = "timed out: no output after 0.2 s"
    assert [exchange.error for exchange in result.exchanges] == [late, "", late, ""]


def test_a_function_that_returns_after_its_time_limit() -> None:
    next_one = threading.Event()

    def function(prompt: Prompt) -> int:
        if prompt == "slow":
            next_one.wait(20)
        else:
            next_one.set()
            time.sleep(0.1)  # the first one returns meanwhile, and nobody waits for it any more
        return 1

    result = call(function, Load(("slow", "next"), requests=2, timeout_s=0.3))
    assert [exchange.output_tokens for exchange in result.exchanges] == [0, 1]
    assert result.exchanges[0].error == "timed out: no output after 0.3 s"


def test_no_thread_for_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("pytest_nsys.servers.load.client.Thread", refuse)
    (exchange,) = call(lambda prompt: 1, Load(ONE, requests=1)).exchanges
    assert exchange.error == "RuntimeError: can't start new thread"


def test_the_deadline_of_an_open_loop() -> None:
    released = threading.Event()
    load = Load(ONE, requests=100, rate_per_s=20)
    result = call(lambda prompt: released.wait(20) and 1, load, deadline_s=0.2)
    released.set()
    assert 1 <= len(result.exchanges) < 100
    assert {exchange.error for exchange in result.exchanges} == {
        "cut off: the load was at its deadline"
    }


def test_a_fault_of_the_schedule_is_not_hidden() -> None:
    def work(number: int, attempt: schedule.Attempt) -> Any:
        raise LookupError("a fault")

    load = Load(ONE, requests=3, concurrency=2)
    with pytest.raises(LookupError, match="a fault"):
        schedule.run_apart(schedule.follow(load, work, 5), 5)


def test_a_ctrl_c_while_the_load_ends() -> None:
    async def main() -> None:
        return

    apart = schedule._Apart(main())
    wait = apart._ended.wait

    def interrupted(timeout: float | None = None) -> bool:
        wait(5)
        apart._thread.join(5)  # its loop is closed: there is nothing to cancel any more
        raise KeyboardInterrupt

    apart._ended.wait = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        apart.result(5)
