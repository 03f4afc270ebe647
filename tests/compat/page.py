"""Makes ``docs/compatibility.md`` of the table: ``python -m tests.compat.page``.

With ``--versions`` it writes down first what is installed where the table was tried.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from tests.compat.case import Case
from tests.compat.environments import ENVIRONMENTS, VERSIONS, installed
from tests.compat.table import GROUPS, REFUSED

INTRODUCTION = """\
# Beside other plugins

Made from the table in `tests/compat`, where each of these is run beside measured tests, on the
oldest and the newest supported pytest (`make compat`). Do not edit this page: `make docs` writes
it.

The worker that runs measured tests is, for other plugins, one of pytest-xdist: what their
`pytest_configure_node` puts into `node.workerinput` is in `config.workerinput` there (with or
without pytest-xdist), `config.workeroutput` comes back by `pytest_testnodedown`, and its id is
`gw0`. With `-n` workers are xdist's own ([many GPUs](many-gpus.md)). Reports are logged in the
controller, once a test, with the final verdict. So what works
beside `pytest -n 1` works here, and what does not, does not: `record_testsuite_property` and
`record_xml_attribute` in a measured test say nothing.

A test's body is called in warm-ups and rounds with the same fixtures. What these keep for one call
is made anew before each other one: pytest's own, and those of pytest-mock, syrupy, pytest-benchmark
and pytest-codspeed, where the test or its fixtures name them. What the body gets by
`request.getfixturevalue` stays, and so does what other fixtures keep, those of a project and of
other plugins: a clock that was moved (`freezer`), the requests that were counted (`httpserver`,
`requests_mock`), files of pyfakefs. Where a second call of the body fails for that, measure only a
function of it, with `nsys(function)`.

With `nsys_capture = cupti` ([without nsys](cupti.md)) there is no worker: tests run in the pytest
that was started, beside its plugins. The table is of workers.

What measured tests hand to `benchmark`, of pytest-benchmark or pytest-codspeed, is measured in its
place: [adopting benchmarks](adopting.md).

Where there is no version, the plugin itself does not work with that pytest.

"""


def rows() -> Iterator[str]:
    """The rows of the tables."""
    versions = json.loads(VERSIONS.read_text())
    cases = [case for group in GROUPS for case in group.cases]
    yield (
        "| plugin | tried with pytest "
        + " | tried with pytest ".join(versions[name]["pytest"] for name in ENVIRONMENTS)
        + " | beside measured tests |\n|---|---|---|---|\n"
    )
    remedies = {case.package: case.remedy for case in REFUSED if case.remedy}
    for case in sorted((case for case in cases if case.package), key=lambda case: case.package):
        yield _row(case, versions, case.remedy or remedies.get(case.package, ""))
    seen = {case.package for case in cases}
    for case in REFUSED:
        if case.package not in seen:
            yield _row(case, versions, case.remedy)
    yield "\n| pytest's own | beside measured tests |\n|---|---|\n"
    for case in cases:
        if not case.package:
            what = " ".join([*case.args, *case.ini]) or "fixtures"
            yield f"| `{what}` | {case.works} |\n"
    yield "\n## Refused\n\n| option | error |\n|---|---|\n"
    for case in REFUSED:
        yield f"| `{' '.join([*case.args, *case.ini])}` | `{case.refused}` |\n"


def _row(case: Case, versions: dict[str, dict[str, str]], remedy: str) -> str:
    tried = [
        "-" if name in case.without else versions[name].get(case.package.lower(), "-")
        for name in ENVIRONMENTS
    ]
    says = f"{case.works}; {remedy}" if remedy else case.works
    return f"| {case.package} | {' | '.join(tried)} | {says} |\n"


def main(arguments: list[str]) -> None:
    """Print the page."""
    if "--versions" in arguments:
        packages = {"pytest", *(c.package.lower() for g in GROUPS for c in g.cases if c.package)}
        packages |= {case.package.lower() for case in REFUSED}
        kept = {
            name: {
                package: version
                for package, version in sorted(installed(name).items())
                if package in packages
            }
            for name in ENVIRONMENTS
        }
        VERSIONS.write_text(json.dumps(kept, indent=1) + "\n")
    sys.stdout.write(INTRODUCTION + "".join(rows()))


if __name__ == "__main__":
    main(sys.argv[1:])
