"""Recordings that anybody may have made: replayed, or one error; no file that is not theirs."""

from __future__ import annotations

import json
import lzma
import os
import resource
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import NsysError, RecordingError
from pytest_nsys.plan.batches import Batch, PlannedTest
from pytest_nsys.plan.marker import Spec
from pytest_nsys.storage.recordings.recording import (
    INDEX,
    RecordedCapture,
    load_capture,
    load_packed,
    read_recording,
)
from pytest_nsys.storage.recordings.replay import Replay
from pytest_nsys.storage.recordings.reports import kept_report, read_kept_report
from pytest_nsys.support.xz import pack, unpack
from pytest_nsys.worker.sent_report import received_report
from tests.support.harness import TESTS
from tests.support.mutations import DEEP, HUGE_NUMBER, changed_bytes, changed_json, check_refusal

NODEID = "t.py::test_ü[a b]"
REPORT: dict[str, Any] = {
    "$report_type": "TestReport",
    "nodeid": NODEID,
    "location": ["t.py", 3, "test_ü"],
    "outcome": "failed",
    "when": "call",
    "duration": 0.25,
    "longrepr": "t.py:3: assert False",
    "keywords": {},
    "sections": [],
    "user_properties": [],
}
SKIP = {**REPORT, "when": "setup", "outcome": "skipped", "longrepr": ["t.py", 3, "Skipped: no"]}
INDEX_OF_GOOD: dict[str, Any] = {
    "schema": 1,
    "nsys": "2025.3.1",
    "date": "2026-01-31",
    "versions": {"python": "3.11.7"},
    "captures": [],
    "tests": [
        {
            "nodeid": NODEID,
            "capture": None,
            "warmup": 1,
            "rounds": 5,
            "problem": "",
            "reports": [SKIP, {**REPORT, "wasxfail": "known"}],
        }
    ],
}
CAPTURE = {
    "file": "capture-1.sqlite.xz",
    "options": ["--trace=cuda"],
    "windows": [
        {"index": 0, "kind": "round", "nodeid": NODEID, "name": "test", "round": 0, "units": {}}
    ],
}
SMALL = TESTS / "captures" / "triton.sqlite.xz"


@contextmanager
def recording(index: bytes) -> Iterator[Path]:
    """A folder with an index."""
    with TemporaryDirectory() as folder:
        (Path(folder) / INDEX).write_bytes(index)
        yield Path(folder)


def replay(index: bytes, config: pytest.Config) -> bool:
    """Replay what an index holds, as far as pytest's reports; False where it is refused."""
    with recording(index) as folder:
        try:
            source = Replay({"": folder})
            nodeids = dict.fromkeys(test.nodeid for test in read_recording(folder).tests)
            tests = tuple(PlannedTest(nodeid, Spec(1, 5, 60.0)) for nodeid in nodeids)
            sessions = max((source.planned(test) for test in tests), default=0)
            for session in range(sessions):
                for test in chain.from_iterable(
                    result.tests for result in source.capture(Batch(tests), 0, session)
                ):
                    for report in test.reports:
                        read = received_report(config, report)
                        assert read.when in ("setup", "call", "teardown")
                        assert read.outcome in ("passed", "failed", "skipped")
                        assert isinstance(read.longreprtext, str)
                        assert not {*"\n\r\x1b\x9b"} & {*read.longreprtext}
                        # Without these, pytest itself ends with INTERNALERROR.
                        assert not read.failed or read.longrepr is not None
                        known = not read.skipped or hasattr(read, "wasxfail")
                        assert known or len(read.longrepr) == 3
                    assert test.passed in (True, False)
        except RecordingError as error:
            check_refusal(error)
            return False
    return True


def test_a_good_one_is_replayed(pytestconfig: pytest.Config) -> None:
    assert replay(json.dumps(INDEX_OF_GOOD).encode(), pytestconfig)


@given(data=changed_json({**INDEX_OF_GOOD, "captures": [CAPTURE]}))
def test_a_changed_value_is_replayed_or_refused(pytestconfig: pytest.Config, data: bytes) -> None:
    replay(data, pytestconfig)


@given(data=changed_json(REPORT))
def test_a_changed_report_is_replayed_or_refused(pytestconfig: pytest.Config, data: bytes) -> None:
    (test,) = INDEX_OF_GOOD["tests"]
    index = {**INDEX_OF_GOOD, "tests": [{**test, "reports": [json.loads(data)]}]}
    replay(json.dumps(index).encode(), pytestconfig)


@given(data=changed_bytes(json.dumps(INDEX_OF_GOOD).encode()))
def test_changed_bytes_are_replayed_or_refused(pytestconfig: pytest.Config, data: bytes) -> None:
    replay(data, pytestconfig)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"$report_type": "TestReport"', '"$report_type": "CollectReport"'),
        ('"$report_type": "TestReport"', '"$report_type": "os.system"'),
    ],
)
def test_a_report_is_only_ever_one_of_a_test(
    pytestconfig: pytest.Config, old: str, new: str
) -> None:
    index = json.dumps(INDEX_OF_GOOD)
    assert old in index
    assert replay(index.replace(old, new).encode(), pytestconfig)


@pytest.mark.parametrize(
    "data",
    [
        DEEP,
        HUGE_NUMBER,
        json.dumps({**INDEX_OF_GOOD, "captures": [CAPTURE]})
        .replace('"index": 0', '"index": 1e999')
        .encode(),
        json.dumps({**INDEX_OF_GOOD, "captures": [CAPTURE]})
        .replace('"index": 0', '"index": 0, "index": 1')
        .encode(),
        json.dumps(INDEX_OF_GOOD).replace('"when": "call"', '"when": "collect"').encode(),
        json.dumps(INDEX_OF_GOOD)
        .replace(f'"nodeid": {json.dumps(NODEID)}, "loc', '"nodeid": "u", "loc')
        .encode(),
        json.dumps(INDEX_OF_GOOD).replace('"location"', '"place"').encode(),
        json.dumps(INDEX_OF_GOOD).replace("0.25", "1e999").encode(),
        json.dumps(INDEX_OF_GOOD).replace('"reports": [', '"reports": [7, ').encode(),
        json.dumps(INDEX_OF_GOOD).replace('"capture": null', '"capture": 0').encode(),
        json.dumps(INDEX_OF_GOOD).replace('"capture": null', '"captures": [0]').encode(),
    ],
    ids=lambda data: repr(data[:12]) + str(len(data)),
)
def test_is_refused(pytestconfig: pytest.Config, data: bytes) -> None:
    assert data != json.dumps(INDEX_OF_GOOD).encode()
    assert not replay(data, pytestconfig)


NAMES = [
    "../outside.sqlite.xz",
    "/outside.sqlite.xz",
    "sub/../../outside.sqlite.xz",
    "sub/inside.sqlite.xz",
    "..",
    ".",
    "",
    "a\0b",
    "a\nb",
    "\ud800",
    "x" * 1000,
    "~",
    "-",
]


def test_a_test_that_is_not_asked_for_is_not_given() -> None:
    with recording(json.dumps(INDEX_OF_GOOD).encode()) as folder:
        assert list(Replay({"": folder}).capture(Batch(()), 0, 0)) == []


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_a_name_does_not_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "recording"
    (folder / "sub").mkdir(parents=True)
    for path in (tmp_path / "outside.sqlite.xz", folder / "sub" / "inside.sqlite.xz"):
        path.symlink_to(SMALL)
    with pytest.raises(RecordingError) as caught:
        load_capture(folder, RecordedCapture(name, (), ()))
    assert caught.value.remedy


@given(st.text(max_size=20))
def test_whatever_the_name_is_there_is_no_other_error(name: str) -> None:
    with TemporaryDirectory() as folder, pytest.raises(RecordingError):
        load_capture(Path(folder), RecordedCapture(name, (), ()))


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "capture-1.sqlite.xz").symlink_to(SMALL)
    with pytest.raises(RecordingError, match="outside its folder"):
        load_capture(tmp_path, RecordedCapture("capture-1.sqlite.xz", (), ()))


def pipe(path: Path) -> None:
    """A pipe that nobody writes to."""
    os.mkfifo(path)


SPECIAL: dict[str, Callable[[Path], object]] = {
    "pipe": pipe,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "loop": lambda path: path.symlink_to(path.name),
}


@pytest.mark.parametrize("name", SPECIAL)
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, name: str) -> None:
    SPECIAL[name](tmp_path / INDEX)
    with pytest.raises(RecordingError, match="is damaged"):
        read_recording(tmp_path)
    SPECIAL[name](tmp_path / "x.sqlite.xz")
    with pytest.raises(RecordingError, match="cannot be unpacked"):
        load_packed(tmp_path / "x.sqlite.xz")


def test_an_index_has_a_largest_size(tmp_path: Path) -> None:
    with (tmp_path / INDEX).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(RecordingError) as caught:
        read_recording(tmp_path)
    assert "is larger than 512 MiB" in caught.value.evidence


@given(changed_bytes(SMALL.read_bytes()[:4000] + SMALL.read_bytes()[-200:]))
def test_a_changed_archive_is_refused(data: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "x.sqlite.xz"
        path.write_bytes(data)
        with pytest.raises(RecordingError) as caught:
            load_packed(path)
    assert caught.value.remedy
    assert "x.sqlite.xz" in caught.value.what


@given(st.binary(max_size=200), st.integers(0, 60), st.binary(max_size=8))
def test_any_archive_is_unpacked_or_refused(data: bytes, cut: int, more: bytes) -> None:
    packed = lzma.compress(data)
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "packed").write_bytes(packed[: len(packed) - cut] + more)
        try:
            unpack(folder / "packed", folder / "plain")
        except RecordingError:
            assert cut or more.strip(b"\0")
        else:
            assert (folder / "plain").read_bytes() == data


@given(st.lists(st.binary(max_size=100), min_size=1, max_size=4), st.integers(0, 3))
def test_streams_one_after_another_are_one_file(parts: list[bytes], padding: int) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "packed").write_bytes(
            b"".join(lzma.compress(part) + bytes(4 * padding) for part in parts)
        )
        unpack(folder / "packed", folder / "plain")
        assert (folder / "plain").read_bytes() == b"".join(parts)


@given(st.binary(max_size=5000))
def test_what_is_packed_is_unpacked(data: bytes) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "plain").write_bytes(data)
        pack(folder / "plain", folder / "packed.xz")
        unpack(folder / "packed.xz", folder / "again")
        assert (folder / "again").read_bytes() == data
        assert sorted(path.name for path in folder.iterdir()) == ["again", "packed.xz", "plain"]


_UNPACK = """
import resource, sys
from pathlib import Path
from pytest_nsys.errors import RecordingError
from pytest_nsys.support.xz import unpack

resource.setrlimit(resource.RLIMIT_FSIZE, (100 * 2**20, resource.RLIM_INFINITY))
try:
    unpack(Path(sys.argv[1]), Path(sys.argv[2]))
except RecordingError as error:
    print(error.what)
    print(error.evidence)
status = Path("/proc/self/status").read_text()
print(int(status.partition("VmHWM:")[2].split()[0]) // 1024)
"""


def unpack_apart(path: Path, target: Path) -> tuple[str, int]:
    """Unpack in a process of its own; what it says, and the memory that it took, in MiB."""
    command = [sys.executable, "-c", _UNPACK, str(path), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    *said, memory = done.stdout.splitlines()
    return " ".join(said), int(memory)


def bomb(size: int, **options: Any) -> bytes:
    """An archive that unpacks to ``size`` zeros."""
    packer = lzma.LZMACompressor(**options)
    chunk = bytes(2**20)
    parts = [packer.compress(chunk) for _ in range(size >> 20)]
    return b"".join([*parts, packer.flush()])


def test_an_archive_of_very_many_streams_is_refused(tmp_path: Path) -> None:
    (tmp_path / "many.xz").write_bytes(lzma.compress(b"") * 300_000)
    with pytest.raises(RecordingError) as caught:
        unpack(tmp_path / "many.xz", tmp_path / "plain")
    assert caught.value.evidence == "it is of more than 64 streams"


@pytest.mark.parametrize("text", ["[" + "[]," * 2000 + "[]]", '{"a": [' + "{}," * 2000 + "{}]}"])
def test_an_index_of_next_to_nothing_but_objects_is_refused(tmp_path: Path, text: str) -> None:
    """32 MiB of them would take gigabytes."""
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(RecordingError, match="is damaged") as caught:
        read_recording(tmp_path)
    assert "objects and lists with next to nothing in them" in caught.value.evidence


@pytest.mark.parametrize(
    ("outcome", "longrepr", "says"),
    [
        ("skipped", None, "it was skipped, and does not say where and why"),
        ("skipped", "no", "it was skipped, and does not say where and why"),
        ("failed", ["t.py", 3, "no"], "it failed, and says so as one that was skipped does"),
    ],
)
def test_a_report_that_pytest_cannot_show_is_refused(
    outcome: str, longrepr: object, says: str
) -> None:
    (test,) = INDEX_OF_GOOD["tests"]
    report = {**REPORT, "outcome": outcome, "longrepr": longrepr}
    index = json.dumps({**INDEX_OF_GOOD, "tests": [{**test, "reports": [report]}]})
    with recording(index.encode()) as folder, pytest.raises(RecordingError) as caught:
        Replay({"": folder})
    assert says in caught.value.evidence
    assert INDEX in caught.value.what


def test_a_report_has_no_lines_of_its_own() -> None:
    evil = "no\n::error::forged\x1b[31m"
    shown = "no<U+000A>::error::forged<U+001B>[31m"
    skip = read_kept_report({**SKIP, "longrepr": ["t.py", 3, evil]})
    assert skip["longrepr"] == ["t.py", 3, shown]
    failed = read_kept_report({**REPORT, "outcome": "failed", "longrepr": evil})
    assert failed["longrepr"] == shown
    assert read_kept_report({**REPORT, "wasxfail": evil})["wasxfail"] == shown


@pytest.mark.parametrize("longrepr", [{"reprcrash": None}, None, ""])
def test_a_failure_without_a_text_stays_one(longrepr: object) -> None:
    kept = kept_report({**REPORT, "outcome": "failed", "longrepr": longrepr})
    assert read_kept_report(kept)["longrepr"] == "it failed"


def test_a_bomb_fills_neither_memory_nor_disk(tmp_path: Path) -> None:
    (tmp_path / "bomb.sqlite.xz").write_bytes(bomb(100 * 2**20, preset=0))
    said, memory = unpack_apart(tmp_path / "bomb.sqlite.xz", tmp_path / "plain")
    assert "unpacks to more than 16 MiB" in said
    assert (tmp_path / "plain").stat().st_size <= 18 * 2**20
    assert memory < 150


def test_an_archive_that_asks_for_gigabytes_of_memory_is_refused(tmp_path: Path) -> None:
    """The packer chooses how much memory unpacking takes, whatever the size of the file."""
    plain = {"id": lzma.FILTER_LZMA2, "dict_size": 2**20, "mode": lzma.MODE_FAST, "nice_len": 16}
    data = bytearray(lzma.compress(b"x" * 100, filters=[plain]))
    # The dictionary's size is one byte of the block header, whose checksum follows.
    place = data.index(b"\x21\x01", 12) + 2
    data[place] = 40  # 4 GiB - 1
    end = 12 + (data[12] + 1) * 4 - 4
    data[end : end + 4] = zlib.crc32(data[12:end]).to_bytes(4, "little")
    (tmp_path / "greedy.sqlite.xz").write_bytes(data)
    said, memory = unpack_apart(tmp_path / "greedy.sqlite.xz", tmp_path / "plain")
    assert "cannot be unpacked" in said
    assert "Memory usage limit exceeded" in said
    assert memory < 150


def test_a_full_disk_is_an_error_that_says_so(tmp_path: Path) -> None:
    noise = os.urandom(2**20)
    (tmp_path / "large.sqlite.xz").write_bytes(
        b"".join(lzma.compress(noise, preset=0) for _ in range(3))
    )
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**21, limit[1]))
    try:
        with pytest.raises(NsysError, match="cannot be unpacked") as caught:
            unpack(tmp_path / "large.sqlite.xz", tmp_path / "plain")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert "large" in caught.value.evidence
