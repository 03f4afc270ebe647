"""``pytest-nsys capture --launcher``: nsys in a pod, in a container, on another machine."""

from __future__ import annotations

import os
import signal
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytest_nsys.storage.recordings.recording import read_recording
from pytest_nsys.storage.recordings.stored import load_stored
from tests.simgpu.standin import write_standin
from tests.support.capture_bench import nothing_left, processes_naming, real
from tests.support.capture_command import KERNELS, MARKS, Answer, Session, assert_refused
from tests.support.harness import SIMGPU, assemble_nsys, until, write_program

FARTHER = """
    #!{python}
    # A {name} that leads to the folder {root}: its programs, its temporary files.
    import os, shutil, subprocess, sys

    words = sys.argv[1:]
    open("{log}", "a").write(" ".join(["{name}", *words]) + "\\n")
    place = {{
        "PATH": "{root}/bin:/usr/bin:/bin",
        "TMPDIR": "{root}/{temporary}",
        "HOME": "{root}",
        "PYTHONPATH": "{simulated}" if os.path.exists("{root}/simulated") else "",
    }}
    os.chdir("{root}")

    def run(command):
        try:  # in a session of its own: what happens to this program does not happen there
            code = subprocess.run(command, env=place, start_new_session=True).returncode
        except FileNotFoundError:
            sys.exit(f"{{command[0]}}: not found there")
        sys.exit(code if code >= 0 else 128 - code)

    def copy(source, target):
        place, _, path = source.partition(":")
        if place != "llama":
            sys.exit(f"no such place: {{place}}")
        data = open(path, "rb").read()
        open(target, "wb").write(data[:-{short}] if {short} else data)
        sys.exit(0)
"""

KUBECTL = """
    if words[0] == "exec" and words[1] == "llama" and words[2] == "--":
        run(words[3:])
    sys.exit(f"error: pods \\"{words[1]}\\" not found")
"""
DOCKER = """
    if words[:2] == ["exec", "llama"]:
        run(words[2:])
    elif words[0] == "cp":
        copy(*words[1:])
    sys.exit(f"Error: No such container: {words[1]}")
"""
SSH = """
    if words[0] == "llama":
        run(["sh", "-c", " ".join(words[1:])])
    sys.exit(255)
"""
LEADS = {
    "kubectl": "kubectl exec llama --",
    "docker": "docker exec llama",
    "ssh": "ssh llama",
    "env": "env -C {root} PATH={root}/bin:/usr/bin:/bin 'TMPDIR={root}/a tmp'",
}


@dataclass
class Farther:
    """Another place: a folder that the launchers lead to.

    Attributes:
        root: of the place.
        bin: of the launchers.
        log: what the launchers were asked.
    """

    root: Path
    bin: Path
    log: Path

    def launchers(self, *, short: int = 0, temporary: str = "tmp") -> None:
        """Write the launchers' programs, of which copying leaves out the last bytes; they lead to
        where this is the folder for what is temporary."""
        for name, text in (("kubectl", KUBECTL), ("docker", DOCKER), ("ssh", SSH)):
            begin = FARTHER.format(
                python=sys.executable,
                name=name,
                root=self.root,
                log=self.log,
                simulated=SIMGPU / "path",
                short=short,
                temporary=temporary,
            )
            write_program(self.bin / name, begin + text)

    def nsys(self, *faults: str, **options: str) -> None:
        """Put a stand-in there, and the simulated GPU."""
        self.simulated()
        write_standin(self.root / "bin", faults=faults, **options)

    def simulated(self) -> None:
        """Put the simulated GPU there."""
        (self.root / "simulated").touch()

    def asked(self) -> list[str]:
        """What the launchers were asked, one line each."""
        return self.log.read_text().splitlines()

    def is_clean(self) -> bool:
        """Whether there are no temporary files of ours, or of nsys, there."""
        return [*self.root.glob("*tmp/pytest-nsys*"), *self.root.glob("*tmp/nsys-report*")] == []


@pytest.fixture
def farther(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clean_environment: None) -> Farther:
    """Another place without an nsys, and launchers on the PATH that lead there; no nsys here."""
    place = Farther(tmp_path / "farther", tmp_path / "launchers", tmp_path / "asked")
    for folder in (place.root, place.root / "bin", place.root / "tmp", place.bin):
        folder.mkdir()
    place.log.touch()
    place.launchers()
    # What NVIDIA's installers leave may be on the machine that runs this.
    monkeypatch.setattr("pytest_nsys.capture.command.place.INSTALL_PATTERNS", _patterns(place.root))
    monkeypatch.setattr("pytest_nsys.capture.nsys.find_nsys.__defaults__", (None, ()))
    monkeypatch.setenv("PATH", f"{place.bin}:/usr/bin:/bin")
    return place


def _patterns(root: Path) -> tuple[str, ...]:
    return (f"{root}/opt/nsight-systems/*/bin/nsys", f"{root}/cuda/bin/nsys")


@pytest.mark.parametrize("way", sorted(LEADS))
def test_a_command_under_a_real_nsys_there(
    capture_command: Callable[..., Answer], farther: Farther, alone: None, way: str
) -> None:
    nsys = real("2023")
    (farther.root / "a tmp").mkdir()
    write_program(farther.root / "bin" / "nsys", f'#!/bin/sh\nexec {nsys.path} "$@"\n')
    text = f"{MARKS}\nimport os, sys; print(os.getcwd(), sys.argv[1:]); sys.exit(3)"
    prefix = LEADS[way].format(root=farther.root)
    with nothing_left(farther.root):
        code, out, err = capture_command(
            *("-o", "one", "--launcher", prefix, "--"),
            *(sys.executable, "-c", text, "a b", "$HOME", "'"),
        )
    assert code == 3, err
    assert f"{farther.root} ['a b', '$HOME', \"'\"]\n" in out
    assert read_recording(Path("one")).nsys == "2023.4.4"
    assert load_stored(Path("one")).ranges["text"].tolist() == ["mine"]
    assert farther.is_clean()
    if way != "env":  # there is no nsys here, so it was exported there
        printed = farther.asked()[-2]
        assert printed.startswith(f"{prefix} cat ")
        assert printed.endswith("/export.sqlite")


FAILS = 'case "$1" in --version) exec "$REAL" "$@";; esac; exit 3'


def steadily(run: Callable[[], Answer]) -> Answer:
    """What a command answers whose nsys did not lose its own agent, as 2023 now and then does."""
    answer = run()
    for _ in range(2):
        if "Connection to Agent lost" not in answer[2]:
            break
        answer = run()
    return answer


FAILS_ONCE = 'mkdir {folder}/failed 2>/dev/null && kill -9 $$; exec "$REAL" "$@"'


@pytest.mark.parametrize("way", ["kubectl", "env"])
def test_raw_events_become_a_report_there(
    capture_command: Callable[..., Answer], farther: Farther, alone: None, way: str
) -> None:
    (farther.root / "a tmp").mkdir()
    program = assemble_nsys("2023", farther.root / "nsys", FAILS_ONCE.format(folder=farther.root))
    # As NVIDIA's packages do.
    write_program(farther.root / "bin" / "nsys", f'#!/bin/sh\nexec {program} "$@"\n')
    prefix = LEADS[way].format(root=farther.root)
    given = ("-o", "one", "--launcher", prefix, "--", sys.executable, "-c", MARKS)
    with nothing_left(farther.root):
        code, _, err = steadily(lambda: capture_command(*given))
    assert code == 0, err
    assert (farther.root / "failed").is_dir()
    assert load_stored(Path("one")).ranges["text"].tolist() == ["mine"]
    assert farther.is_clean()


@pytest.mark.parametrize(
    ("importer", "says"), [(FAILS, "a second import failed too: exit code 3"), (None, "qdstrm")]
)
def test_raw_events_that_cannot_be_imported_there_are_told_of(
    capture_command: Callable[..., Answer],
    farther: Farther,
    alone: None,
    importer: str | None,
    says: str,
) -> None:
    program = assemble_nsys("2023", farther.root / "nsys", importer)
    given = ("--launcher", "docker exec llama", "--nsys-executable", program, "--")
    answer = steadily(lambda: capture_command(*given, sys.executable, "-c", MARKS))
    assert_refused(answer, says)
    assert farther.is_clean()


def test_a_report_beside_its_raw_events_is_no_report(
    capture_command: Callable[..., Answer], farther: Farther
) -> None:
    farther.nsys()
    path = farther.root / "bin" / "nsys"
    path.rename(path.with_name("whole"))
    leaves = 'find "$TMPDIR" -name "*.nsys-rep" -execdir touch report.qdstrm ";"'
    whole = path.with_name("whole")
    write_program(path, f'#!/bin/sh\n{whole} "$@"\ncode=$?\n{leaves}\nexit $code\n')
    given = ("--launcher", "docker exec llama", "--")
    assert_refused(capture_command(*given, sys.executable, "-c", KERNELS), "report.qdstrm")
    assert farther.is_clean()


def test_a_report_is_exported_here_by_an_nsys_that_is_as_new(
    capture_command: Callable[..., Answer],
    farther: Farther,
    alone: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nsys = real("2023")
    monkeypatch.setenv("PATH", str(nsys.path.parent), prepend=os.pathsep)
    code, _, err = capture_command(
        *("--launcher", "kubectl exec llama --", "--nsys-executable", nsys.path, "--"),
        *(sys.executable, "-c", MARKS),
    )
    assert code == 0, err
    assert load_stored(Path("capture")).ranges["text"].tolist() == ["mine"]
    assert any(" cat " in line and "report.nsys-rep" in line for line in farther.asked())
    assert not any(" export " in line for line in farther.asked())


def test_a_report_of_a_newer_nsys_is_exported_there(
    capture_command: Callable[..., Answer],
    farther: Farther,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    farther.nsys(version="2025.3.1")
    (tmp_path / "old").mkdir()
    write_standin(tmp_path / "old", version="2024.5.1")
    monkeypatch.setenv("PATH", str(tmp_path / "old"), prepend=os.pathsep)
    code, _, err = capture_command(
        "--launcher", "docker exec llama", "--", sys.executable, "-c", KERNELS
    )
    assert (code, err) == (0, "")
    assert len(load_stored(Path("capture")).kernels) == 4
    assert any(" export " in line for line in farther.asked())


def test_the_duration_ends_the_command_there(
    capture_command: Callable[..., Answer], farther: Farther, alone: None
) -> None:
    nsys = real("2023").path
    with nothing_left(farther.root):
        code, _, err = capture_command(
            *("--launcher", "docker exec llama", "--nsys-executable", nsys, "--duration", 1),
            *("--warmup", 1, "--", "sleep", "600"),
        )
    assert code == 0, err
    assert farther.is_clean()


def test_an_interrupt_ends_the_command_there_and_keeps_the_capture(
    here: Path,
    temporary: Path,
    farther: Farther,
    alone: None,
) -> None:
    text = (
        "import nvtx, time\nwith nvtx.annotate('mine'): print('begun', flush=True)\ntime.sleep(600)"
    )
    nsys = real("2023").path
    with nothing_left(farther.root):
        session = Session(
            *("--launcher", "ssh llama", "--nsys-executable", nsys, "--"),
            *(sys.executable, "-c", text),
        )
        session.until_it_says("begun")
        session.interrupt()
        code, out, err = session.end()
    assert "ending the collection" in err
    assert "capture: " in out, err
    assert code == 0
    assert load_stored(Path("capture")).ranges["text"].tolist() == ["mine"]
    assert farther.is_clean()


def test_a_second_interrupt_gives_up_and_cleans_up_there(
    here: Path,
    temporary: Path,
    farther: Farther,
) -> None:
    farther.nsys("slow_import")
    text = "import time\nprint('begun', flush=True)\ntime.sleep(600)"
    session = Session("--launcher", "docker exec llama", "--", sys.executable, "-c", text)
    assert session.process.stdout is not None
    assert session.process.stdout.readline() == "Collecting data...\n"
    session.until_it_says("begun")
    session.interrupt()
    assert session.process.stderr is not None
    assert "Ctrl-C again" in session.process.stderr.readline()
    session.interrupt()
    code, _, err = session.end()
    assert (code, err) == (130, "pytest-nsys: interrupted\n")
    assert not Path("capture").exists()
    assert farther.is_clean()
    # A real nsys would have been told to end by "nsys shutdown", which the stand-in does not know.
    for process in processes_naming(str(farther.root)):
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_sudden_end_leaves_nothing_there(
    here: Path, temporary: Path, farther: Farther, number: signal.Signals
) -> None:
    """Whatever ends it: who cannot tidy up himself has a guard that does."""
    (farther.root / "a tmp").mkdir()
    farther.launchers(temporary="a tmp")
    farther.nsys("slow_import")
    text = "import os, time\nprint(os.environ['TMPDIR'], flush=True)\ntime.sleep(600)"
    session = Session("--launcher", "docker exec llama", "--", sys.executable, "-c", text)
    assert session.process.stdout is not None
    assert session.process.stdout.readline() == "Collecting data...\n"
    # The command's own temporary folder is the usual one; nsys has one of its own there.
    session.until_it_says(f"{farther.root}/a tmp")
    (folder,) = (farther.root / "a tmp").iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    session.process.send_signal(number)
    code, _, err = session.end()
    assert code == (143 if number == signal.SIGTERM else -9), err
    until(lambda: not folder.exists())
    until(lambda: list(temporary.iterdir()) == [])
    asked = [line for line in farther.asked() if folder.name in line][-2:]
    assert ["shutdown --kill=sigterm" in asked[0], "rm -rf" in asked[1]] == [True, True]
    assert f"env TMPDIR={folder} nsys" in asked[0]
    for process in processes_naming(str(farther.root)):  # the stand-in does not know "shutdown"
        process.kill()


def test_an_nsys_that_is_not_on_the_path_there(
    capture_command: Callable[..., Answer], farther: Farther
) -> None:
    farther.simulated()
    for version in ("2024.5.1", "2025.10.1", "2025.3.1"):
        folder = farther.root / "opt" / "nsight-systems" / version / "bin"
        folder.mkdir(parents=True)
        write_standin(folder, version=version)
    (farther.root / "opt" / "nsight-systems" / "2026.1.1" / "bin").mkdir(parents=True)
    broken = farther.root / "opt" / "nsight-systems" / "2026.1.1" / "bin" / "nsys"
    write_program(broken, "#!/bin/sh\nexit 1\n")
    given = ("--launcher", "kubectl exec llama --", "--")
    code, _, err = capture_command(*given, sys.executable, "-c", KERNELS)
    assert (code, err) == (0, "")
    assert read_recording(Path("capture")).nsys == "2025.10.1"


@pytest.mark.parametrize("given", [(), ("--nsys-executable", "/opt/no/nsys")])
def test_no_nsys_there(
    capture_command: Callable[..., Answer], farther: Farther, given: tuple[str, ...]
) -> None:
    code, _, err = capture_command("--launcher", "ssh llama", *given, "--", "true")
    assert code == 2
    name = given[-1] if given else "nsys"
    assert f"there is no {name} where --launcher leads" in err
    assert "not found" in err
    assert "install Nsight Systems there" in err
    assert farther.is_clean()


@pytest.mark.parametrize(
    ("prefix", "says"),
    [
        ("kubectl exec other --", 'pods "other" not found'),
        ("docker exec other", "No such container: other"),
        ("ssh other", "exit code 255"),
        ("false", "exit code 1"),
        ("echo", "exit code 0"),
    ],
)
def test_a_launcher_that_leads_nowhere(
    capture_command: Callable[..., Answer], farther: Farther, prefix: str, says: str
) -> None:
    code, _, err = capture_command("--launcher", prefix, "--", "true")
    assert code == 2
    assert "the launcher does not run programs, or makes no folder where it leads" in err
    assert says in err
    assert not Path("capture").exists()


def test_a_launcher_that_is_no_program(
    capture_command: Callable[..., Answer], farther: Farther
) -> None:
    code, _, err = capture_command("--launcher", "no-such-launcher exec", "--", "true")
    assert code == 2
    assert "no-such-launcher cannot be started" in err


def test_a_launcher_that_waits_for_a_password(
    capture_command: Callable[..., Answer], farther: Farther, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_program(farther.bin / "ssh", "#!/bin/sh\necho 'password:'\nexec sleep 600\n")
    monkeypatch.setattr("pytest_nsys.capture.command.place.Elsewhere.ask.__defaults__", (0.5,))
    code, _, err = capture_command("--launcher", "ssh llama", "--", "true")
    assert code == 2
    assert "mktemp did not end within 0.5 s where --launcher leads" in err
    assert "password:" in err
    assert "what asks for a password" in err


@pytest.mark.parametrize("own", [None, "docker cp llama:{remote} {local}"])
def test_a_copy_that_was_cut_off_is_not_used(
    capture_command: Callable[..., Answer], farther: Farther, own: str | None
) -> None:
    farther.nsys()
    farther.launchers(short=3)
    write_program(farther.root / "bin" / "cat", '#!/bin/sh\nexec head -c -3 "$1"\n')
    fetch = () if own is None else ("--fetch", own)
    given = ("-o", "two", "--launcher", "docker exec llama", *fetch, "--")
    code, _, err = capture_command(*given, sys.executable, "-c", KERNELS)
    assert code == 2
    assert "export.sqlite cannot be fetched from where --launcher leads" in err
    assert "bytes arrived" in err
    assert farther.is_clean()
    assert not Path("two").exists()


@pytest.mark.parametrize(
    ("own", "says"),
    [
        ("false {remote} {local}", "exit code 1"),
        ("no-such-copy {remote} {local}", "No such file or directory"),
        ("true {remote} {local}", "0 of "),
    ],
)
def test_the_users_own_way_to_fetch_that_fails(
    capture_command: Callable[..., Answer], farther: Farther, own: str, says: str
) -> None:
    farther.nsys()
    given = ("--launcher", "docker exec llama", "--fetch", own, "--")
    code, _, err = capture_command(*given, sys.executable, "-c", KERNELS)
    assert code == 2
    assert "cannot be fetched" in err
    assert says in err
    assert not any(" cat " in line for line in farther.asked())
    assert farther.is_clean()


def test_the_users_own_way_to_fetch(
    capture_command: Callable[..., Answer], farther: Farther
) -> None:
    farther.nsys()
    given = ("--launcher", "docker exec llama", "--fetch", "cp {remote} {local}", "--")
    assert capture_command(*given, sys.executable, "-c", KERNELS)[0] == 0
    assert not any(" cat " in line for line in farther.asked())


def test_what_cannot_be_printed(capture_command: Callable[..., Answer], farther: Farther) -> None:
    farther.nsys()
    write_program(farther.root / "bin" / "cat", "#!/bin/sh\necho 'forbidden' >&2\nexit 5\n")
    given = ("--launcher", "docker exec llama", "--")
    code, _, err = capture_command(*given, sys.executable, "-c", KERNELS)
    assert code == 2
    assert "forbidden" in err
    assert "exit code 5" in err


def test_printing_that_does_not_end(
    capture_command: Callable[..., Answer], farther: Farther
) -> None:
    farther.nsys()
    write_program(farther.root / "bin" / "cat", "#!/bin/sh\nexec sleep 600\n")
    given = ("--launcher", "docker exec llama", "--tool-timeout", 4, "--")
    code, _, err = capture_command(*given, sys.executable, "-c", KERNELS)
    assert code == 2
    assert "not done in 4 s" in err


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("usage_error", "nsys refused its arguments"),
        ("child_not_started", "there is no program"),
        ("no_report", "nsys ended and left no report where --launcher leads"),
        ("qdstrm_only", "files: report.qdstrm"),
        ("export_fails", "nsys export ended with exit code 1 where --launcher leads"),
        ("export_nothing", "cannot be fetched"),
        ("lost_events", "the capture has less CUDA events than nsys collected"),
    ],
)
def test_a_capture_that_cannot_be_used_is_not_kept(
    capture_command: Callable[..., Answer], farther: Farther, fault: str, says: str
) -> None:
    farther.nsys(fault)
    given = ("--launcher", "docker exec llama", "--")
    assert_refused(capture_command(*given, sys.executable, "-c", KERNELS), says)
    assert farther.is_clean()


def test_a_command_that_ends_in_its_warmup_there(
    capture_command: Callable[..., Answer], farther: Farther
) -> None:
    farther.nsys("no_report")
    given = ("--launcher", "docker exec llama", "--warmup", 60, "--")
    code, _, err = capture_command(*given, sys.executable, "-c", KERNELS)
    assert code == 2
    assert "nothing was collected: the command ended before its warm-up of 60 s" in err


def test_a_folder_that_stays_there_is_named(
    capture_command: Callable[..., Answer], farther: Farther
) -> None:
    farther.nsys()
    write_program(farther.root / "bin" / "rm", "#!/bin/sh\necho 'rm: no leave'\nexit 1\n")
    given = ("--launcher", "docker exec llama", "--")
    code, _, err = capture_command(*given, sys.executable, "-c", KERNELS)
    assert code == 0
    (left,) = (farther.root / "tmp").glob("pytest-nsys*")
    assert f"{left} is left where docker exec llama leads: rm: no leave" in err
    assert left.stat().st_mode & 0o77 == 0
