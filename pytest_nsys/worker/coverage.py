"""Coverage of measured tests: of all that the worker runs for them, but for the rounds.

To trace every line would distort what is measured. So a test is measured for coverage from its
set-up to its last warm-up and after its rounds, and one without a warm-up is called once more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class CoverageOptions:
    """How pytest-cov measures in the controller, which combines the data files that it finds.

    Attributes:
        data_file: beside which that of the worker is put.
        source: folders and packages; None for what the configuration says.
        branch: whether branches are measured; None for what the configuration says.
        config_file: the configuration.
        contexts: whether lines are recorded with the test that ran them.
    """

    data_file: str
    source: tuple[str, ...] | None = None
    branch: bool | None = None
    config_file: str = ".coveragerc"
    contexts: bool = False


class Paused:
    """That of this pytest, which pytest-cov has started: it is stopped in the rounds alone."""

    def __init__(self, measuring: Any, *, goes_on: bool = True) -> None:
        """Args:
        measuring: the object of coverage.py.
        goes_on: whether it measures now.
        """
        self._measuring = measuring
        self._goes_on = goes_on

    def start(self) -> None:
        """Measure from now on."""
        if not self._goes_on:
            self._goes_on = True
            self._measuring.start()

    def stop(self) -> None:
        """Do not measure for a while."""
        if self._goes_on:
            self._goes_on = False
            self._measuring.stop()

    def phase(self, nodeid: str, name: str) -> None:
        """A phase of a test ("setup", "run", "teardown") begins, which pytest-cov knows itself."""
        del nodeid, name
        self.start()


class Coverage(Paused):
    """Measures in this process while it is told to."""

    def __init__(self, options: CoverageOptions) -> None:
        from coverage import Coverage as Measuring

        measuring: Any = Measuring(
            data_file=options.data_file,
            data_suffix=True,
            source=None if options.source is None else list(options.source),
            branch=options.branch,
            config_file=options.config_file,
            messages=False,
        )
        # The controller, which measures the same files, says what there is to be said of them.
        measuring._warn_no_data = False
        measuring._warn_unimported_source = False
        measuring._warn_preimported_source = False
        super().__init__(measuring, goes_on=False)
        self._contexts = options.contexts

    def phase(self, nodeid: str, name: str) -> None:
        """Measure this phase of a test: "setup", "run" or "teardown", as pytest-cov names them."""
        self.start()
        if self._contexts:
            self._measuring.switch_context(f"{nodeid}|{name}")

    def save(self) -> None:
        """Write what was measured."""
        self.stop()
        self._measuring.save()
