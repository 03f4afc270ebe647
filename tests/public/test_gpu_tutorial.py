"""The tutorial for a machine with a GPU, followed as it stands, on the simulated one."""

from __future__ import annotations

import re

import pytest

from tests.support.harness import Project
from tests.support.tutorial import RIGHT, TEST, Reader

# What the page's tests use of PyTorch.
TORCH = """
    from types import SimpleNamespace
    import simgpu

    SIZE = 64 << 20
    float16 = "float16"
    cuda = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: False)

    class Tensor:
        shape = (8192, 4096)

        def __init__(self, kernel, us):
            self.address = simgpu.malloc(SIZE)
            simgpu.launch(kernel, us)

        def __del__(self):
            simgpu.free(self.address)

        def __mul__(self, other):
            return Tensor("multiply", 45)

        def __radd__(self, other):
            return Tensor("add", 31)

        __rmul__ = __mul__

    def randn(*shape, device, dtype):
        return Tensor("normal", 100)

    def erf(x):
        return Tensor("erf", 44)

    nn = SimpleNamespace(functional=SimpleNamespace(gelu=lambda x: Tensor("gelu", 44)))
"""


def test_the_tutorial_is_true(simulated: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    (simulated.path / "pytest.ini").unlink()
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # those of these tests take time
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p nsys")
    simulated.write(TORCH, "torch.py")
    reader = Reader(simulated.path, monkeypatch)

    assert reader.left.pop(0) == "pip install pytest-nsys"
    assert reader.types("nsys --version")[0] == 0
    assert "pytest-nsys doctor: " in reader.types("pytest-nsys doctor")[1]

    code, out = reader.types("pytest test_gelu.py")
    assert (code, "nsys summary" in out) == (0, False), out
    code, out = reader.types("pytest --nsys test_gelu.py")
    assert code == 0, out
    assert "1 new" in out
    assert re.search(r"test_gelu +44 us", out), out

    code, out = reader.types("pytest --nsys-update test_gelu.py")
    assert code == 0, out
    folder = simulated.path / "baselines/nvidia-h200/test_gelu.py"
    written = ["test_gelu.json", "test_gelu.timeline.json.gz"]
    assert sorted(path.name for path in folder.iterdir()) == written
    code, out = reader.types("pytest-nsys baselines show test_gelu")
    assert (code, "3 processes of 5 rounds" in out) == (0, True), out
    assert reader.types("git add test_gelu.py baselines")[0] == 0
    assert reader.types('git commit -m "A baseline for GELU"')[0] == 0

    code, out = reader.types("pytest --nsys-baseline test_gelu.py")
    assert (code, "1 ok" in out) == (0, True), out

    reader.makes_it_slow()
    code, out = reader.types("pytest --nsys-baseline --nsys-html=nsys.html test_gelu.py")
    assert code == 1, out
    assert "measuring 1 test again that may have regressed, process 2 of at most 3" in out
    assert "multiply +135 us (new, 3x)" in out
    assert (simulated.path / "nsys.html").is_file()
    assert reader.types("git checkout test_gelu.py")[0] == 0
    assert (simulated.path / "test_gelu.py").read_text() == TEST

    code, out = reader.types("pytest-nsys power test_gelu")
    assert (code, "baseline of 3 processes" in out) == (0, True), out
    reader.writes(f"{TEST}\n\n{RIGHT}")
    gate = "pytest --nsys-baseline --nsys-html=nsys.html --junitxml=junit.xml"
    code, out = reader.types(gate)
    assert code == 1, out
    assert "1 ok, 1 new" in out
    assert "no baseline yet" in out
    assert 'tests="2"' in (simulated.path / "junit.xml").read_text()

    reader.writes(TEST)
    code, out = reader.types("pytest --nsys --nsys-record=recording test_gelu.py")
    assert (code, "1 ok" in out) == (0, True), out
    code, out = reader.types("pytest-nsys judge recording")
    assert (code, "1 ok" in out) == (0, True), out
    assert reader.left == []
