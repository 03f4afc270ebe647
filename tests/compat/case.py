"""One plugin, or one option of pytest itself, beside measured tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

M = "@pytest.mark.nsys(rounds=2, warmup=1, allow_empty=True)\n"
"""What marks the measured tests."""

TWO = f"""
{M}
def test_passes():
    simgpu.launch("gemm", 400)

{M}
def test_fails():
    simgpu.launch("gemm", 400)
    assert 1 == 2

def test_plain():
    pass
"""
"""A measured test that passes and one that fails, beside one that is not measured."""

TWO_OUTCOMES = {"test_passes": "passed", "test_fails": "failed", "test_plain": "passed"}


@dataclass(frozen=True)
class Case:
    """A module of tests beside a plugin.

    Attributes:
        name: of the case and, behind ``test_``, of its module.
        package: what has the plugin; "" for pytest itself.
        plugins: what ``-p`` is given.
        code: the tests.
        outcomes: how each ends, by the part of its node id behind the module.
        args: options of the run.
        ini: lines of the ini file.
        files: further files, by name.
        env: variables of the run.
        prints: patterns of lines that the run prints.
        has: patterns of what is in files that the run has written, by their names.
        refused: the beginning of the usage error, where that is right.
        works: for the page: what holds beside measured tests.
        remedy: for the page: what to do where something does not.
        without: environments that it is not tried in.
        setup: options of a run before, whatever becomes of that.
    """

    name: str
    package: str = ""
    plugins: tuple[str, ...] = ()
    code: str = TWO
    outcomes: Mapping[str, str] = field(default_factory=lambda: TWO_OUTCOMES)
    args: tuple[str, ...] = ()
    ini: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    prints: tuple[str, ...] = ()
    has: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""
    works: str = "as in a plain run"
    remedy: str = ""
    without: tuple[str, ...] = ()
    setup: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """Cases that do not disturb each other, and share one run.

    Attributes:
        name: of the group.
        cases: its cases.
        usual: whether it has the most used plugins, which CI tries.
    """

    name: str
    cases: tuple[Case, ...]
    usual: bool = True
