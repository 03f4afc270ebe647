"""How a launcher runs a command, and how a file is fetched from where it leads."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.capture.command.launcher import Launcher, read_launcher
from pytest_nsys.errors import SettingsError


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("kubectl exec llama --", ["kubectl", "exec", "llama", "--", "a b", "$c"]),
        ("ssh far", ["ssh", "far", "'a b' '$c'"]),
        ("ssh far docker exec llama", ["ssh", "far", "docker", "exec", "llama", "'a b' '$c'"]),
        ("kubectl exec llama -- ssh far", [*"kubectl exec llama -- ssh far".split(), "'a b' '$c'"]),
        ("/usr/bin/ssh -p 22 ssh", ["/usr/bin/ssh", "-p", "22", "ssh", "'a b' '$c'"]),
        ("docker exec ssh", ["docker", "exec", "ssh", "a b", "$c"]),
        ("kubectl exec ssh --", ["kubectl", "exec", "ssh", "--", "a b", "$c"]),
        ("env 'A=b c' sh", ["env", "A=b c", "sh", "a b", "$c"]),
    ],
)
def test_a_command_is_quoted_where_a_shell_reads_it(prefix: str, words: list[str]) -> None:
    assert read_launcher(prefix).command(["a b", "$c"]) == words


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9)))
def test_what_goes_through_shells_arrives(words: list[str]) -> None:
    (_, _, line) = Launcher(("ssh", "far")).command(["printf", "%s\\0", *words])
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=True)
    assert done.stdout.decode() == "".join(f"{word}\0" for word in words or [""])
    (*_, line) = Launcher(("ssh", "far", "ssh", "on")).command(["printf", "%s\\0", *words])
    assert shlex.split(shlex.split(line)[0]) == ["printf", "%s\\0", *words]


def test_the_users_own_way_to_fetch() -> None:
    launcher = read_launcher("kubectl exec llama --", "cp '/nfs share/{remote}' {local}")
    assert launcher.fetching("/tmp/r", Path("/l l")) == ["cp", "/nfs share//tmp/r", "/l l"]


@pytest.mark.parametrize(
    ("prefix", "fetch", "says"),
    [
        ("", None, "--launcher is empty"),
        ("ssh 'far", None, "--launcher cannot be read: No closing quotation"),
        ("ssh far", "", "--fetch is empty"),
        ("ssh far", "scp far:x {local}", "--fetch lacks {remote}"),
        ("ssh far", "scp", "--fetch lacks {remote} and {local}"),
    ],
)
def test_what_cannot_be_read(prefix: str, fetch: str | None, says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read_launcher(prefix, fetch)
    assert says in str(caught.value)


def test_the_prefix_is_shown_as_it_is_written() -> None:
    assert read_launcher("env 'A=b c' ssh far").text == "env 'A=b c' ssh far"
