"""Every fault of the table, each against the nsys that can be made to fail so."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from pytest_nsys.errors import NsysLaunchFailed
from tests.faults.fault import Fault
from tests.faults.scene import STAND_IN, Scene
from tests.faults.table import FAULTS
from tests.support.harness import REAL_NSYS


def rows(real: bool) -> list[object]:
    """The rows with their nsys, as parameters of a test."""
    return [
        pytest.param(fault, nsys, id=f"{fault.id}-{nsys}")
        for fault in FAULTS
        for nsys in fault.drives
        if (nsys != STAND_IN) is real
    ]


@pytest.fixture
def scene(nsys: str, tmp_path: Path) -> Iterator[Scene]:
    """A scene with one nsys."""
    scene = Scene(tmp_path, nsys)
    yield scene
    scene.close()


@pytest.fixture
def real_nsys(nsys: str, alone: None) -> None:
    """Fail where the real nsys is missing."""
    if not Path(REAL_NSYS[nsys]).exists():
        pytest.fail(f"nsys {nsys} is not at {REAL_NSYS[nsys]}: run .ci/install-nsys")


@pytest.mark.parametrize(("fault", "nsys"), rows(real=True))
def test_a_fault_of_a_real_nsys(real_nsys: None, fault: Fault, scene: Scene) -> None:
    check(fault, scene)


@pytest.mark.parametrize(("fault", "nsys"), rows(real=False))
def test_a_fault_of_the_stand_in(fault: Fault, scene: Scene) -> None:
    check(fault, scene)


def check(fault: Fault, scene: Scene) -> None:
    """Drive the fault, and compare what is seen and left with what the table says."""
    if scene.nsys == STAND_IN and fault.faults:
        scene.install(*fault.faults)
    scene.ini(*fault.ini)
    scene.write(fault.tests)
    if fault.conftest:
        scene.conftest(fault.conftest)
    scene.environment.update(fault.environment)
    fault.prepare(scene)
    scene.start(*fault.options)
    fault.during(scene)
    code = scene.finish()
    shown = scene.output

    assert code == fault.code, shown
    assert scene.left_behind(late=fault.late) == [], shown
    assert scene.recorded() == sorted(fault.recorded), shown
    if fault.sees:
        assert any(fnmatchcase(line, fault.sees) for line in shown.splitlines()), shown
    kinds = {kind for kind, _ in scene.errors()}
    if fault.error is None:
        # A real nsys now and then ends without starting the worker, and is launched again: no
        # user sees the error of the first time.
        started_anew = set() if scene.nsys == STAND_IN else {NsysLaunchFailed.__name__}
        assert kinds <= started_anew, shown
    else:
        assert fault.error.__name__ in kinds, (kinds, shown)
        assert "What to do: " in shown
    assert "INTERNALERROR" not in shown
    assert fault.traceback or "Traceback (most recent call last)" not in shown, shown
