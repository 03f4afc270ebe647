"""``--nsys-against``: two revisions of a project measured in one run."""

from __future__ import annotations

import sys
import textwrap
import types
from fnmatch import fnmatch
from pathlib import Path

import pytest

from pytest_nsys.controller import against
from pytest_nsys.controller.against import Checkout, check_out, prepare
from pytest_nsys.errors import RevisionError
from pytest_nsys.worker.session import strays
from tests.support.harness import Project, git

KERNEL = """
    import simgpu

    def work():
        simgpu.launch("gemm", {us})
"""
TESTS = """
    import pytest
    from mine import work

    @pytest.mark.nsys
    def test_kernel():
        work()
"""


@pytest.fixture
def repository(simulated: Project) -> Project:
    """A project in git with one commit, whose only test has a kernel of 1 ms."""
    simulated.ini("pythonpath = src")
    simulated.write(KERNEL.format(us=1000), "src/mine.py")
    simulated.write(TESTS)
    git(simulated.path, "init", "--quiet")
    git(simulated.path, "add", "pytest.ini", "src", "test_it.py")
    git(simulated.path, "commit", "--quiet", "-m", "one")
    return simulated


def test_the_working_tree_is_measured_against_a_commit(repository: Project) -> None:
    project = repository
    commit = git(project.path, "rev-parse", "HEAD")
    before = sorted((project.path / ".git").iterdir())
    project.write(KERNEL.format(us=1200), "src/mine.py")
    project.write(TESTS.replace("test_kernel", "test_later"), "test_more.py")
    arguments = ("-v", "--nsys-baseline", "--nsys-against=HEAD", "--nsys-processes=2")
    arguments += ("--rootdir", str(project.path))
    result, tests = project.results(
        *arguments, "test_it.py::test_kernel", "test_more.py::test_later"
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(
        [
            f"nsys: measuring 2 tests in one capture at HEAD ({commit[:10]}), process 1 of 2",
            "nsys: measuring 2 tests in one capture, process 1 of 2",
            "nsys: measuring 2 tests in one capture, process 2 of 2",
            f"nsys: measuring 1 test in one capture at HEAD ({commit[:10]}), process 2 of 2",
            "*gpu.kernel_time +20.0%, limit 3% or 5 us: gemm +200 us (1x); 1 ms -> 1.2 ms*",
            "to measure it again: pytest --nsys-against=HEAD test_it.py::test_kernel",
        ]
    )
    result.stdout.no_fnmatch_line("*--nsys-update*")
    assert tests["test_kernel"]["status"] == "regressed"
    assert tests["test_later"]["status"] == "new"
    assert not (project.path / "baselines").exists()
    assert sorted((project.path / ".git").iterdir()) == before, "nothing is left behind there"


def test_only_what_the_revision_does_not_have_is_new(repository: Project) -> None:
    """What cannot be imported, fails or is skipped there has nothing to be compared with."""
    repository.write("import no_such_module\n" + textwrap.dedent(TESTS), "test_broken.py")
    choosy = "import pytest; pytest.importorskip('no_such_module')\n"
    repository.write(choosy + textwrap.dedent(TESTS), "test_choosy.py")
    more = """
        @pytest.mark.nsys
        def test_fails():
            work()
            assert False, "not yet"

        @pytest.mark.nsys
        @pytest.mark.skip
        def test_skipped():
            work()
    """
    repository.write(textwrap.dedent(TESTS) + textwrap.dedent(more))
    git(repository.path, "add", ".")
    git(repository.path, "commit", "--quiet", "-m", "two")
    repository.write(TESTS, "test_broken.py")
    repository.write(TESTS, "test_choosy.py")
    more = more.replace("assert False", "assert True").replace("@pytest.mark.skip", "")
    more += """
        @pytest.mark.nsys
        def test_new():
            work()
    """
    repository.write(textwrap.dedent(TESTS) + textwrap.dedent(more))
    result, tests = repository.results(
        "--nsys-against=HEAD", "--nsys-processes=1", "test_broken.py", "test_it.py::test_fails",
        "test_it.py::test_skipped", "test_it.py::test_new", "test_choosy.py",
    )  # fmt: skip
    result.assert_outcomes(failed=2, passed=3)
    assert {name: test["status"] for name, test in tests.items()} == {
        "test_skipped": "incomparable",
        "test_kernel": "incomparable",
        "test_new": "new",
    }
    result.stdout.fnmatch_lines(
        [
            "the test cannot be compared with HEAD (*): the worker did not collect this test, *",
            "*ModuleNotFoundError: No module named 'no_such_module'",
            "the test cannot be compared with HEAD (*): it failed there (call)",
            "  AssertionError: not yet*",
            "incomparable: test_it.py::test_skipped",
            "  incomparable: there is nothing to compare with: it was skipped at HEAD (*)",
            "incomparable: test_choosy.py::test_kernel",
        ]
    )


def test_code_of_the_working_tree_is_not_taken_for_the_revision(
    repository: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(repository.path / "src")
    repository.write(f"import sys; sys.path.insert(0, {folder!r})", "conftest.py")
    git(repository.path, "add", "conftest.py")
    git(repository.path, "commit", "--quiet", "-m", "two")
    result = repository.run("--nsys-against=HEAD", "--nsys-processes=1", "test_it.py")
    result.stdout.fnmatch_lines(["*tests imported code of another checkout than their own*"])


def test_the_revision_may_have_an_environment_of_its_own(repository: Project) -> None:
    setup = f"{sys.executable} -c \"open('src/mine.py', 'a').write('\\nwork()\\n')\""
    result = repository.run(
        "--nsys-against=HEAD",
        "--nsys-processes=1",
        "-o",
        f"nsys_against_setup={setup}",
        "-o",
        f"nsys_against_python={sys.executable}",
        "test_it.py",
    )
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["nsys: preparing HEAD (*): *python* -c *"])
    assert "work()" not in (repository.path / "src/mine.py").read_text().splitlines()[-1]


def test_a_checkout_that_is_ready_is_taken_as_it_is(
    repository: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither side may import code of the other, or of what it is a clone of."""
    other, third = tmp_path / "other", tmp_path / "third"
    git(repository.path, "clone", "--quiet", str(repository.path), str(other))
    git(repository.path, "clone", "--quiet", str(other), str(third))
    (other / "src/mine.py").write_text((other / "src/mine.py").read_text().replace("1000", "800"))
    arguments = (f"--nsys-against={other}", "-o", "nsys_against_setup=false", "test_it.py")
    result, tests = repository.results(*arguments)
    assert tests["test_kernel"]["status"] == "regressed"
    result.stdout.fnmatch_lines(["*gpu.kernel_time +25.0%*"])
    commit = git(other, "rev-parse", "HEAD")[:10]
    result.stdout.fnmatch_lines([f"nsys: measuring 1 test in one capture at {other} ({commit})"])
    shadow = f"import sys; sys.path.insert(0, {str(other / 'src')!r})"
    (other / "conftest.py").write_text(shadow)
    monkeypatch.chdir(third)  # a clone of what it is compared with
    (third / "conftest.py").write_text(shadow)
    arguments = (f"--nsys-against={repository.path}", "--rootdir=.", "test_it.py")
    result = repository.pytester.runpytest_subprocess(*arguments)
    result.stdout.fnmatch_lines(["*tests imported code of another checkout than their own*"])
    result.stdout.fnmatch_lines([f"*{other}/src/mine.py*"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--nsys-against=./none",), "*./none is no checkout to compare with*no such folder*"),
        (("--nsys-against=.",), "*. is no checkout to compare with*the project itself*"),
        (("--nsys-against=/",), "*/ is no checkout to compare with*not a git repository*"),
        (("--nsys-against=nowhere",), "*there is no revision 'nowhere'*"),
        (("--nsys-against=--version",), "*there is no revision '--version'*"),
        (("--nsys-against=HEAD", "--nsys-update"), "*--nsys-against measures two revisions*"),
        (
            ("--nsys-against=HEAD", "-o", "nsys_against_setup=false"),
            "*the set-up of HEAD (*failed*",
        ),
    ],
)
def test_what_cannot_be_compared_is_a_usage_error(
    repository: Project, arguments: tuple[str, ...], said: str
) -> None:
    result = repository.run(*arguments, "test_it.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert fnmatch(str(result.stderr), said)


def test_a_set_up_has_a_deadline(
    repository: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    checkout = check_out("HEAD", repository.path, tmp_path)
    monkeypatch.setattr(against, "_SETUP_DEADLINE_S", 0.2)
    with pytest.raises(RevisionError, match=r"the set-up of HEAD .* failed") as caught:
        prepare(checkout, ["sleep", "60"])
    assert caught.value.evidence == "it did not end within 0.2 s"
    with pytest.raises(RevisionError, match=r"the set-up of HEAD .* failed") as caught:
        prepare(checkout, ["/no/such/program"])
    assert "No such file" in caught.value.evidence


def test_paths_into_the_project_lead_to_the_revision(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "tree", tmp_path / "top", "0123456789abcdef", "0123456")
    assert checkout.name == "0123456"
    top, tree = str(tmp_path / "top"), str(tmp_path / "tree")
    for text in (f"{top}/a b", f"--rootdir={top}", f"--x={top}/y"):
        assert checkout.mapped(text) == text.replace(top, tree)
    for text in ("tests", f"{top}-other/x", "-k", "a=b", f"name={top}", "", "/no\0", tree):
        assert checkout.mapped(text) == text


def test_links_into_the_project_lead_to_the_revision_too(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "top/tmp/tree", tmp_path / "top", "0123456789abcdef", "main")
    (tmp_path / "top/src").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "top")
    (tmp_path / "top/outside").symlink_to("/usr")
    assert checkout.mapped(f"{tmp_path}/link/src") == f"{tmp_path}/top/tmp/tree/src"
    assert checkout.mapped(f"{tmp_path}/top/outside") == f"{tmp_path}/top/tmp/tree/outside"
    inside = f"{tmp_path}/link/tmp/tree/src"
    assert checkout.mapped(inside) == inside, "the checkout may lie inside the project"


def test_modules_of_the_working_tree_are_seen_through_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "top/run/against").mkdir(parents=True)
    (tmp_path / "top/lib/site-packages").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "top")
    files = {
        "direct": "top/mine.py",
        "linked": "link/mine2.py",
        "there": "top/run/against/mine.py",
        "installed": "link/lib/site-packages/other.py",
        "elsewhere": "other/mine.py",
    }
    for name, file in files.items():
        module = types.ModuleType(f"strays_{name}")
        module.__file__ = str(tmp_path / file)
        monkeypatch.setitem(sys.modules, module.__name__, module)
    found = strays([tmp_path / "link"], tmp_path / "link/run")
    assert found == [str(tmp_path / "link/mine2.py"), str(tmp_path / "top/mine.py")]


def test_a_project_outside_git_has_no_revisions(simulated: Project) -> None:
    simulated.write(TESTS.replace("from mine import work", "work = int"))
    result = simulated.run("--nsys-against=HEAD", "test_it.py")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*git rev-parse failed*", "*not a git repository*"])
