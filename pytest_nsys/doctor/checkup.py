"""All that the doctor looks at, in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.doctor.context import CheckResult, Probe, Status
from pytest_nsys.doctor.machine import Machine
from pytest_nsys.doctor.probes import cupti, gpu, interference, ncu, python, system
from pytest_nsys.doctor.probes import nsys as nsys_probes
from pytest_nsys.doctor.trial import CHECK, Trial, TrialStep

PROBES: tuple[Probe, ...] = (
    nsys_probes.importer,
    nsys_probes.libraries,
    gpu.driver,
    gpu.nsys_against_driver,
    gpu.mig,
    gpu.visible_devices,
    gpu.gpu_metrics,
    cupti.cupti,
    ncu.ncu,
    python.python,
    python.nvtx,
    python.pyarrow,
    system.temporary_folder,
    system.file_size,
    system.shared_memory,
    system.home,
    system.container,
    system.memory_limit,
    system.process_limit,
    system.sampling_rights,
    interference.sessions,
    interference.other_tools,
    interference.settings,
)
"""Every probe but that for nsys, which the others need, in the order in which they are made."""

# A trial that went well has shown that these are good enough, whatever their probes say. (Space
# is none of them: a real capture needs more than a trial.)
_PROVED_BY_TRIAL = ("importer", "libraries", "nsys and driver", "nvtx", "shared memory")


@dataclass(frozen=True)
class Checkup:
    """What the doctor found.

    Attributes:
        results: in the order of the checks.
        steps: of the trial capture.
    """

    results: tuple[CheckResult, ...]
    steps: tuple[TrialStep, ...] = ()

    def count(self, status: Status) -> int:
        """The number of results of this status."""
        return sum(result.status == status for result in self.results)

    @property
    def healthy(self) -> bool:
        """Whether captures can be made: there is no problem."""
        return not self.count("problem")


def examine(
    machine: Machine, executable: str | None, trial: Callable[[NsysTool, bool], Trial]
) -> Checkup:
    """Look at everything, then make a trial capture.

    Args:
        machine: what to examine.
        executable: the nsys that the user asked for, if any.
        trial: makes the capture, given the nsys and whether it must show a GPU.
    """
    context, results = nsys_probes.find(machine, executable)
    for probe in PROBES:
        results += probe(context)
    if context.nsys is None:
        skipped = CheckResult(CHECK, "skipped", "without nsys there is nothing to try")
        return Checkup((*results, skipped))
    tried = trial(context.nsys, bool(machine.driver().gpus))
    if tried.result.status != "problem":
        results = [_disproved(result) for result in results]
    return Checkup((*results, tried.result), tried.steps)


def _disproved(result: CheckResult) -> CheckResult:
    """What would have made the trial fail, and did not, is a warning at most."""
    if result.status != "problem" or result.check not in _PROVED_BY_TRIAL:
        return result
    return replace(result, status="warning", what=f"{result.what}; yet the trial went well")
