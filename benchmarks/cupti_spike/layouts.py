"""Whether the offsets and sizes of `records` are those of NVIDIA's headers.

    python -m benchmarks.cupti_spike.layouts --cuda /usr/local/cuda/include FOLDER ...

Each FOLDER has a ``cupti_activity.h``, such as ``nvidia/cu13/include`` of the package
nvidia-cuda-cupti. A C program is compiled with it (gcc) and asked.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from pytest_nsys.capture.cupti.records import (
    DRIVER,
    FIELDS,
    KERNEL,
    MEMCPY,
    MEMORY,
    MEMSET,
    PEER,
    RUNTIME,
    SYNCHRONIZATION,
    dtype_of,
    sizes_of,
)

_STRUCTS = {
    KERNEL: "Kernel",
    MEMCPY: "Memcpy",
    PEER: "MemcpyPtoP",
    MEMSET: "Memset",
    RUNTIME: "API",
    DRIVER: "API",
    SYNCHRONIZATION: "Synchronization",
    MEMORY: "Memory",
}
_SPELLED = {
    "direction": "copyKind",
    "source": "srcKind",
    "target": "dstKind",
    "device": "deviceId",
    "context": "contextId",
    "stream": "streamId",
    "source_device": "srcDeviceId",
    "target_device": "dstDeviceId",
    "correlation": "correlationId",
    "node": "graphNodeId",
    "process": "processId",
    "thread": "threadId",
    "memory": "memoryKind",
    "operation": "memoryOperationType",
    "pool_kind": "memoryPoolConfig.memoryPoolType",
    "pool": "memoryPoolConfig.address",
    "used": "memoryPoolConfig.utilizedSize",
    "registers": "registersPerThread",
    "result": "returnValue",
    "static_shared": "staticSharedMemory",
    "dynamic_shared": "dynamicSharedMemory",
    "local": "localMemoryPerThread",
    **{f"{what}_{way}": f"{what}{way.upper()}" for what in ("grid", "block") for way in "xyz"},
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--cuda", type=Path, required=True, help="the folder of cuda.h")
    given = parser.parse_args()
    wrong = 0
    for folder in given.folders:
        version, found = differences(folder, given.cuda)
        wrong += len(found)
        print(f"CUPTI {version}: {', '.join(found) or 'as expected'}")
    return min(wrong, 1)


def differences(folder: Path, cuda: Path) -> tuple[int, list[str]]:
    """The version of the headers, and what in them is otherwise."""
    text = (folder / "cupti_activity.h").read_text(encoding="utf-8", errors="replace")
    header = (folder / "cupti_version.h").read_text(encoding="utf-8", errors="replace")
    version = int(re.findall(r"#define CUPTI_API_VERSION\s+(\d+)", header)[0])
    lines, expected = [], []
    for kind, stem in _STRUCTS.items():
        newest = sorted(
            (int(number or 1), name)
            for name, number in re.findall(rf"\}} (CUpti_Activity{stem}(\d*));", text)
        )[-1][1]
        size = sizes_of(version)[kind]
        expected.append((f"size of {newest}", size))
        lines.append(f"sizeof({newest})")
        # A moment of memory is no span.
        spelled = _SPELLED | ({"start": "timestamp"} if kind == MEMORY else {})
        for name, (dtype, offset) in (dtype_of(kind, size).fields or {}).items():
            field = spelled.get(name, name)
            expected += [(f"{newest}.{field}", offset), (f"width of {field}", dtype.itemsize)]
            lines += [f"offsetof({newest}, {field})", f"sizeof((({newest}*)0)->{field})"]
    assert FIELDS.keys() == _STRUCTS.keys()
    found = _asked(lines, [folder, cuda])
    return version, [
        f"{what} is {has}, not {want}"
        for (what, want), has in zip(expected, found, strict=True)
        if want != has
    ]


def _asked(lines: list[str], includes: list[Path]) -> list[int]:
    prints = "".join(f'printf("%zu\\n", (size_t)({line}));' for line in lines)
    heads = "".join(f"#include <{one}.h>\n" for one in ("stdio", "stddef", "cuda"))
    source = f"{heads}#include <cupti_activity.h>\nint main(void) {{ {prints} return 0; }}\n"
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "asks"
        program.with_suffix(".c").write_text(source, encoding="utf-8")
        flags = [f"-I{one}" for one in includes]
        command = ["gcc", "-w", *flags, str(program.with_suffix(".c")), "-o", str(program)]
        subprocess.run(command, check=True)
        done = subprocess.run([str(program)], capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


if __name__ == "__main__":
    sys.exit(main())
