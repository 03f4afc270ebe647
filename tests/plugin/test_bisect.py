"""``pytest-nsys bisect``, with pytest, a stand-in for nsys and the simulated GPU."""

from __future__ import annotations

import pytest

from pytest_nsys.cli.main import main
from tests.support.commits import make_history, work
from tests.support.harness import Project


@pytest.mark.usefixtures("simulated")
def test_the_commit_is_found_in_a_real_project(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder of the repository, with a test that GOOD lacks; one of the commits is broken."""
    slow, fast = work(("gemm", 1040), ("relu", 50)), work(("gemm", 1000), ("relu", 50))
    modules = [fast, fast, "import no_such_module\n", fast, slow, slow]
    changes = [{"src/mine.py": text, "n": f"{n}"} for n, text in enumerate(modules)]
    changes[-1]["deep/x"] = changes[0]["deep/x"] = ""
    hashes = make_history(project.path / "repository", changes)
    deep = project.path / "repository/deep"
    test = (deep.parent / "test_it.py").read_text()
    (deep / "test_new.py").write_text(test.replace("test_step", "test_new"))
    (deep.parent / "src/mine.py").write_text("import not_this_one")
    monkeypatch.chdir(deep)
    more = ("--", "--nsys-processes=1", "-p", "no:randomly")
    code = main(["bisect", f"{hashes[0]}..main", "test_new.py", *more])
    out = capsys.readouterr().out
    assert code == 0, out
    parent = hashes[3][:10]
    for line in (
        f"{hashes[4][:10]} is the first commit that made deep/test_new.py::test_new",
        f"  change   gpu.kernel_time +3.8% (1.05 ms -> 1.09 ms), beside its parent {parent}",
        "  culprit  gemm +40 us (1x)",
        "        ModuleNotFoundError: No module named 'no_such_module'",
    ):
        assert line in out.splitlines(), out
