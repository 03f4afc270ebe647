"""Faults of the tests themselves: workers that die, hang, leave something behind, or misbehave."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from pytest_nsys.errors import CaptureError, RoundsMissing
from tests.faults.fault import REAL, Fault, around
from tests.faults.scene import STAND_IN, Scene

BOTH = ("test_after", "test_before")
ALL = ("test_after", "test_at_fault", "test_before")
LIMIT = ("nsys_timeout = 1",)
TOO_LONG = "took longer than 1 s (in round 1) and was ended"

# Deaf to what can be ignored, and inside one call of C that never returns to Python.
ENDLESS_C = """
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
import re
re.match("(a+)+$", "a" * 60 + "b")
"""
FORK = """
work()
if os.fork() == 0:
    time.sleep(300)
    os._exit(0)
"""
DAEMON = """
work()
program = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(300)"
code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {program!r}], "
code += "start_new_session=True)"
subprocess.run([sys.executable, "-c", code], check=True)
"""
CLOSES = """
work()
os.closerange(3, 256)
"""
TAKES_FILE = """
work()
mine = os.open("mine.txt", os.O_WRONLY | os.O_CREAT)
for name in os.listdir("/proc/self/fd"):
    path = f"/proc/self/fd/{name}"
    ours = os.environ["PYTEST_NSYS_WORKER"] + "/events.jsonl"
    if os.path.islink(path) and os.readlink(path) == ours:
        os.dup2(mine, int(name))
os.close(mine)
request.addfinalizer(lambda: check_empty(pathlib.Path("mine.txt")))
"""
MOVES = """
work()
os.mkdir(f"there-{time.time()}")
os.chdir("/")
"""
REDIRECTS = """
work()
null = os.open(os.devnull, os.O_RDWR)
for fd in (0, 1, 2):
    os.dup2(null, fd)
print("lost")
os.close(null)
"""
SESSION = """
work()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.environ.clear()
        time.sleep(300)
    os._exit(0)
"""
STRANGE = r"""
    import pytest
    from work import work

    STRANGE = ["a/b", "../../up", "::", "[x]", "'\"", "%s %d", "\n\t\0", "ü 漢字 😀", "*?", " "]
    STRANGE += ["~", "\udc80", "$(touch owned)", "-x", "CON", "."]

    @pytest.mark.nsys(rounds=1, warmup=0, allow_empty=True)
    @pytest.mark.parametrize("value", STRANGE, ids=range(len(STRANGE)))
    def test_number(value):
        work()

    @pytest.mark.nsys(rounds=1, warmup=0, allow_empty=True)
    @pytest.mark.parametrize("value", STRANGE)
    def test_at_fault(value):
        work()
"""
REPLACES = """
import json
work()
os.getpid = lambda: 4711
os.write = json.dumps = time.perf_counter = None
assert False
"""
UNREPORTED = """
    import pytest
    from _pytest.runner import runtestprotocol

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(item, nextitem):
        if item.name == "test_at_fault" and hasattr(item.config, "workerinput"):
            runtestprotocol(item, log=False, nextitem=nextitem)
            return True
"""
SWALLOWS = """
calls = iter([1])
try:
    nsys(lambda: work() or next(calls))
except StopIteration:
    pass
"""
UNMARKED = """
    import pytest
    from work import work

    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.nysy
    def test_one():
        work()
"""
LONG = """
    import pytest
    from work import work

    @pytest.mark.nsys(rounds=1, warmup=0, allow_empty=True)
    @pytest.mark.parametrize("value", ["x" * 5000 + end for end in "ab"])
    def test_at_fault(value):
        work()
"""


def stop_worker(scene: Scene) -> None:
    os.kill(scene.wait_until_ready(), signal.SIGSTOP)


def kill(part: str) -> Callable[[Scene], None]:
    """Kill the process of the run whose command line holds a text."""

    def act(scene: Scene) -> None:
        scene.wait_until_ready()
        os.kill(scene.one_process(part), signal.SIGKILL)

    return act


ROWS = (
    Fault(
        "A test ends in a segmentation fault",
        "the worker was ended by SIGSEGV",
        None,
        drives=(REAL[1], STAND_IN),
        tests=around("import faulthandler; faulthandler.disable(); os.kill(os.getpid(), 11)"),
        recorded=BOTH,
    ),
    Fault(
        "A test leaves the process",
        "the worker ended suddenly with exit code 3",
        None,
        made="os._exit(3)",
        tests=around("os._exit(3)"),
        recorded=BOTH,
    ),
    Fault(
        "The system kills the worker for its memory",
        "the worker was ended by SIGKILL",
        None,
        made="SIGKILL, which is what the kernel's OOM killer sends",
        tests=around("os.kill(os.getpid(), signal.SIGKILL)"),
        recorded=BOTH,
    ),
    Fault(
        "A test calls sys.exit",
        "E       SystemExit: 0",
        None,
        tests=around("sys.exit(0)"),
        recorded=BOTH,
    ),
    Fault(
        "A test ends the session",
        "!* Interrupted: enough !*",
        None,
        code=2,
        made="pytest.exit",
        tests=around('pytest.exit("enough")'),
        recorded=("test_before",),
    ),
    Fault(
        "A test never ends",
        TOO_LONG,
        None,
        made="an endless loop in Python",
        tests=around("while True: pass"),
        ini=LIMIT,
        recorded=BOTH,
    ),
    Fault(
        "A test never ends and hears no signal",
        TOO_LONG,
        None,
        made="an endless call of C, with SIGINT, SIGTERM and SIGHUP ignored",
        drives=REAL[:1],
        tests=around(ENDLESS_C),
        ini=LIMIT,
        recorded=BOTH,
    ),
    Fault(
        "The worker is stopped",
        TOO_LONG,
        None,
        made="SIGSTOP",
        tests=around("wait()"),
        ini=LIMIT,
        during=stop_worker,
        recorded=BOTH,
    ),
    Fault(
        "A fixture's teardown never ends",
        "took longer than 1 s (outside its rounds) and was ended",
        None,
        tests=around("work(); request.addfinalizer(lambda: time.sleep(300))"),
        ini=LIMIT,
        recorded=BOTH,
    ),
    Fault(
        "The worker dies between two tests",
        "the worker ended suddenly*",
        None,
        made="os._exit in pytest_runtest_logfinish, at each attempt",
        conftest="""
            import os
            from work import IN_WORKER

            def pytest_runtest_logfinish(nodeid):
                if IN_WORKER:
                    os._exit(4)
        """,
    ),
    Fault(
        "The worker dies after its tests",
        "the worker died after its tests, before the capture was complete",
        CaptureError,
        made="os._exit when the session finishes",
        conftest="""
            import os
            from work import IN_WORKER

            def pytest_sessionfinish():
                if IN_WORKER:
                    os._exit(5)
        """,
    ),
    Fault(
        "nsys is killed",
        "the worker's nsys was ended by SIGKILL",
        None,
        drives=REAL,
        tests=around('if not pathlib.Path("ready").exists(): wait()'),
        during=kill(" profile "),
        recorded=BOTH,
    ),
    Fault(
        "nsys's agent is killed",
        "Connection to *Agent lost*",
        None,
        drives=REAL,
        tests=around('if not pathlib.Path("ready").exists(): wait()'),
        during=kill("--start-agent"),
        recorded=BOTH,
    ),
    Fault(
        "A test leaves a fork that holds its output open",
        "",
        None,
        code=0,
        drives=REAL[:1],
        tests=around(FORK),
        recorded=ALL,
    ),
    Fault(
        "A test leaves a daemon",
        "",
        None,
        code=0,
        made="a process in a session of its own, its parent gone, deaf to SIGTERM",
        drives=REAL[1:],
        tests=around(DAEMON),
        recorded=ALL,
    ),
    Fault(
        "A test leaves a daemon without an environment",
        "",
        None,
        code=0,
        made="two forks and a session of its own (os.setsid)",
        tests=around(SESSION),
        recorded=ALL,
    ),
    Fault(
        "A test closes all files",
        "the worker ended suddenly with exit code 1",
        None,
        made="every descriptor from 3 on; pytest, too, cannot go on without its own",
        tests=around(CLOSES),
        recorded=BOTH,
    ),
    Fault(
        "A test closes all files, and nsys cannot do without its own",
        "took longer than 2 s (outside its rounds) and was ended",
        None,
        made="as before; what nsys has put into the worker waits for ever",
        drives=REAL[1:],
        ini=("nsys_timeout = 2",),
        tests=around(CLOSES),
        recorded=BOTH,
    ),
    Fault(
        "A test takes the plugin's file for itself",
        "",
        None,
        code=0,
        made="os.dup2 over its descriptor",
        tests=around(TAKES_FILE, before="def check_empty(p): assert p.read_text() == ''"),
        recorded=ALL,
    ),
    Fault(
        "A test changes the working directory",
        "",
        None,
        code=0,
        tests=around(MOVES),
        recorded=ALL,
    ),
    Fault(
        "A test empties the environment",
        "",
        None,
        code=0,
        made="os.environ.clear()",
        drives=REAL[1:],
        tests=around("os.environ.clear()"),
        recorded=ALL,
    ),
    Fault(
        "A test redirects the standard streams",
        "",
        None,
        code=0,
        made="at the level of file descriptors",
        tests=around(REDIRECTS),
        recorded=ALL,
    ),
    Fault(
        "A test id has any characters",
        "",
        None,
        code=0,
        tests=STRANGE,
        options=("--nsys",),
    ),
    Fault(
        "A test id is very long",
        "",
        None,
        code=0,
        made="5,000 characters, two that differ in the last",
        tests=LONG,
        options=("--nsys",),
    ),
    Fault(
        "A test replaces what the worker calls, and fails",
        "*assert False",
        None,
        made="`os.getpid`, `os.write`, `json.dumps`, `time.perf_counter`, and leaves them so",
        drives=(REAL[1], STAND_IN),
        tests=around(REPLACES),
        recorded=BOTH,
        traceback=True,
    ),
    Fault(
        "A test has no report",
        "the worker ended well (exit status *) and sent no report of its set-up",
        None,
        made="a plugin runs it in a way of its own",
        tests=around("work()"),
        conftest=UNREPORTED,
        recorded=BOTH,
    ),
    Fault(
        "A test goes on after a round that failed",
        "the test passed, and only 1 of its 2 rounds ended",
        RoundsMissing,
        made="it catches what the function that it handed to `nsys` raises",
        tests=around(SWALLOWS).replace("request", "nsys"),
        recorded=BOTH,
    ),
    Fault(
        "No test is measured under the gate",
        "no test was measured: 1 test, none marked nsys",
        None,
        code=4,
        made="a marker with a typing error",
        tests=UNMARKED,
        options=("--nsys-baseline",),
    ),
)
