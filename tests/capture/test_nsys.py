"""Finding nsys, and the command lines it is given."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from pytest_nsys.capture.nsys import (
    DEFAULT_FLAGS,
    NsysTool,
    check_nvtx,
    export_command,
    find_nsys,
    override,
    profile_command,
    trace_options,
)
from pytest_nsys.errors import NsysNotFound, NvtxRefused
from pytest_nsys.process.environment import minimal_environment
from tests.support.capture_bench import real
from tests.support.harness import write_program

NEW = NsysTool(Path("/opt/nsys"), (2023, 4, 0))
OLD = NsysTool(Path("/opt/nsys"), (2023, 3, 9))


def program(path: Path, says: str = "NVIDIA Nsight Systems version 2025.3.1.90-2v0") -> Path:
    """An executable that prints a line, whatever it is asked."""
    return write_program(path, f"#!/bin/sh\necho '{says}'\n")


@pytest.fixture
def no_nsys_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH with the system's programs and without nsys."""
    (tmp_path / "system").mkdir()
    (tmp_path / "system" / "sh").symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(tmp_path / "system"))


@pytest.mark.parametrize(
    ("nsys", "nvtx", "good"),
    [
        ((2023, 4, 4), "0.2.11", True),
        ((2023, 4, 4), "0.2.12", False),
        ((2022, 4, 2), "0.3", False),
        ((2024, 1, 1), "0.2.13", True),
        ((2025, 3, 1), "0.2.12rc1", True),
        ((2023, 4, 4), "unknown", True),
    ],
)
def test_an_nsys_that_loses_all_ranges_of_this_nvtx_is_refused(
    nsys: tuple[int, int, int], nvtx: str, good: bool, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "nvtx").mkdir()
    (tmp_path / "nvtx/__init__.py").touch()
    (tmp_path / "nvtx-1.dist-info").mkdir()
    (tmp_path / "nvtx-1.dist-info/METADATA").write_text(f"Name: nvtx\nVersion: {nvtx}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "nvtx", raising=False)
    tool = NsysTool(Path("/opt/nsys"), nsys)
    if good:
        check_nvtx(tool)
    else:
        with pytest.raises(
            NvtxRefused, match=f"records no range of nvtx {nvtx}: nothing"
        ) as caught:
            check_nvtx(tool)
        assert "pip install 'nvtx<0.2.12'" in caught.value.remedy
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/nvtx.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "mine")
    check_nvtx(tool)  # whose module that is, nobody knows


@pytest.mark.parametrize(("name", "version"), [("2022", (2022, 4, 2)), ("2023", (2023, 4, 4))])
def test_the_real_ones_say_their_versions(name: str, version: tuple[int, int, int]) -> None:
    found = real(name)
    assert found.version == version
    assert found.version_text == ".".join(map(str, version))
    assert found.can_select_tables is (name == "2023")


def test_the_one_asked_for_wins_over_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin" / "nsys")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    asked = program(tmp_path / "other" / "my-nsys", "version 2024.1.2.3")
    assert find_nsys(str(asked)) == NsysTool(asked, (2024, 1, 2))


def test_the_one_asked_for_may_be_a_name_on_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program(tmp_path / "bin" / "nsys-next")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert find_nsys("nsys-next").path == path


def test_a_relative_path_is_still_right_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = program(tmp_path / "bin" / "nsys")
    monkeypatch.chdir(tmp_path)
    assert find_nsys("bin/nsys").path == path
    monkeypatch.setenv("PATH", "bin", prepend=os.pathsep)
    assert find_nsys().path == path


def test_one_that_is_asked_for_and_missing_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "bin" / "nsys")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    with pytest.raises(NsysNotFound, match="there is no program '/no/such/nsys'") as caught:
        find_nsys("/no/such/nsys")
    assert "--nsys-executable" in caught.value.remedy


def test_the_path_wins_over_installed_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = program(tmp_path / "bin" / "nsys", "version 2022.1.1.1")
    program(tmp_path / "opt" / "2025.3" / "nsys")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    assert find_nsys(patterns=[f"{tmp_path}/opt/*/nsys"]).path == on_path


@pytest.mark.usefixtures("no_nsys_on_path")
def test_the_newest_installed_one_is_taken(tmp_path: Path) -> None:
    for version in ("2024.10.1", "2025.2.0", "2024.9.1"):
        program(tmp_path / "opt" / version / "nsys", f"version {version}.7")
    not_executable = program(tmp_path / "opt" / "2026.1.1" / "nsys")
    not_executable.chmod(0o644)
    program(tmp_path / "compute" / "2027.1.1" / "nsys")
    patterns = [f"{tmp_path}/none/*/nsys", f"{tmp_path}/opt/*/nsys", f"{tmp_path}/compute/*/nsys"]
    assert find_nsys(patterns=patterns).version == (2025, 2, 0)


@pytest.mark.usefixtures("no_nsys_on_path")
def test_ten_is_newer_than_nine(tmp_path: Path) -> None:
    for version in ("2024.9.1", "2024.10.1"):
        program(tmp_path / "opt" / version / "nsys", f"version {version}.7")
    assert find_nsys(patterns=[f"{tmp_path}/opt/*/nsys"]).version == (2024, 10, 1)


@pytest.mark.usefixtures("no_nsys_on_path")
def test_none_at_all_says_where_it_looked_and_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NsysNotFound, match="was not found") as caught:
        find_nsys(patterns=[f"{tmp_path}/opt/*/nsys"])
    assert f"{tmp_path}/opt/*/nsys" in caught.value.evidence
    assert "--nsys-executable" in caught.value.remedy


@pytest.mark.parametrize(
    ("script", "evidence"),
    [
        ("#!/bin/sh\necho 'libsomething.so: cannot open' >&2; exit 127\n", "libsomething.so"),
        ("#!/bin/sh\nprintf '\\377\\376'\n", "\ufffd\ufffd"),
        ("#!/no/such/interpreter\n", "No such file"),
        ("", "Exec format error"),
    ],
    ids=["fails", "binary output", "no interpreter", "no program"],
)
def test_one_that_does_not_say_its_version_is_an_error(
    tmp_path: Path, script: str, evidence: str
) -> None:
    path = write_program(tmp_path / "nsys", script)
    with pytest.raises(NsysNotFound, match="does not answer 'nsys --version'") as caught:
        find_nsys(str(path))
    assert evidence in caught.value.evidence
    assert "--nsys-executable" in caught.value.remedy


def test_one_that_hangs_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_program(tmp_path / "nsys", "#!/bin/sh\nexec sleep 60\n")
    monkeypatch.setattr("pytest_nsys.capture.nsys._VERSION_DEADLINE_S", 0.2)
    with pytest.raises(NsysNotFound, match="does not answer") as caught:
        find_nsys(str(path))
    assert "timed out" in caught.value.evidence


def test_nsys_is_started_with_next_to_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    full = {"PATH": "/bin", "HOME": "/root", "TOKEN": "secret", "LD_PRELOAD": "x.so"}
    assert minimal_environment(full) == {"PATH": "/bin", "HOME": "/root"}
    monkeypatch.setenv("API_KEY", "secret")
    assert "API_KEY" not in minimal_environment()
    assert minimal_environment()["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    ("given", "replaced"),
    [
        ((), ""),
        (("--trace=cuda",), "--trace=cuda,nvtx"),
        (("--trace", "cuda"), "--trace=cuda,nvtx"),
        (("-t", "cuda"), "--trace=cuda,nvtx"),
        (("-tcuda",), "--trace=cuda,nvtx"),
        (("-t=cuda",), "--trace=cuda,nvtx"),
        (("-s", "cpu"), "--sample=none"),
        (("--cuda-graph-trace=graph",), "--cuda-graph-trace=node"),
        (("--gpu-metrics-devices=all",), ""),
        (("--trace-fork-before-exec=true",), ""),
    ],
)
def test_an_option_of_the_user_replaces_our_own(given: tuple[str, ...], replaced: str) -> None:
    kept = [flag for flag in DEFAULT_FLAGS if flag != replaced]
    assert trace_options(given) == (*kept, *given)


def test_a_later_option_takes_the_place_of_the_same_one_with_its_value() -> None:
    earlier = ("-t", "cuda,nvtx", "--gpu-metrics-devices=all", "-bnone", "-s", "cpu")
    assert override(earlier, ("--trace=cuda", "--sample=none")) == (
        "--gpu-metrics-devices=all",
        "-bnone",
        "--trace=cuda",
        "--sample=none",
    )
    assert override(earlier, ()) == earlier
    assert override((), earlier) == earlier


def test_the_program_comes_last_and_what_we_rely_on_after_the_user() -> None:
    command = profile_command(NEW, Path("/run/report"), ["python", "-c", "x"], ["--wait=all"])
    assert command[:2] == ["/opt/nsys", "profile"]
    assert command[-5:] == ["-o", "/run/report", "python", "-c", "x"]
    assert command.index("--wait=all") < command.index("--wait=primary")
    assert "--force-overwrite=true" in command
    assert set(DEFAULT_FLAGS) < set(command)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ((), "--nvtx-domain-exclude=TSL"),
        (("--nvtx-domain-exclude=CCCL",), "--nvtx-domain-exclude=CCCL,TSL"),
        (("--nvtx-domain-exclude=TSL,CCCL",), "--nvtx-domain-exclude=TSL,CCCL"),
        (("--nvtx-domain-include=default",), "--nvtx-domain-include=default,pytest-nsys"),
    ],
)
def test_our_windows_are_recorded_whatever_domains_are_chosen(
    given: tuple[str, ...], option: str
) -> None:
    command = profile_command(NEW, Path("/run/report"), ["true"], given)
    assert [part for part in command if part.startswith("--nvtx-domain")] == [option]
    # Which domains are recorded changes nothing that is measured: it is no part of a baseline.
    assert not any("nvtx-domain" in part for part in trace_options(()))


def test_export_selects_tables_where_nsys_can() -> None:
    arguments = (Path("/a.nsys-rep"), Path("/b"), "sqlite", ["ONE", "TWO"])
    plain = ["--type", "sqlite", "--force-overwrite", "true", "-o", "/b", "/a.nsys-rep"]
    assert export_command(OLD, *arguments) == ["/opt/nsys", "export", *plain]
    chosen = [*plain[:4], "--tables", "ONE,TWO", *plain[4:]]
    assert export_command(NEW, *arguments) == ["/opt/nsys", "export", *chosen]
