"""The table: which plugins and options are tried, and what is right beside each."""

from __future__ import annotations

from tests.compat.case import TWO, TWO_OUTCOMES, Case, Group, M


def passing(*names: str, failing: tuple[str, ...] = ()) -> dict[str, str]:
    """The outcomes of tests that pass, and of those that fail."""
    return {**dict.fromkeys(names, "passed"), **dict.fromkeys(failing, "failed")}


_SIX = "".join(f"{M}def test_{n}():\n    simgpu.launch('gemm', 40)\n\n" for n in range(6))

REPORTS = (
    Case(
        "cov",
        "pytest-cov",
        ("pytest_cov",),
        args=("--cov=.", "--cov-report=xml"),
        has={"coverage.xml": "test_cov.py"},
        works="covered outside their rounds; those without a warm-up are called once more",
    ),
    Case(
        "html",
        "pytest-html",
        ("html", "html_fixtures"),
        args=("--html=page.html", "--self-contained-html"),
        has={"page.html": "test_html.py::test_fails"},
        works="each test once, with its verdict",
    ),
    Case("metadata", "pytest-metadata", ("metadata",), args=("--metadata", "a", "b")),
    Case(
        "json_report",
        "pytest-json-report",
        ("pytest_jsonreport",),
        args=("--json-report",),
        has={
            ".report.json": "test_json_report.py::test_passes",
            ".report.*": '{"nsys.gpu.kernel_time": 400000}',
            "junit.xml": '<property name="nsys.gpu.kernel_time" value="400000" />',
        },
        code=TWO + f"{M}def test_meta(json_metadata):\n    json_metadata['a'] = 1\n",
        outcomes={**TWO_OUTCOMES, "test_meta": "passed"},
        works="each test once, with its verdict, metadata and, as `user_properties`, its numbers",
    ),
    Case(
        "allure",
        "allure-pytest",
        ("allure_pytest",),
        args=("--alluredir=allure", "--clean-alluredir"),
        code=f"""
import allure
@allure.title("with a title")
{M}
def test_allure():
    with allure.step("one"):
        simgpu.launch("gemm", 40)
    allure.attach("x", "name", allure.attachment_type.TEXT)
""",
        outcomes=passing("test_allure"),
        has={"allure/*-result.json": "with a title"},
        works="one result a test, with its verdict, steps and attachments of the last call",
    ),
    Case(
        "reportlog",
        "pytest-reportlog",
        ("pytest_reportlog",),
        args=("--report-log=log.jsonl",),
        has={"log.jsonl": "test_reportlog.py::test_fails"},
    ),
    Case("instafail", "pytest-instafail", ("instafail",), args=("--instafail",)),
    Case("sugar", "pytest-sugar", ("sugar",)),
    Case(
        "annotate",
        "pytest-github-actions-annotate-failures",
        ("pytest_github_actions_annotate_failures",),
        env={"GITHUB_ACTIONS": "true"},
        prints=("*::error file=*test_annotate.py*",),
    ),
    Case(
        "timeout",
        "pytest-timeout",
        ("timeout",),
        args=("--session-timeout=600",),
        code=f"""
import time
@pytest.mark.timeout(4)
{M}
def test_each_call_has_the_limit():
    simgpu.launch("gemm", 40)
    time.sleep(1.5)
@pytest.mark.timeout(0.5)
{M}
def test_too_long():
    time.sleep(20)
""",
        outcomes=passing("test_each_call_has_the_limit", failing=("test_too_long",)),
        works="the limit is that of one call of the body",
    ),
    Case(
        "xdist",
        "pytest-xdist",
        ("xdist",),
        args=("-n0", "--dist=no"),
        code=TWO + f"{M}def test_id(worker_id):\n    assert worker_id == 'gw0'\n",
        outcomes={**TWO_OUTCOMES, "test_id": "passed"},
        works="shares measured tests among GPUs, see [many GPUs](many-gpus.md); without -n the "
        "worker is gw0",
    ),
    Case(
        "rerunfailures",
        "pytest-rerunfailures",
        ("rerunfailures",),
        args=("--strict-markers",),
        code=f"@pytest.mark.flaky(reruns=2)\n{M}def test_once():\n    simgpu.launch('gemm', 40)\n",
        outcomes=passing("test_once"),
        prints=("note: measured tests are not rerun *",),
        works="measured tests are not run again when they fail, and the summary says so",
    ),
    Case("durations", args=("--durations=3", "--durations-min=0")),
)

BODIES = (
    Case(
        "asyncio",
        "pytest-asyncio",
        ("asyncio",),
        ini=("asyncio_default_fixture_loop_scope = function",),
        code=f"""
import asyncio, pytest_asyncio
@pytest_asyncio.fixture
async def thing():
    await asyncio.sleep(0)
    yield 3
@pytest.mark.asyncio
{M}
async def test_async(thing):
    await asyncio.sleep(0)
    simgpu.launch("gemm", 40)
@pytest.mark.asyncio
{M}
async def test_fails(thing):
    simgpu.launch("gemm", 40)
    assert 0
""",
        outcomes=passing("test_async", failing=("test_fails",)),
        works="coroutines are measured",
    ),
    Case(
        "anyio",
        "anyio",
        ("anyio",),
        code=f"""
import anyio
@pytest.fixture
def anyio_backend():
    return "asyncio"
@pytest.mark.anyio
{M}
async def test_async():
    await anyio.sleep(0)
    simgpu.launch("gemm", 40)
""",
        outcomes=passing("test_async"),
        works="coroutines are measured",
    ),
    Case(
        "hypothesis",
        "hypothesis",
        ("hypothesispytest",),
        args=("--hypothesis-seed=3",),
        code=f"""
from hypothesis import given, settings, strategies as st
{M}
@settings(max_examples=5, deadline=None, database=None)
@given(n=st.integers(1, 3))
def test_given(n):
    simgpu.launch("gemm", 40 * n)
{M}
@settings(max_examples=5, deadline=None, database=None)
@given(n=st.integers(1, 3))
def test_fails(n):
    assert n < 0
""",
        outcomes=passing("test_given", failing=("test_fails",)),
        works="a round is all examples of a call",
    ),
    Case(
        "mock",
        "pytest-mock",
        ("pytest_mock",),
        code=f"""
import os
@pytest.fixture
def made(mocker):
    return mocker.Mock()
@pytest.fixture
def patched(mocker):
    return mocker.patch("os.getcwd", return_value="x")
{M}
def test_mock(mocker, made, patched):
    simgpu.launch("gemm", 40)
    spied = mocker.spy(os.path, "join")
    made()
    os.path.join(os.getcwd(), "y")
    made.assert_called_once_with()
    patched.assert_called_once_with()
    assert spied.call_count == 1
""",
        outcomes=passing("test_mock"),
        works="patches of the body are undone before each other call; calls are counted anew",
    ),
    Case(
        "subtests",
        "pytest-subtests",
        ("subtests",),
        code=f"""
{M}
def test_subs(subtests):
    for i in range(2):
        with subtests.test(i=i):
            simgpu.launch("gemm", 40)
""",
        outcomes=passing("test_subs"),
        works="subtests are reported from the first call; also those of pytest 9 and unittest",
    ),
    Case(
        "benchmark",
        "pytest-benchmark",
        ("benchmark",),
        args=("--benchmark-quiet", "--benchmark-json=benchmark.json"),
        ini=("nsys_adopt = benchmark",),
        code=f"""
def work(us):
    simgpu.launch("gemm", us)
    return us
{M}
def test_bench(benchmark):
    simgpu.launch("before", 100)
    assert benchmark(work, 40) == 40
    assert benchmark.stats["rounds"] == 2 and benchmark.stats.stats.min > 0
    benchmark.extra_info["tflops"] = 1 / benchmark.stats.stats.mean
{M}
def test_pedantic(benchmark):
    made = []
    def setup():
        made.append(1)
        return (40,), {{}}
    assert benchmark.pedantic(work, setup=setup, rounds=9, iterations=1) == 40
    assert len(made) == 3
{M}
@pytest.mark.benchmark(group="g", disable_gc=True)
def test_decorator(benchmark):
    @benchmark
    def result():
        return work(40)
    assert result == 40
{M}
def test_twice(benchmark):
    benchmark(work, 40)
    benchmark(work, 40)
@pytest.mark.nsys(rounds=2, budget={{"gpu.kernel_count": 1}})
def test_body_without_it():
    work(40)
def test_adopted(benchmark):
    benchmark(work, 40)
def test_plain():
    pass
""",
        outcomes=passing(
            *("test_bench", "test_pedantic", "test_decorator", "test_body_without_it"),
            *("test_adopted", "test_plain"),
            failing=("test_twice",),
        ),
        prints=(
            *("*test_bench  *  40 us *", "*test_pedantic  *  40 us *", "*test_adopted  *  40 us *"),
            *("*FixtureAlreadyUsed*", "*Not saving anything, no benchmarks have been run!*"),
        ),
        has={"junit.xml": "extra_info.tflops"},
        works="what `benchmark` is given is measured in its place, see "
        "[adopting benchmarks](adopting.md)",
    ),
    Case(
        "check",
        "pytest-check",
        ("check",),
        code=f"""
from pytest_check import check
{M}
def test_check():
    simgpu.launch("gemm", 40)
    check.equal(1, 1)
{M}
def test_fails():
    simgpu.launch("gemm", 40)
    check.equal(1, 2)
""",
        outcomes=passing("test_check", failing=("test_fails",)),
    ),
    Case(
        "bdd",
        "pytest-bdd",
        ("pytest-bdd",),
        code=f"""
from pytest_bdd import given, scenario, then, when
{M}
@scenario("a.feature", "Works")
def test_bdd():
    pass
@given("a gpu", target_fixture="gpu")
def gpu():
    return []
@when("it works")
def works(gpu):
    simgpu.launch("gemm", 40)
    gpu.append(1)
@then("it is done")
def done(gpu):
    assert gpu
""",
        outcomes=passing("test_bdd"),
        files={
            "a.feature": "Feature: A\n  Scenario: Works\n"
            "    Given a gpu\n    When it works\n    Then it is done\n"
        },
        works="a round is all steps of the scenario",
    ),
    Case(
        "order",
        "pytest-order",
        ("pytest_order",),
        code=f"""
@pytest.mark.order(1)
{M}
def test_first():
    simgpu.launch("gemm", 40)
""",
        outcomes=passing("test_first"),
    ),
    Case(
        "env",
        "pytest-env",
        ("env",),
        ini=("env =", "  MY_VARIABLE=of the ini file"),
        code=f"""
import os
{M}
def test_env():
    simgpu.launch("gemm", 40)
    assert os.environ["MY_VARIABLE"] == "of the ini file"
""",
        outcomes=passing("test_env"),
    ),
    Case(
        "dependency",
        "pytest-dependency",
        ("dependency",),
        code=f"""
@pytest.mark.dependency
def test_plain():
    pass
@pytest.mark.dependency(depends=["test_plain"])
{M}
def test_measured():
    simgpu.launch("gemm", 40)
@pytest.mark.dependency(depends=["test_measured"])
def test_after():
    pass
@pytest.mark.dependency
{M}
def test_fails():
    assert 0
@pytest.mark.dependency(depends=["test_fails"])
{M}
def test_without():
    simgpu.launch("gemm", 40)
""",
        outcomes={
            **passing("test_plain", "test_measured", "test_after", failing=("test_fails",)),
            "test_without": "skipped",
        },
        works="marks hold between all tests; `depends()` in a body knows measured ones alone",
    ),
    Case(
        "syrupy",
        "syrupy",
        ("syrupy",),
        code=f"""
{M}
def test_marked(snapshot):
    simgpu.launch("gemm", 40)
    assert {{"a": 1}} == snapshot
    assert 2 == snapshot
def test_plain(snapshot):
    assert 3 == snapshot
""",
        outcomes=passing("test_marked", "test_plain"),
        args=("--snapshot-update",),
        has={"__snapshots__/test_syrupy.ambr": "# name: test_marked.1"},
        works="snapshots are numbered in each call anew, and those of measured tests are used ones",
    ),
    Case(
        "inline_snapshot",
        "inline-snapshot",
        ("inline_snapshot",),
        args=("--inline-snapshot=report",),
        code=f"""
from inline_snapshot import snapshot
{M}
def test_measured():
    simgpu.launch("gemm", 40)
    assert 1 == snapshot(1)
{M}
def test_fails():
    simgpu.launch("gemm", 40)
    assert 1 == snapshot(2)
def test_plain():
    assert 1 == snapshot(1)
""",
        outcomes=passing("test_measured", "test_plain", failing=("test_fails",)),
        works="compared, and left out of its report",
    ),
    Case(
        "regressions",
        "pytest-regressions",
        ("regressions", "pytest-datadir"),
        code=f"""
{M}
def test_data(data_regression):
    simgpu.launch("gemm", 40)
    data_regression.check({{"a": 1}})
""",
        outcomes=passing("test_data"),
        files={"test_regressions/test_data.yml": "a: 1\n"},
    ),
    Case(
        "lazy_fixtures",
        "pytest-lazy-fixtures",
        ("pytest_lazyfixture",),
        code=f"""
from pytest_lazy_fixtures import lf
@pytest.fixture
def one():
    return 1
@pytest.mark.parametrize("n", [lf("one")])
{M}
def test_lazy(n):
    simgpu.launch("gemm", 40)
    assert n == 1
""",
        outcomes=passing("test_lazy[one]"),
    ),
    Case(
        "repeat",
        "pytest-repeat",
        ("repeat",),
        code=f"""
@pytest.mark.repeat(2)
{M}
def test_repeated():
    simgpu.launch("gemm", 40)
""",
        outcomes=passing("test_repeated[1-2]", "test_repeated[2-2]"),
        works="each repetition is a test of its own",
    ),
    Case("typeguard", "typeguard", ("typeguard",), args=("--typeguard-packages=json.tool",)),
    Case(
        "built_in",
        code=f"""
import logging, warnings
{M}
def test_state(capsys, caplog, recwarn, monkeypatch, tmp_path):
    simgpu.launch("gemm", 40)
    print("x")
    logging.getLogger().warning("y")
    warnings.warn("z")
    assert capsys.readouterr().out == "x\\n"
    assert len(caplog.records) == len(recwarn) == 1
    monkeypatch.setenv("A", "b", prepend=":")
    (tmp_path / "folder").mkdir()
""",
        outcomes=passing("test_state"),
        works="`capsys`, `caplog`, `recwarn`, `monkeypatch` and `tmp_path` are those of one call",
    ),
)

ALONE = (
    Group(
        "randomly",
        (
            Case(
                "randomly",
                "pytest-randomly",
                ("randomly",),
                code=f"""
import random
SEEN = set()
{M}
def test_seeded():
    simgpu.launch("gemm", 40)
    SEEN.add(random.random())
    assert len(SEEN) == 1
{M}
def test_other():
    simgpu.launch("gemm", 40)
""",
                outcomes=passing("test_seeded", "test_other"),
                works="the worker has the seed and order; each call begins with the seed",
            ),
        ),
    ),
    Group(
        "random_order",
        (Case("random_order", "pytest-random-order", ("random_order",), args=("--random-order",)),),
    ),
    Group(
        "split",
        (
            Case(
                "split",
                "pytest-split",
                ("pytest-split",),
                args=("--splits=2", "--group=1"),
                code=_SIX,
                outcomes=passing("test_0", "test_1", "test_2"),
                works="each group's tests are measured once",
            ),
        ),
    ),
    Group(
        "mpl",
        (
            Case(
                "mpl",
                "pytest-mpl",
                ("pytest_mpl",),
                args=("--mpl", "--mpl-baseline-path=base"),
                code=f"""
@pytest.mark.mpl_image_compare(tolerance=10)
{M}
def test_figure():
    import matplotlib
    matplotlib.use("agg")
    import matplotlib.pyplot as plt
    simgpu.launch("gemm", 40)
    figure, axes = plt.subplots()
    axes.plot([1, 2, 3])
    return figure
@pytest.mark.mpl_image_compare(tolerance=2)
{M}
def test_no_baseline():
    import matplotlib.pyplot as plt
    return plt.figure()
""",
                outcomes=passing("test_figure", failing=("test_no_baseline",)),
                setup=("--mpl-generate-path=base", "-k", "test_figure"),
            ),
        ),
    ),
)

RARE = (
    Group(
        "rare_reports",
        (
            Case(
                "tap",
                "pytest-tap",
                ("tap",),
                args=("--tap-files",),
                has={"test_tap.py.tap": "test_tap.py::test_fails"},
                without=("newest",),
            ),
            Case(
                "nunit",
                "pytest-nunit",
                ("nunit",),
                args=("--nunit-xml=nunit.xml",),
                has={"nunit.xml": "test_fails"},
            ),
            Case(
                "md",
                "pytest-md",
                ("md",),
                args=("--md=report.md",),
                has={"report.md": "failed"},
            ),
            Case(
                "monitor",
                "pytest-monitor",
                ("monitor",),
                args=("--no-monitor",),
                works="loaded, with `--no-monitor`",
                remedy="what it measures of a worker is that of nsys, too",
            ),
            Case(
                "harvest",
                "pytest-harvest",
                ("harvest",),
                works="what measured tests harvest stays in the worker",
            ),
            Case("progress", "pytest-progress", ("progress",)),
            Case("picked", "pytest-picked", ("picked",)),
            Case("icdiff", "pytest-icdiff", ("icdiff",)),
            Case("xprocess", "pytest-xprocess", ("xprocess",)),
            Case("loguru", "pytest-loguru", ("loguru",)),
            Case(
                "httpserver",
                "pytest-httpserver",
                ("pytest_httpserver",),
                code=f"""
import urllib.request
{M}
def test_server(httpserver):
    httpserver.expect_request("/a").respond_with_data("b")
    simgpu.launch("gemm", 40)
    assert urllib.request.urlopen(httpserver.url_for("/a")).read() == b"b"
""",
                outcomes=passing("test_server"),
            ),
            Case(
                "snapshot",
                "pytest-snapshot",
                ("snapshot",),
                code=f"""
{M}
def test_snapshot(snapshot):
    simgpu.launch("gemm", 40)
    snapshot.assert_match("a", "b.txt")
""",
                outcomes=passing("test_snapshot"),
                files={"snapshots/test_snapshot/test_snapshot/b.txt": "a"},
            ),
            Case(
                "unordered",
                "pytest-unordered",
                ("unordered",),
                code=f"""
from pytest_unordered import unordered
{M}
def test_unordered():
    simgpu.launch("gemm", 40)
    assert [1, 2] == unordered(2, 1)
""",
                outcomes=passing("test_unordered"),
            ),
            Case(
                "freezegun",
                "pytest-freezegun",
                ("freezegun",),
                code=f"""
import datetime
@pytest.mark.freeze_time("2020-01-01")
{M}
def test_frozen():
    simgpu.launch("gemm", 40)
    assert datetime.date.today().year == 2020
""",
                outcomes=passing("test_frozen"),
            ),
            Case(
                "cases",
                "pytest-cases",
                ("cases",),
                without=("newest",),
                code=f"""
from pytest_cases import parametrize_with_cases
def case_a():
    return 1
@parametrize_with_cases("n", cases=".")
{M}
def test_cases(n):
    simgpu.launch("gemm", 40)
    assert n == 1
""",
                outcomes=passing("test_cases[a]"),
            ),
            Case("socket", "pytest-socket", ("socket",)),
        ),
        usual=False,
    ),
    Group(
        "flaky",
        (
            Case(
                "flaky",
                "flaky",
                ("flaky.flaky_pytest_plugin",),
                code=f"""
from flaky import flaky
@flaky
{M}
def test_passes():
    simgpu.launch("gemm", 40)
@flaky
{M}
def test_fails():
    simgpu.launch("gemm", 40)
    assert 0
@flaky
def test_plain():
    pass
""",
                prints=("note: measured tests are not rerun *",),
                works="measured tests are not run again when they fail, and the summary says so",
            ),
        ),
        usual=False,
    ),
    Group(
        "retry",
        (
            Case(
                "retry",
                "pytest-retry",
                ("pytest-retry",),
                args=("--retries=1",),
                prints=("note: measured tests are not rerun *",),
                works="measured tests are not run again when they fail, and the summary says so",
            ),
        ),
        usual=False,
    ),
    Group(
        "shard",
        (
            Case(
                "shard", "pytest-shard", ("pytest-shard",), args=("--num-shards=1", "--shard-id=0")
            ),
        ),
        usual=False,
    ),
    Group(
        "trio",
        (
            Case(
                "trio",
                "pytest-trio",
                ("trio",),
                code=f"""
import trio
@pytest.mark.trio
{M}
async def test_trio():
    await trio.sleep(0)
    simgpu.launch("gemm", 40)
""",
                outcomes=passing("test_trio"),
                works="coroutines are measured",
            ),
        ),
        usual=False,
    ),
    Group(
        "codspeed",
        (
            Case(
                "codspeed",
                "pytest-codspeed",
                ("codspeed",),
                ini=("nsys_adopt = benchmark",),
                code=f"""
{M}
def test_bench(codspeed_benchmark):
    simgpu.launch("before", 100)
    codspeed_benchmark(lambda: simgpu.launch("gemm", 40))
{M}
def test_pedantic(codspeed_benchmark):
    given = []
    codspeed_benchmark.pedantic(simgpu.launch, ("gemm", 40), setup=lambda *args: given.append(args))
    assert given == [("gemm", 40)] * 3
def test_adopted(codspeed_benchmark):
    codspeed_benchmark(simgpu.launch, "gemm", 40)
@pytest.mark.benchmark
def test_marked():
    simgpu.launch("gemm", 40)
""",
                outcomes=passing("test_bench", "test_pedantic", "test_adopted", "test_marked"),
                prints=(
                    "*test_bench  *  40 us *",
                    "*test_adopted *  40 us *",
                    "*test_marked *  40 us *",
                ),
                works="what `benchmark` is given is measured in its place, see "
                "[adopting benchmarks](adopting.md); nothing is sent",
            ),
        ),
        usual=False,
    ),
    Group(
        "benchmark_only",
        (
            Case(
                "benchmark_only",
                plugins=("benchmark",),
                args=("--benchmark-only",),
                code=f"""
{M}
def test_bench(benchmark):
    benchmark(simgpu.launch, "gemm", 40)
{M}
def test_body():
    simgpu.launch("gemm", 40)
""",
                outcomes={"test_bench": "passed", "test_body": "skipped"},
                works="skips measured tests that are no benchmarks, too",
            ),
        ),
        usual=False,
    ),
    Group(
        "memray",
        (
            Case(
                "memray",
                "pytest-memray",
                ("memray",),
                args=("--memray",),
                code=f"""
@pytest.mark.limit_memory("100 MB")
{M}
def test_limit():
    simgpu.launch("gemm", 40)
@pytest.mark.limit_memory("1 MB")
{M}
def test_broken():
    x = bytearray(20_000_000)
""",
                outcomes=passing("test_limit", failing=("test_broken",)),
                works="limits hold",
                remedy="it slows what it watches: leave out --memray where times are compared",
            ),
        ),
        usual=False,
    ),
    Group("rich", (Case("rich", "pytest-rich", ("rich",)),), usual=False),
    Group(
        "doctest",
        (
            Case(
                "doctest",
                args=("--doctest-modules",),
                code=TWO.replace("pass\n", '"""\n    >>> 1\n    1\n    """\n'),
                outcomes={**TWO_OUTCOMES, "test_doctest.test_plain": "passed"},
            ),
        ),
        usual=False,
    ),
    Group(
        "last_failed",
        (
            Case(
                "last_failed", args=("--lf",), outcomes={"test_fails": "failed"}, setup=("--nsys",)
            ),
        ),
        usual=False,
    ),
    Group(
        "stepwise",
        (
            Case(
                "stepwise",
                args=("--stepwise",),
                outcomes={"test_passes": "passed", "test_fails": "failed"},
            ),
        ),
        usual=False,
    ),
    Group(
        "importlib",
        (Case("importlib", args=("--import-mode=importlib", "-Werror::UserWarning")),),
        usual=False,
    ),
    Group("log_cli", (Case("log_cli", args=("--log-cli-level=DEBUG", "-s", "-v")),), usual=False),
    Group(
        "strict",
        (Case("strict", ini=("strict = true",), without=("oldest",), works="all that is strict"),),
        usual=False,
    ),
)

REFUSED = (
    Case(
        "inline_snapshot_create",
        "inline-snapshot",
        ("inline_snapshot",),
        args=("--inline-snapshot=create",),
        refused="--inline-snapshot (inline-snapshot) cannot be used while tests are profiled",
        remedy="change snapshots in a plain run",
    ),
    Case(
        "forked",
        "pytest-forked",
        ("pytest_forked",),
        args=("--forked",),
        refused="--forked (pytest-forked) cannot be used while tests are profiled",
        works="loaded, without --forked",
        remedy="leave out --forked while tests are profiled",
    ),
    Case(
        "run_parallel",
        "pytest-run-parallel",
        ("run-parallel",),
        args=("--parallel-threads=4",),
        refused="--parallel-threads (pytest-run-parallel) cannot be used while tests are profiled",
        works="loaded, without --parallel-threads",
        remedy="leave out --parallel-threads while tests are profiled",
    ),
)

GROUPS = (Group("reports", REPORTS), Group("bodies", BODIES), *ALONE, *RARE)
