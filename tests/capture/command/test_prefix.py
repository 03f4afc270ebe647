"""What a launcher's prefix says: how a command is run there, and how a file is fetched."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.capture.command.prefix import Launcher, read_launcher
from pytest_nsys.errors import SettingsError


@pytest.mark.parametrize(
    ("prefix", "fetch"),
    [
        ("kubectl exec llama -- ", "kubectl cp llama:R L"),
        ("kubectl exec pod/llama --", "kubectl cp llama:R L"),
        ("kubectl -n team exec llama -c nim --", "kubectl cp -n team -c nim llama:R L"),
        ("kubectl exec -it -nteam llama --", "kubectl cp -n team llama:R L"),
        (
            "kubectl --context=big exec --namespace team llama --container=nim -q --",
            "kubectl cp --context=big --namespace=team --container=nim llama:R L",
        ),
        ("kubectl exec --pod-running-timeout=1m llama --", "kubectl cp llama:R L"),
        ("/opt/bin/kubectl exec llama", "/opt/bin/kubectl cp llama:R L"),
        ("oc exec llama --", "oc cp llama:R L"),
        ("kubectl exec deploy/llama --", ""),
        ("kubectl exec -f pod.yaml --", ""),
        ("kubectl debug llama --", ""),
        ("docker exec llama", "docker cp llama:R L"),
        ("docker exec -i -e A=B --user=me -w /x llama", "docker cp llama:R L"),
        ("docker -H ssh://far container exec llama", "docker -H ssh://far cp llama:R L"),
        ("docker --context far -D exec llama", "docker --context=far -D cp llama:R L"),
        ("sudo -n docker exec llama", "sudo -n docker cp llama:R L"),
        ("podman exec llama", "podman cp llama:R L"),
        ("nerdctl -n k8s.io exec llama", "nerdctl -n k8s.io cp llama:R L"),
        ("docker compose exec llama", ""),
        ("docker exec", ""),
        ("docker exec llama sudo -u me", ""),
        ("ssh far", "scp -q far:R L"),
        ("ssh me@far", "scp -q me@far:R L"),
        ("ssh -p 2222 -l me far", "scp -q -P 2222 -o User=me far:R L"),
        ("ssh -p2222 far -i key", "scp -q -P 2222 -i key far:R L"),
        ("ssh -tt -AC -o BatchMode=yes far --", "scp -q -C -o BatchMode=yes far:R L"),
        ("ssh -J jump -F file far", "scp -q -J jump -F file far:R L"),
        ("ssh me@::1", "scp -q 'me@[::1]:R' L"),
        ("/usr/bin/ssh far", "/usr/bin/scp -q far:R L"),
        ("ssh ssh://me@far:22", ""),
        ("ssh", ""),
        ("ssh -p", ""),
        ("ssh far docker exec llama", ""),
        ("kubectl exec llama -- ssh far", ""),
        ("srun --jobid 12", ""),
        ("nsenter -t 1 -m", ""),
    ],
)
def test_what_fetches_follows_from_the_prefix(prefix: str, fetch: str) -> None:
    launcher = read_launcher(prefix)
    local = Path("L")
    assert shlex.join(launcher.fetching("R", local)) == fetch
    assert not launcher.chosen


@pytest.mark.parametrize(
    ("prefix", "words"),
    [
        ("kubectl exec llama --", ["kubectl", "exec", "llama", "--", "a b", "$c"]),
        ("ssh far", ["ssh", "far", "'a b' '$c'"]),
        ("ssh far docker exec llama", ["ssh", "far", "docker", "exec", "llama", "'a b' '$c'"]),
        ("kubectl exec llama -- ssh far", [*"kubectl exec llama -- ssh far".split(), "'a b' '$c'"]),
        ("docker exec ssh", ["docker", "exec", "ssh", "a b", "$c"]),
        ("env 'A=b c' sh", ["env", "A=b c", "sh", "a b", "$c"]),
    ],
)
def test_a_command_is_quoted_where_a_shell_reads_it(prefix: str, words: list[str]) -> None:
    assert read_launcher(prefix).command(["a b", "$c"]) == words


@given(st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=9)))
def test_what_goes_through_shells_arrives(words: list[str]) -> None:
    launcher = Launcher(("sh", "-c"), shells=1)
    (_, _, line) = launcher.command(["printf", "%s\\0", *words])
    done = subprocess.run(["sh", "-c", line], capture_output=True, check=True)
    assert done.stdout.decode() == "".join(f"{word}\0" for word in words or [""])
    (_, _, line) = Launcher(("sh", "-c"), shells=2).command(["printf", "%s\\0", *words])
    assert shlex.split(shlex.split(line)[0]) == ["printf", "%s\\0", *words]


def test_the_users_own_way_to_fetch() -> None:
    launcher = read_launcher("kubectl exec llama --", "cp '/nfs share/{remote}' {local}")
    assert launcher.fetching("/tmp/r", Path("/l l")) == ["cp", "/nfs share//tmp/r", "/l l"]
    assert launcher.chosen
    assert read_launcher("ssh far", "cp {remote} {local}").shells == 1


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
