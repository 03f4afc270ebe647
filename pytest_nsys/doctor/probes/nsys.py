"""Probes of nsys itself: which there are, and whether the one used is whole."""

from __future__ import annotations

from pytest_nsys.capture.installation import Installation, find_installation
from pytest_nsys.capture.nsys import NsysTool
from pytest_nsys.doctor.context import CheckResult, ProbeContext
from pytest_nsys.doctor.machine import Machine
from pytest_nsys.errors import NsysNotFound

# Where nsys lies, also where we do not look for it by ourselves. "*" in place of the processor.
_PLACES = (
    "/opt/nvidia/nsight-systems*/*/bin/nsys",
    "/opt/nvidia/nsight-systems*/*/target-linux-*/nsys",
    "/usr/local/cuda*/bin/nsys",
    "/opt/nvidia/hpc_sdk/Linux_*/*/profilers/Nsight_Systems/bin/nsys",
    "/usr/lib/*/nsight-systems/target-linux-*/nsys",
    "/opt/nvidia/nsight-compute/*/host/target-linux-*/nsys",
    "/usr/local/cuda*/nsight-compute-*/host/target-linux-*/nsys",
    "/usr/local/NVIDIA-Nsight-Compute*/host/target-linux-*/nsys",
)
_MOST_OTHERS = 8

_DEBIAN_IMPORTER = "/usr/lib/nsight-systems/host-linux-x64"
_DWARF = "libdw.so.1"
_LDD_DEADLINE_S = 20.0
_OLDEST_WITH_DWARF = (2024, 1, 0)
_DWARF_REMEDY = (
    "install the package libdw1 (Debian, Ubuntu) or elfutils-libs (Red Hat); without root, "
    "scripts/setup-nsys-from-ncu of this project's repository puts the library beside nsys"
)


def find(machine: Machine, executable: str | None) -> tuple[ProbeContext, list[CheckResult]]:
    """The nsys that will be used, and what is to be said of it and of others.

    Args:
        machine: where to look.
        executable: the nsys that the user asked for, if any.
    """
    try:
        nsys = machine.find_nsys(executable)
    except NsysNotFound as error:
        context = ProbeContext(machine, None)
        result = CheckResult("nsys", "problem", error.what, error.evidence, error.remedy)
        return context, [result, *misplaced(context)]
    context = ProbeContext(machine, nsys)
    found = others(context)
    newer = [other for other in found if other.version > nsys.version]
    return context, [
        CheckResult(
            "nsys",
            "ok",
            f"nsys {nsys.version_text} is used",
            "\n".join([str(nsys.path), *(f"there is also {_described(other)}" for other in found)]),
            "" if not newer else "for a newer one, name it with --nsys-executable",
        )
    ]


def misplaced(context: ProbeContext, failed: str = "") -> list[CheckResult]:
    """An nsys that is not where it was looked for.

    Args:
        context: the machine.
        failed: a text that names those that need not be tried again.
    """
    found = others(context, failed)
    if not found:
        return []
    newest = max(found, key=lambda other: other.version)
    return [
        CheckResult(
            "nsys",
            "problem",
            "there is an nsys elsewhere on this machine",
            "\n".join(map(_described, found)),
            f"use it: --nsys-executable={newest.path}",
        )
    ]


def others(context: ProbeContext, failed: str = "") -> list[NsysTool]:
    """The other nsys on the machine, but for those that the text ``failed`` names."""
    machine = context.machine
    known = set() if context.nsys is None else {machine.resolve(str(context.nsys.path))}
    found: list[NsysTool] = []
    for path in machine.programs(_PLACES):
        real = machine.resolve(path)
        if real in known or path in failed or len(found) == _MOST_OTHERS:
            continue
        known.add(real)
        try:
            found.append(machine.find_nsys(path))
        except NsysNotFound:
            continue
    return found


def _described(nsys: NsysTool) -> str:
    return f"nsys {nsys.version_text}: {nsys.path}"


def importer(context: ProbeContext) -> list[CheckResult]:
    """Whether the program is there that makes reports of what nsys records."""
    if context.nsys is None:
        return []
    parts = find_installation(context.nsys, context.machine)
    if parts is None:
        return [_unknown("importer", context.nsys)]
    if parts.importer is not None:
        return [CheckResult("importer", "ok", "nsys has its importer", parts.importer)]
    host = parts.target.replace("target-linux", "host-linux")
    remedy = (
        "install the other half of the package (Debian splits it: nsight-systems beside "
        "nsight-systems-target), or NVIDIA's own nsight-systems"
    )
    if context.machine.exists(f"{_DEBIAN_IMPORTER}/QdstrmImporter"):
        remedy = (
            f"Debian puts it where nsys does not look; as root: ln -sfn {_DEBIAN_IMPORTER} {host}"
        )
    return [
        CheckResult(
            "importer",
            "problem",
            "nsys lacks its importer: captures will end as .qdstrm files, not as reports",
            f"there is no {host}/QdstrmImporter",
            remedy,
        )
    ]


def libraries(context: ProbeContext) -> list[CheckResult]:
    """Whether the shared libraries are there that nsys and its importer need."""
    if context.nsys is None:
        return []
    parts = find_installation(context.nsys, context.machine)
    if parts is None:
        return [_unknown("libraries", context.nsys)]
    missing = _missing(context.machine, parts)
    lines = [f"{program} needs {library}" for program, library in missing]
    if all(library != _DWARF for _, library in missing):
        lines += _dwarf_needed(context, parts)
    if not lines:
        return [CheckResult("libraries", "ok", "the libraries that nsys needs are there")]
    dwarf = any(_DWARF in line for line in lines)
    names = ", ".join(dict.fromkeys([*([_DWARF] if dwarf else []), *(name for _, name in missing)]))
    return [
        CheckResult(
            "libraries",
            "problem",
            f"nsys cannot load {names}"
            + (": its importer will fail, saying only 'unknown error'" if dwarf else ""),
            "\n".join(lines),
            _DWARF_REMEDY if dwarf else "install the packages that hold them",
        )
    ]


def _missing(machine: Machine, parts: Installation) -> list[tuple[str, str]]:
    """Programs of nsys and libraries that the dynamic linker does not find for them."""
    path = [f"LD_LIBRARY_PATH={':'.join(parts.searched)}"] if parts.searched else []
    found = []
    for program in filter(None, (parts.program, parts.importer)):
        ran = machine.run(["env", *path, "ldd", program], _LDD_DEADLINE_S)
        for line in ran.output.splitlines() if ran.code == 0 else ():
            name, arrow, where = line.strip().partition(" => ")
            if arrow and where.startswith("not found"):
                found.append((program.rpartition("/")[2], name))
    return found


def _dwarf_needed(context: ProbeContext, parts: Installation) -> list[str]:
    """Lines about libdw, if this nsys uses it and it is not there.

    It is not the importer itself that needs it, but a library that the importer loads late.
    """
    machine = context.machine
    if any(machine.exists(f"{folder}/{_DWARF}") for folder in parts.searched):
        return []
    error = machine.load(_DWARF)
    if not error:
        return []
    folders = [parts.target]
    if parts.importer is not None:
        folders.append(parts.importer.rpartition("/")[0])
    users = [user for folder in folders for user in machine.mentioning(folder, _DWARF.encode())]
    if not users and (context.nsys is None or context.nsys.version < _OLDEST_WITH_DWARF):
        return []
    return [error, *(f"{user} uses {_DWARF}" for user in users[:3])]


def _unknown(check: str, nsys: NsysTool) -> CheckResult:
    return CheckResult(check, "skipped", f"cannot tell where the parts of {nsys.path} are")
