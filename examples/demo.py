"""The gate at work, without a GPU: recordings from H200s against the baselines in git.

Of the examples and of a server there are two recordings each. The first is of the same code as the
baselines: it passes. In the second slips were made: it fails, and this script exits with 0 only if
it fails exactly so. HTML reports of the second ones are written.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent
SERVERS = EXAMPLES / "servers"
ENGINES = EXAMPLES / "engines"
REPORT = EXAMPLES.parent / "demo-report.html"
SERVER_REPORT = EXAMPLES.parent / "demo-server-report.html"
ENGINE_REPORT = EXAMPLES.parent / "demo-engine-report.html"

# What each slip must be caught by, among other things.
SLIPS = {
    "test_gelu": {"gpu.kernel_count", "gpu.kernel_time", "mem.peak"},
    "test_training_step": {"memcpy.d2h.count", "sync.count"},
    "test_attention": {"gpu.kernel_count", "gpu.kernel_time", "mem.peak"},
    "test_upload": {"memcpy.h2d.bytes", "memcpy.h2d.count"},
}
SERVER_SLIPS = {"test_serving": {"memcpy.d2h.bytes.per_token"}}
VLLM = "test_serving.py::test_serving[vllm]"
ENGINE_SLIPS = {"test_serving[vllm]": {"gpu.kernel_time.per_token"}}


def gate(folder: Path, recording: str, *args: str) -> tuple[int, dict[str, set[str]]]:
    """Judge a recording; returns the exit code and, per failed test, its regressed metrics."""
    with tempfile.TemporaryDirectory() as private:
        results = Path(private) / "results.json"
        command = [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--no-header"),
            "--nsys-baseline",
            "--nsys-table=all",
            f"--nsys-replay={Path('recordings') / recording}",
            f"--nsys-json={results}",
            *args,
        ]
        print(f"$ pytest {' '.join(command[3:])}", flush=True)
        code = subprocess.run(command, cwd=folder, check=False).returncode
        tests = json.loads(results.read_text(encoding="utf-8"))["tests"] if code < 2 else []
    failed = {
        test["nodeid"].partition("::")[2]: {
            metric["key"]
            for window in test["windows"]
            for metric in window["metrics"]
            if metric["status"] == "regressed"
        }
        for test in tests
        if test["failed"]
    }
    return code, failed


def passes(folder: Path, recording: str, *args: str) -> bool:
    """Whether the recording of unchanged code passes."""
    code, failed = gate(folder, recording, *args)
    return code == 0 and not failed


def catches(
    slips: dict[str, set[str]], folder: Path, recording: str, report: Path, *args: str
) -> bool:
    """Whether the tests with slips fail, no others, and each by what its slip changed."""
    code, failed = gate(folder, recording, f"--nsys-html={report}", *args)
    return (
        code == 1
        and failed.keys() == slips.keys()
        and all(metrics <= failed[name] for name, metrics in slips.items())
    )


def compares(folder: Path, recording: str, by: str) -> bool:
    """Whether the tests of a recording can be compared by one of their parameters."""
    compared = f"recordings/{recording}"
    command = [sys.executable, "-m", "pytest_nsys", "compare", compared, f"--by={by}"]
    command += ["--range=concurrency-1", "--top=3"]
    print(f"$ {' '.join(('pytest-nsys', *command[3:]))}", flush=True)
    return subprocess.run(command, cwd=folder, check=False).returncode == 0


def main() -> int:
    print("1. The code of the baselines, measured again: it must pass.\n")
    right = [passes(EXAMPLES, "h200")]
    print("\n2. The same tests with four slips in them: the gate must catch each.\n")
    right += [catches(SLIPS, EXAMPLES, "h200-slips", REPORT)]
    print("\n3. A server, `transformers serve` with a random Llama, under three kinds of load: it")
    print("   must pass. (Its clients' times scatter, which is said, and fails nothing.)\n")
    right += [passes(SERVERS, "h200")]
    print("\n4. The server copies its hidden states to the host in each step: it must be caught.\n")
    right += [catches(SERVER_SLIPS, SERVERS, "h200-slip", SERVER_REPORT)]
    print("\n5. vLLM with a random Llama of 1.5 GB, started again: it must pass.\n")
    right += [passes(ENGINES, "h200-vllm", VLLM)]
    print(
        "\n6. With an fp8 KV cache, which costs more than it saves with prompts so short: it must"
    )
    print("   be caught.\n")
    right += [catches(ENGINE_SLIPS, ENGINES, "h200-vllm-fp8", ENGINE_REPORT, VLLM)]
    print(
        "\n7. vLLM, SGLang and transformers serve under the same load: their kernel time per token,"
    )
    print("   and the tokens per second that it allows.\n")
    right += [compares(ENGINES, "h200-engines", "engine")]
    print()
    wrong = [str(number) for number, fine in enumerate(right, 1) if not fine]
    if wrong:
        print(f"NOT as it should be: {' and '.join(wrong)}")
        return 1
    print("As it should be: what was not changed passed, and each of the six changes was caught")
    print("by its cause. The reports of those that failed:")
    print(f"{REPORT}\n{SERVER_REPORT}\n{ENGINE_REPORT}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
