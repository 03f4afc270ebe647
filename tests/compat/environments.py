"""The environments that the cases run in: ``python -m tests.compat.environments NAME``."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.compat.table import GROUPS, REFUSED
from tests.support.harness import ROOT

ENVIRONMENTS = ("oldest", "newest")
FOLDER = ROOT / ".venv-compat"
VERSIONS = Path(__file__).parent / "versions.json"
"""What was installed when the whole table was last tried, by environment and package."""

_LIST = """
import importlib.metadata, json
found = {one.metadata["Name"].lower().replace("_", "-"): one.version
         for one in importlib.metadata.distributions()}
print(json.dumps(found))
"""


_PYTEST = {"oldest": "pytest==8.0.*", "newest": "pytest"}
_BESIDE = ("nvtx>=0.2.11,<0.2.12", "setuptools")


def make(environment: str) -> None:
    """Make an environment with all plugins of the table; an old one is replaced."""
    plugins = {case.package for group in GROUPS for case in group.cases if case.package}
    plugins |= {case.package for case in REFUSED}
    folder = FOLDER / environment
    venv.create(folder, clear=True, with_pip=True)
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet"]
    wanted = [_PYTEST[environment], *_BESIDE, *sorted(plugins)]
    subprocess.run([*pip, "--editable", ROOT, *wanted], check=True)
    (folder / ".installed").touch()


def python_of(environment: str) -> str:
    """The Python of an environment; where it is missing, a test fails and does not skip."""
    python = FOLDER / environment / "bin/python"
    if not python.exists():
        pytest.fail(f"there is no {python}: run make compat")
    return str(python)


def installed(environment: str) -> dict[str, str]:
    """The versions of what is installed, by package."""
    listed = subprocess.run(
        [python_of(environment), "-c", _LIST], stdout=subprocess.PIPE, text=True, check=True
    )
    versions: dict[str, str] = json.loads(listed.stdout)
    return versions


if __name__ == "__main__":
    make(sys.argv[1])
