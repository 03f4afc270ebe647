"""What of a text, a report and a command line may be handed on."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nsys.plan.nsys_options import full_name, is_shown
from pytest_nsys.plan.privacy import published_arguments, published_command
from pytest_nsys.storage.recordings.reports import kept_report, read_kept_report
from pytest_nsys.support.text import line_without_folders, without_folders

REPORT: dict[str, Any] = {
    "$report_type": "TestReport",
    "nodeid": "t.py::test",
    "location": ["t.py", 3, "test"],
    "outcome": "failed",
    "when": "call",
    "duration": 0.5,
    "keywords": {"secret": 1},
    "sections": [["Captured stdout call", "secret"]],
    "user_properties": [["where", "secret"]],
    "secret": "secret",
}


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("no such file: '/home/secret/x.py'", "no such file: 'x.py'"),
        ("no such file: '/home/my secret/x.py'", "no such file: 'x.py'"),
        ('no such file: "/my secret/x y.py" or /a/secret/z', 'no such file: "x y.py" or z'),
        ("in file:///home/secret/x", "in file:x"),
        ("first\nsecret", "first"),
        ("no HOME: /root, '/root'", "no HOME: root, 'root'"),
        ("C:\\Users\\secret\\x and D:/secret/x", "x and x"),
        ("'C:\\\\Users\\\\secret\\\\x'", "'x'"),
        ("$HOME/.secret/x ${HOME}/secret/x ~/secret/x ~secret/x", "x x x x"),
        ("http://host </b> 1 / 2 a:b", "http://host </b> 1 / 2 a:b"),
        ("1/2 of a/b", "1/2 of a/b"),
        ("", ""),
    ],
)
def test_a_line_names_no_folder(text: str, line: str) -> None:
    assert line_without_folders(text).replace("file://", "file:") == line


def test_all_lines_of_a_text_can_be_kept() -> None:
    assert without_folders("a /b/secret/c\n/b/secret/d") == "a c\nd"


@pytest.mark.parametrize(
    ("longrepr", "kept"),
    [
        (None, None),
        ("[XPASS(strict)] no\nsecret", "[XPASS(strict)] no"),
        (["/secret/t.py", 3, "Skipped: see '/secret/x'"], ["t.py", 3, "Skipped: see 'x'"]),
        (
            {"reprcrash": {"path": "/secret/t.py", "lineno": 7, "message": "no\nsecret"}},
            "t.py:7: no",
        ),
        ({"reprcrash": None, "secret": 1}, None),
    ],
)
def test_of_a_report_only_what_is_listed_is_kept(longrepr: object, kept: object) -> None:
    outcome = "passed" if kept is None else "skipped" if isinstance(kept, list) else "failed"
    given = {**REPORT, "outcome": outcome, "longrepr": longrepr, "wasxfail": "why\nsecret"}
    report = kept_report(given)
    assert "secret" not in str(report)
    assert report["longrepr"] == kept
    assert report["wasxfail"] == "why"
    assert read_kept_report(report) == report


def test_a_report_without_a_reason_has_none() -> None:
    assert "wasxfail" not in read_kept_report(kept_report(REPORT))


@pytest.mark.parametrize(
    ("args", "command"),
    [
        ([], "pytest"),
        (["secret", "--secret"], "pytest ..."),
        (
            ["--nsys", "--nsys-record", "/secret/out", "secret"],
            "pytest --nsys --nsys-record ...",
        ),
        (["--nsys-rounds=3", "-q"], "pytest --nsys-rounds=3 ..."),
        (["--nsys-args", "-e A=secret", "--nsys"], "pytest --nsys-args ... --nsys"),
        (["--nsys-tolerance=mem.peak=2%, 1 MiB"], "pytest --nsys-tolerance=..."),
        (
            ["--nsys-tolerance=2%", "--nsys-rounds", "auto"],
            "pytest --nsys-tolerance=2% --nsys-rounds auto",
        ),
        (["-o", "nsys_max_capture_size=2 GiB"], "pytest -o nsys_max_capture_size='2 GiB'"),
        (
            ["-o", "nsys_against_setup=env A=secret", "--nsys"],
            "pytest -o nsys_against_setup=... --nsys",
        ),
        (
            ["--nsys-against=secret", "--override-ini=nsys_inconclusive=fail"],
            "pytest --nsys-against=... -o nsys_inconclusive=fail",
        ),
        (["-o", "secret=fail", "-o", "nsys_secret=1", "-o"], "pytest ..."),
        (["--nsys-html"], "pytest --nsys-html ..."),
    ],
)
def test_a_command_line_is_kept_as_far_as_it_is_ours(args: list[str], command: str) -> None:
    assert published_command(args) == command


@pytest.mark.parametrize(
    ("line", "published"),
    [
        ("--dtype bfloat16 --enforce-eager", "--dtype bfloat16 --enforce-eager"),
        ("--kv-cache-dtype=fp8_e5m2", "--kv-cache-dtype=fp8_e5m2"),
        ("--max-num-batched-tokens 8192", "--max-num-batched-tokens 8192"),
        ("--gpu-memory-utilization 0.85 -tp 2", "--gpu-memory-utilization 0.85 -tp 2"),
        ("--attention-backend TRITON_ATTN", "--attention-backend TRITON_ATTN"),
        ("serve /srv/secret --port 80", "... ... --port 80"),
        ("--api-key 1234 --api-key=secret", "--api-key ... --api-key=..."),
        ("--hf-token hf_secret", "--hf-token ..."),
        ("--dtype /srv/secret --dtype=a:b", "--dtype ... --dtype=..."),
        ("--served-model-name secret", "--served-model-name ..."),
        ("--seed 12345678", "--seed ..."),
        ("--x=secret --se/cret", "--x=... ..."),
    ],
)
def test_of_a_servers_arguments_what_is_no_secret_is_kept(line: str, published: str) -> None:
    assert published_arguments(line.split()) == tuple(published.split())


@pytest.mark.parametrize("option", ["-p", "--nvtx-capture", "--nvtx-domain-inc", "--env", "--o"])
def test_free_texts_given_to_nsys_are_not_shown(option: str) -> None:
    assert not is_shown(full_name(f"{option}=secret" if len(option) > 2 else option))
    assert is_shown(full_name("--trace=cuda"))
