"""An engine that is packed here works where it is unpacked, and what is not whole is refused."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def pack() -> ModuleType:
    loader = SourceFileLoader("pack_engine", str(SCRIPTS / "pack-engine"))
    spec = importlib.util.spec_from_loader("pack_engine", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["pack_engine"] = module
    loader.exec_module(module)
    return module


@pytest.fixture
def parts(tmp_path: Path, pack: ModuleType) -> Path:
    """An engine of one module, in parts of 100 bytes."""
    site = tmp_path / "made"
    (site / "our" / "heavy").mkdir(parents=True)
    (site / "our" / "__init__.py").write_text(
        "import os, sys\n\ndef main():\n    print(sys.argv[1:], os.environ['OURS'])\n    return 3\n"
    )
    (site / "our" / "heavy" / "kernels.so").write_text("heavy")
    (site / "our-1.0.dist-info").mkdir()
    (site / "our-1.0.dist-info" / "entry_points.txt").write_text(
        "[console_scripts]\nour-serve = our:main\n"
    )
    folder = tmp_path / "parts"
    folder.mkdir()
    digests = pack.compress(site, ("our/heavy/*",), folder, 100)
    assert len(digests) > 3
    about = {"engine": "our", "version": "1.0", "python": RUNNING, "parts": digests}
    about["environment"] = {"OURS": "by default"}
    (folder / "engine.json").write_text(json.dumps(about))
    return folder


def unpack(parts: Path, prefix: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / "unpack-engine"), str(parts), "--prefix", str(prefix)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_its_commands_run_with_its_packages_and_variables(parts: Path, tmp_path: Path) -> None:
    prefix = tmp_path / "with a space"
    done = unpack(parts, prefix)
    assert done.returncode == 0, done.stderr
    assert not (prefix / "site" / "our" / "heavy").exists()
    ran = subprocess.run(
        [prefix / "bin" / "our-serve", "a b"], capture_output=True, text=True, check=False
    )
    assert (ran.returncode, ran.stdout) == (3, "['a b'] by default\n"), ran.stderr
    found = "import our; print(our.__file__)"
    where = subprocess.check_output([prefix / "bin" / "python", "-c", found], text=True)
    assert where.strip() == str(prefix / "site" / "our" / "__init__.py")
    again = unpack(parts, prefix)
    assert again.returncode == 1
    assert "is not empty" in again.stderr


@pytest.mark.parametrize("fault", ["missing", "damaged", "Python 2.7"])
def test_what_is_not_whole_or_for_another_python_is_refused(
    parts: Path, tmp_path: Path, fault: str
) -> None:
    part = parts / "engine.tar.xz.001"
    if fault == "missing":
        part.unlink()
    elif fault == "damaged":
        part.write_bytes(part.read_bytes()[::-1])
    else:
        about = json.loads((parts / "engine.json").read_text())
        (parts / "engine.json").write_text(json.dumps(about | {"python": "2.7"}))
    done = unpack(parts, tmp_path / "prefix")
    assert done.returncode == 1
    assert fault in done.stderr
    assert not (tmp_path / "prefix").exists()


@pytest.mark.parametrize(
    ("engine", "said"),
    [("vllm", "name an engine with its version"), ("our==1.0", "name an engine")],
)
def test_an_engine_without_a_recipe_or_version_is_refused(
    engine: str, said: str, tmp_path: Path
) -> None:
    have = tmp_path / "have.txt"
    have.write_text("torch==2.11.0\n")
    command = [sys.executable, str(SCRIPTS / "pack-engine"), engine, "--have", str(have)]
    done = subprocess.run(
        [*command, "--to", str(tmp_path / "to")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert said in done.stderr
