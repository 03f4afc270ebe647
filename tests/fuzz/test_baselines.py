"""Baselines that somebody, or some merge, has changed: read, or one error that names the file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import BaselineDamaged, BaselineError
from pytest_nsys.measure.measurement import Measurement, Part
from pytest_nsys.ncu.counters import DURATION, FP64, KernelCounters
from pytest_nsys.ncu.why import sentence
from pytest_nsys.plan.marker import Spec
from pytest_nsys.storage.baselines import BaselineStore
from pytest_nsys.storage.baselines.document import parse, render, to_json
from pytest_nsys.storage.baselines.location import baseline_path
from pytest_nsys.verdict.judge import Policy, judge
from pytest_nsys.verdict.why import counted
from tests.support import made
from tests.support.mutations import DEEP, HUGE_NUMBER, changed_bytes, changed_json, check_refusal

GOOD = replace(
    made.measurement(
        made.window(
            {"gpu.kernel_time": [100.5, 101, 99.25], "gpu.kernel_count": [3, 3, 3]},
            Part("gemm_kernel", 2, ns=90, category="gemm"),
            units={"token": 8},
        ),
        made.window({"wall.time": [5, 6, 7]}, name="part"),
    ),
    counters=(KernelCounters("gemm_kernel", "test", 2, {DURATION: 45.5, FP64: 0.0}),),
)
SPEC = Spec(warmup=1, rounds=5, timeout_s=60.0)
TEXT = render(GOOD).encode()
WHERE = "x.json"


def read(data: bytes) -> Measurement | None:
    """What is read of a file with this content; None where it is refused as it should be."""
    try:
        return parse(data.decode("utf-8"), WHERE)
    except UnicodeDecodeError:
        return None  # the store says so
    except BaselineDamaged as error:
        check_refusal(error, WHERE)
        return None


@given(changed_json(to_json(GOOD)))
def test_a_changed_value_is_read_or_refused(data: bytes) -> None:
    measurement = read(data)
    if measurement is not None:
        render(measurement)


@given(changed_bytes(TEXT))
def test_changed_bytes_are_read_or_refused(data: bytes) -> None:
    measurement = read(data)
    if measurement is not None:
        assert parse(render(measurement), WHERE) == measurement


@given(changed_json(to_json(GOOD)))
def test_what_is_read_can_be_judged(data: bytes) -> None:
    baseline = read(data)
    if baseline is not None:
        judged = judge(SPEC, GOOD, baseline, Policy("gate"))
        assert all(map(sentence, counted(judged)))


@given(st.one_of(st.text(), st.recursive(st.none(), st.lists).map(repr)))
def test_any_text_is_read_or_refused(text: str) -> None:
    read(text.encode("utf-8", "replace"))


@pytest.mark.parametrize(
    "data",
    [
        DEEP,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        TEXT.replace(b'"schema": 1', b'"schema": ' + HUGE_NUMBER),
        TEXT.replace(b"100.5", HUGE_NUMBER),
        TEXT.replace(b"100.5", b"1e999"),
        TEXT.replace(b"100.5", b"NaN"),
        TEXT.replace(b'"rounds": 5', b'"rounds": 0'),
        TEXT.replace(b'"rounds": 5', b'"rounds": 5, "rounds": 6'),
        TEXT.replace(b'"kernels"', b'"colonels"'),
        b"\xef\xbb\xbf" + TEXT,
        TEXT.replace(b"\n", b"\r\n<<<<<<< HEAD\r\n", 1),
    ],
    ids=lambda data: repr(data[:12]) + str(len(data)),
)
def test_is_refused(data: bytes) -> None:
    assert data != TEXT
    assert read(data) is None


def test_a_key_that_is_there_twice_is_said() -> None:
    """As a merge leaves it that took both sides; the first would silently not count."""
    text = TEXT.decode().replace('"rounds": 5', '"rounds": 5, "rounds": 6')
    with pytest.raises(BaselineDamaged) as caught:
        parse(text, WHERE)
    assert "'rounds' is there twice" in caught.value.evidence


def pipe(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


def endless(path: Path) -> None:
    """A file that does not end."""
    path.symlink_to("/dev/zero")


def large(path: Path) -> None:
    """A file that is larger than any baseline, and takes no space."""
    with path.open("wb") as file:
        file.truncate(2**40)


@pytest.mark.parametrize(
    ("put", "why"),
    [
        (pipe, "is not a file"),
        (endless, "is not a file"),
        (large, "is larger than 16 MiB"),
        (Path.mkdir, "is not a file"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "can't decode"),
        (lambda path: path.symlink_to(path), "symbolic links"),
    ],
    ids=["pipe", "endless", "large", "folder", "binary", "loop"],
)
def test_what_is_no_text_file_is_not_read(tmp_path: Path, put: Any, why: str) -> None:
    store = BaselineStore(tmp_path)
    path = store.path(GOOD.device, GOOD.nodeid)
    path.parent.mkdir(parents=True)
    put(path)
    with pytest.raises(BaselineError) as caught:
        store.read(GOOD.device, GOOD.nodeid)
    assert why in caught.value.evidence
    assert caught.value.remedy


@given(st.text(), st.text(st.sampled_from("./\\:~\0 ab"), max_size=20) | st.text())
def test_no_name_leads_out_of_the_folder(device: str, nodeid: str) -> None:
    path = baseline_path(device, nodeid)
    assert not path.is_absolute()
    assert not {"", ".", ".."} & set(path.parts)
    assert all("\0" not in part and len(part.encode()) < 256 for part in path.parts)
