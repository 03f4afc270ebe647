"""Files: written whole and for whom they are meant, read only where they are files."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytest_nsys.errors import LfsPointer
from pytest_nsys.support.files import copy_private, open_file, read_limited, replace_text
from pytest_nsys.support.xz import pack, unpack


@pytest.fixture(params=[0o022, 0o077, 0o002], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """Umasks that people have."""
    old = os.umask(request.param)
    yield request.param
    os.umask(old)


def mode(path: Path) -> int:
    """The permissions of a file."""
    return path.stat().st_mode & 0o777


def test_a_new_file_has_the_permissions_that_the_user_wants(tmp_path: Path, umask: int) -> None:
    replace_text(tmp_path / "new", "text")
    assert mode(tmp_path / "new") == 0o666 & ~umask
    pack(tmp_path / "new", tmp_path / "new.xz")
    assert mode(tmp_path / "new.xz") == 0o666 & ~umask


def test_a_file_keeps_its_permissions(tmp_path: Path, umask: int) -> None:
    (tmp_path / "old").touch()
    (tmp_path / "old").chmod(0o604)
    replace_text(tmp_path / "old", "text")
    assert mode(tmp_path / "old") == 0o604


def test_a_private_copy_is_private_whatever_was_there(tmp_path: Path, umask: int) -> None:
    (tmp_path / "source").write_text("secret")
    (tmp_path / "target").write_text("old")
    (tmp_path / "target").chmod(0o666)
    with (tmp_path / "target").open() as reader:
        copy_private(tmp_path / "source", tmp_path / "target")
        assert reader.read() == "old"
    assert mode(tmp_path / "target") == 0o600
    assert (tmp_path / "target").read_text() == "secret"


def test_a_private_copy_does_not_go_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("secret")
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "target").symlink_to("precious")
    copy_private(tmp_path / "source", tmp_path / "target")
    assert (tmp_path / "precious").read_text() == "precious"
    assert not (tmp_path / "target").is_symlink()


def test_a_file_has_a_largest_size(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100))
    assert read_limited(tmp_path / "file", 100) == bytes(100)
    with pytest.raises(OSError, match="is larger than"):
        read_limited(tmp_path / "file", 99)


def test_what_is_no_file_is_not_opened_and_no_descriptor_is_left(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match="is not a file"):
            open_file(path)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_file_that_cannot_be_packed_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "old.xz").write_text("old")
    (tmp_path / "plain").mkdir()
    with pytest.raises(IsADirectoryError):
        pack(tmp_path / "plain", tmp_path / "old.xz")
    assert (tmp_path / "old.xz").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["old.xz", "plain"]


def test_padding_alone_between_the_parts_of_a_file_is_passed_over(tmp_path: Path) -> None:
    """Also where it is longer than what is read at once."""
    (tmp_path / "plain").write_bytes(b"text")
    pack(tmp_path / "plain", tmp_path / "packed.xz")
    packed = (tmp_path / "packed.xz").read_bytes()
    (tmp_path / "packed.xz").write_bytes(packed + bytes(2**20 + 4) + packed + bytes(2**21))
    unpack(tmp_path / "packed.xz", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == b"texttext"


def test_no_more_memory_is_asked_for_than_there_is_to_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where memory is short, a limit of many MiB is not to be allocated for a file of few bytes."""
    (tmp_path / "file").write_bytes(b"text")
    asked: list[int] = []

    class Counts(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            asked.append(size or 0)
            return super().read(size)

        def fileno(self) -> int:
            return fd

    fd = os.open(tmp_path / "file", os.O_RDONLY)
    monkeypatch.setattr("pytest_nsys.support.files.open_file", lambda path: Counts(b"text"))
    try:
        assert read_limited(tmp_path / "file", 2**30) == b"text"
    finally:
        os.close(fd)
    assert asked == [5]


POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    "size 12345\n"
)


@pytest.mark.parametrize("name", ["recording.json", "capture.sqlite.xz", "test.json"])
def test_a_pointer_of_git_lfs_is_called_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(POINTER)
    for read in (open_file, lambda path: read_limited(path, 10**6)):
        with pytest.raises(LfsPointer, match=f"{name} is a pointer of Git LFS") as caught:
            read(path)
        assert "git lfs pull" in caught.value.remedy
    with pytest.raises(LfsPointer):
        unpack(path, tmp_path / "unpacked")
    path.write_text("version https://example.org/spec/v1\n")
    assert read_limited(path, 100).startswith(b"version")
