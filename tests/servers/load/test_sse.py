"""Server-sent events, however the network cuts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.servers.load import sse
from pytest_nsys.servers.load.sse import EventReader, TooLong

LINE = st.text(st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=10)


def read(*pieces: bytes) -> list[str]:
    reader = EventReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    return [event.decode() for event in (*events, *reader.end())]


@given(
    st.lists(st.lists(LINE, min_size=1, max_size=3), max_size=4),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.data(),
)
def test_events_are_found_wherever_they_are_cut(
    events: list[list[str]], end: str, data: st.DataObject
) -> None:
    # Between the events, what is no data.
    lines = [
        line
        for event in events
        for line in (": ping", *(f"data: {part}" for part in event), "id: 3", "retry", "")
    ]
    stream = "".join(line + end for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert read(*pieces) == ["\n".join(event) for event in events]


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"data:x\n\n", ["x"]),
        (b"data:  x\n\n", [" x"]),
        (b"data\n\n", [""]),
        (b"data: a\n\n\n\ndata: b", ["a", "b"]),
        (b"data: a\r", ["a"]),
        (b"datum: a\n\n", []),
        (b"", []),
    ],
)
def test_forms_of_events(stream: bytes, events: list[str]) -> None:
    assert read(stream) == events


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 200, b"data: xxxxx\n" * 40])
def test_an_event_has_a_longest_size(monkeypatch: pytest.MonkeyPatch, stream: bytes) -> None:
    monkeypatch.setattr(sse, "LONGEST", 100)
    with pytest.raises(TooLong, match="more than 100 bytes"):
        read(stream)
    assert len(read(b"data: xxxxx\n\n" * 40)) == 40
