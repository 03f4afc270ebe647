"""GPU performance that a test suite can fail on: pytest tests under NVIDIA Nsight Systems.

What a project imports is here; ``docs/public.md`` says what of it is promised. Everything is
imported when it is first asked for.

- What fixtures are: `Nsys`, `NsysServer`, `NsysRun`; what those give: `Server`, `Window`,
  `LoadResult`, `Exchange`, `Finished`.
- What ``check=`` functions and hooks get: `WindowMeasurement`, `Parts`, `Part`; `Verdict`,
  `Comparison`, `Contribution`, `Resolution`, `Requirement`, `Status`, `Measurement`, `Environment`,
  `Bottleneck`.
- Metrics of one's own: `Metric`, `Unit`, `Tolerance`, `CustomMetric`, and what it is computed from:
  `Cut`, `Trace`, `TraceGpu`, `Members`, `NameSums`.
- Engines of one's own: `register_preset`, `Preset`, `Endpoint`, `ProfileEndpoints`,
  `FailurePattern`, `StartStage`; `register_dialect`, `Dialect`, `Ask`, `Reading`.
- Prompts: `synthetic`, `synthetic_text`, `Prompt`.
- What can go wrong: `NsysError`; all that are below it are in `errors`.

The worker imports this package before its pytest starts: PYTEST_DONT_REWRITE.
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

__all__ = [
    "Ask",
    "Bottleneck",
    "Comparison",
    "Contribution",
    "CustomMetric",
    "Cut",
    "Dialect",
    "Endpoint",
    "Environment",
    "Exchange",
    "FailurePattern",
    "Finished",
    "LoadResult",
    "Measurement",
    "Members",
    "Metric",
    "NameSums",
    "Nsys",
    "NsysError",
    "NsysRun",
    "NsysServer",
    "Part",
    "Parts",
    "Preset",
    "ProfileEndpoints",
    "Prompt",
    "Reading",
    "Requirement",
    "Resolution",
    "Server",
    "StartStage",
    "Status",
    "Tolerance",
    "Trace",
    "TraceGpu",
    "Unit",
    "Verdict",
    "Window",
    "WindowMeasurement",
    "errors",
    "register_dialect",
    "register_preset",
    "synthetic",
    "synthetic_text",
]

if TYPE_CHECKING:
    from pytest_nsys import errors
    from pytest_nsys.catalogue import Metric
    from pytest_nsys.errors import NsysError
    from pytest_nsys.fixture import Nsys
    from pytest_nsys.insights.bottlenecks.bottleneck import Bottleneck
    from pytest_nsys.measure.measurement import (
        Environment,
        Measurement,
        Part,
        Parts,
        WindowMeasurement,
    )
    from pytest_nsys.metrics.custom import CustomMetric
    from pytest_nsys.process.processes import Finished
    from pytest_nsys.servers.command import NsysRun
    from pytest_nsys.servers.engines.preset import (
        Endpoint,
        FailurePattern,
        Preset,
        ProfileEndpoints,
        StartStage,
    )
    from pytest_nsys.servers.engines.presets import register_preset
    from pytest_nsys.servers.factory import NsysServer
    from pytest_nsys.servers.load.dialects import Ask, Dialect, Reading, register_dialect
    from pytest_nsys.servers.load.model import Exchange, LoadResult, Prompt
    from pytest_nsys.servers.load.prompts import synthetic, synthetic_text
    from pytest_nsys.servers.server import Server
    from pytest_nsys.servers.window import Window
    from pytest_nsys.support.arrays.rows import Members, NameSums
    from pytest_nsys.support.units import Tolerance, Unit
    from pytest_nsys.trace.tables import Trace, TraceGpu
    from pytest_nsys.verdict.verdict import (
        Comparison,
        Contribution,
        Requirement,
        Resolution,
        Status,
        Verdict,
    )
    from pytest_nsys.windows.cut import Cut
else:
    _HOMES = {
        "catalogue": "Metric",
        "errors": "NsysError",
        "fixture": "Nsys",
        "insights.bottlenecks.bottleneck": "Bottleneck",
        "measure.measurement": "Environment Measurement Part Parts WindowMeasurement",
        "metrics.custom": "CustomMetric",
        "process.processes": "Finished",
        "servers.command": "NsysRun",
        "servers.engines.preset": "Endpoint FailurePattern Preset ProfileEndpoints StartStage",
        "servers.engines.presets": "register_preset",
        "servers.factory": "NsysServer",
        "servers.load.dialects": "Ask Dialect Reading register_dialect",
        "servers.load.model": "Exchange LoadResult Prompt",
        "servers.load.prompts": "synthetic synthetic_text",
        "servers.server": "Server",
        "servers.window": "Window",
        "support.arrays.rows": "Members NameSums",
        "support.units": "Tolerance Unit",
        "trace.tables": "Trace TraceGpu",
        "verdict.verdict": "Comparison Contribution Requirement Resolution Status Verdict",
        "windows.cut": "Cut",
    }

    def __getattr__(name: str) -> object:
        """A public name, imported from where it is made.

        There is no ``__dir__`` that lists them: freezegun asks every module for all that it lists,
        while time is frozen, and pandas crashes where it is imported then.
        """
        from importlib import import_module

        if name == "errors":
            return import_module("pytest_nsys.errors")
        for home, names in _HOMES.items():
            if name in names.split():
                value = getattr(import_module(f"pytest_nsys.{home}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module 'pytest_nsys' has no attribute {name!r}")
