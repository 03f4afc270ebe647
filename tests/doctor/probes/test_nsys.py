"""The doctor's probes of nsys itself, on machines made up for them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_nsys.capture.installation import find_installation
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.doctor.machine import Ran
from pytest_nsys.doctor.probes import nsys
from tests.support.fake_machine import (
    HEALTHY,
    HOST,
    NSYS,
    TARGET,
    FakeMachine,
    made,
    probed,
    statuses,
    without,
)

OLD = NsysTool(Path("/usr/bin/nsys"), (2022, 4, 2))
NO_DWARF = {"libdw.so.1": "libdw.so.1: cannot open shared object file"}


def test_the_nsys_that_is_used_and_the_others_are_named() -> None:
    machine = made(nsys={str(OLD.path): OLD, str(NSYS.path): NSYS}, used=str(OLD.path))
    found, [result] = nsys.find(machine, None)
    assert found.nsys == OLD
    assert (result.status, result.what) == ("ok", "nsys 2022.4.2 is used")
    assert result.evidence == f"/usr/bin/nsys\nthere is also nsys 2025.3.1: {NSYS.path}"
    assert "--nsys-executable" in result.remedy
    found, [result] = nsys.find(machine, str(NSYS.path))
    assert found.nsys == NSYS
    assert result.remedy == ""


def test_the_same_nsys_by_another_path_is_no_other_one() -> None:
    link = "/usr/local/bin/nsys"
    machine = made(
        nsys={link: NsysTool(Path(link), NSYS.version), str(NSYS.path): NSYS},
        used=link,
        links={link: str(NSYS.path)},
    )
    assert nsys.find(machine, None)[1][0].evidence == link


def test_without_nsys_the_one_that_lies_elsewhere_is_named() -> None:
    [result] = nsys.find(made(nsys={}), None)[1]
    assert (result.status, result.evidence, result.remedy) == ("problem", "looked", "install it")
    found, [result, other] = nsys.find(made(used=None), None)
    assert found.nsys is None
    assert statuses([result, other]) == ["problem", "problem"]
    assert other.remedy == f"use it: --nsys-executable={NSYS.path}"


def test_an_nsys_that_does_not_answer_is_no_other_one() -> None:
    class Mute(FakeMachine):
        def programs(self, patterns: object) -> list[str]:
            return ["/usr/bin/broken"]

    assert nsys.others(probed(Mute())) == []


def test_only_so_many_others_are_asked() -> None:
    many = {f"/n/{number}/nsys": NSYS for number in range(30)}
    assert len(nsys.others(probed(made(nsys=many, used=None)))) == 8


def test_a_whole_nsys_is_fine() -> None:
    found = probed(HEALTHY)
    assert statuses(nsys.importer(found) + nsys.libraries(found)) == ["ok", "ok"]
    programs = [f"{TARGET}/nsys", f"{HOST}/QdstrmImporter"]
    assert HEALTHY.ran[-2:] == [["env", "ldd", program] for program in programs]


def test_without_nsys_there_are_no_parts_to_look_at() -> None:
    found = probed(made(used=None))
    assert nsys.importer(found) + nsys.libraries(found) == []


def test_a_missing_importer_is_a_problem() -> None:
    machine = without(HEALTHY, f"{HOST}/QdstrmImporter")
    [result] = nsys.importer(probed(machine))
    assert result.status == "problem"
    assert ".qdstrm" in result.what
    assert result.evidence == f"there is no {HOST}/QdstrmImporter"
    assert "nsight-systems-target" in result.remedy
    assert statuses(nsys.libraries(probed(machine))) == ["ok"]


def test_the_importer_that_debian_puts_elsewhere_is_to_be_linked() -> None:
    target = "/usr/lib/x86_64-linux-gnu/nsight-systems/target-linux-x64"
    debian = NsysTool(Path("/usr/bin/nsys"), (2022, 4, 2))
    machine = FakeMachine(
        nsys={"/usr/bin/nsys": debian},
        used="/usr/bin/nsys",
        links={"/usr/bin/nsys": f"{target}/nsys"},
        files={
            f"{target}/nsys": None,
            "/usr/lib/nsight-systems/host-linux-x64/QdstrmImporter": None,
        },
    )
    [result] = nsys.importer(probed(machine))
    assert result.status == "problem"
    assert result.remedy.endswith(
        "ln -sfn /usr/lib/nsight-systems/host-linux-x64 "
        "/usr/lib/x86_64-linux-gnu/nsight-systems/host-linux-x64"
    )


def test_a_missing_libdw_is_a_problem_for_an_nsys_that_uses_it() -> None:
    mentions = {f"{HOST} libdw.so.1": ["libLinuxPerf.so"]}
    [result] = nsys.libraries(probed(made(missing=NO_DWARF, mentions=mentions)))
    assert result.status == "problem"
    assert result.what.startswith("nsys cannot load libdw.so.1: its importer will fail")
    assert "libLinuxPerf.so uses libdw.so.1" in result.evidence
    assert "libdw1" in result.remedy
    assert "setup-nsys-from-ncu" in result.remedy


@pytest.mark.parametrize(("version", "status"), [((2023, 4, 4), "ok"), ((2024, 1, 0), "problem")])
def test_libdw_is_needed_since_2024_even_where_no_library_names_it(
    version: tuple[int, int, int], status: str
) -> None:
    for machine in (
        made(missing=NO_DWARF),
        without(made(missing=NO_DWARF), f"{HOST}/QdstrmImporter"),
    ):
        assert statuses(nsys.libraries(probed(machine, version))) == [status]


def test_what_the_linker_does_not_find_is_named() -> None:
    printed = {
        f"{HOST}/QdstrmImporter": Ran(
            0,
            "\tlinux-vdso.so.1 (0x00007ffc)\n\tlibssh.so => not found\n"
            "\tlibc.so.6 => /lib/libc.so.6 (0x00007f)\n",
        ),
        f"{TARGET}/nsys": Ran(1, "libfoo.so => not found"),  # ldd itself failed
    }
    [result] = nsys.libraries(probed(made(printed=printed)))
    assert (result.status, result.what) == ("problem", "nsys cannot load libssh.so")
    assert result.evidence == "QdstrmImporter needs libssh.so"
    assert result.remedy == "install the packages that hold them"


def test_libdw_that_the_linker_does_not_find_is_said_once() -> None:
    printed = {f"{HOST}/QdstrmImporter": Ran(0, "\tlibdw.so.1 => not found\n")}
    [result] = nsys.libraries(probed(made(printed=printed, missing=NO_DWARF)))
    assert result.what.startswith("nsys cannot load libdw.so.1: its importer")
    assert result.evidence == "QdstrmImporter needs libdw.so.1"


SCRIPT = """#!/bin/sh
# written by a script
export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}"'/home/me/libs'
exec '%s' "$@"
"""


def test_a_wrapper_script_is_seen_through() -> None:
    wrapper = "/home/me/bin/nsys"
    script = SCRIPT % f"{TARGET}/nsys"
    machine = made(
        nsys={wrapper: NsysTool(Path(wrapper), NSYS.version)},
        used=wrapper,
        files={wrapper: script, "/home/me/libs/libdw.so.1": None},
        missing=NO_DWARF,
    )
    parts = find_installation(machine.find_nsys(None), machine)
    assert parts is not None
    assert parts.program == f"{TARGET}/nsys"
    assert parts.importer == f"{HOST}/QdstrmImporter"
    assert parts.searched == ("/home/me/libs",)
    assert statuses(nsys.libraries(probed(machine))) == ["ok"]
    assert machine.ran[-1][:2] == ["env", "LD_LIBRARY_PATH=/home/me/libs"]
    gone = without(machine, "/home/me/libs/libdw.so.1")
    assert statuses(nsys.libraries(probed(gone))) == ["problem"]


@pytest.mark.parametrize("script", ["#!/bin/sh\nexec /nowhere/nsys\n", "#!/usr/bin/python3\n"])
def test_a_script_that_names_no_nsys_is_left_alone(script: str) -> None:
    machine = made(
        nsys={"/x/nsys": NsysTool(Path("/x/nsys"), NSYS.version)},
        used="/x/nsys",
        files={"/x/nsys": script},
    )
    found = probed(machine)
    assert statuses(nsys.importer(found) + nsys.libraries(found)) == ["skipped", "skipped"]


def test_parts_beside_a_bin_folder_are_found() -> None:
    path = "/opt/nvidia/nsight-systems/2025.3.1/bin/nsys"
    machine = made(nsys={path: NsysTool(Path(path), NSYS.version)}, used=path)
    parts = find_installation(machine.find_nsys(None), machine)
    assert parts is not None
    assert (parts.program, parts.importer) == (f"{TARGET}/nsys", f"{HOST}/QdstrmImporter")
    lone = without(machine, f"{TARGET}/nsys")
    assert find_installation(machine.find_nsys(None), lone) is None
