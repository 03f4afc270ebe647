"""Runs below nsys, above the worker: restores the real environment, then becomes the command.

nsys stores the environment and command line that it is started with in every report. So it is
started with next to nothing, this script reads what the worker needs from a private file,
deletes the file, and replaces itself by the worker. The worker's output goes to private files
for the same reason, and because nsys would mix its own lines into it; one that somebody speaks with
by its standard streams takes those of a process that is no child of nsys.

It is run by path with ``python -S -E`` and imports only the standard library.
"""

import json
import os
import sys

# Lists of folders or libraries, to which nsys adds and the user may have added too.
_LISTS = {"LD_PRELOAD": ":", "LD_LIBRARY_PATH": ":", "PYTHONPATH": ":"}

# Python itself sets it, where the locale is C: not a change of nsys's.
_PYTHONS_OWN = "LC_CTYPE"


def merge_environment(
    user: dict[str, str], minimal: dict[str, str], current: dict[str, str]
) -> dict[str, str]:
    """The user's environment with what nsys added or changed on top of ``minimal``."""
    merged = dict(user)
    for name, value in current.items():
        if minimal.get(name) == value or name == _PYTHONS_OWN:
            continue
        if name in _LISTS and user.get(name):
            value = value + _LISTS[name] + user[name]
        merged[name] = value
    return merged


def main(path: str) -> None:
    """Become the command described in the JSON file at ``path``."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        told = json.load(file)
    os.unlink(path)  # noqa: PTH108
    with open(told["pid_file"], "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(str(os.getpid()))
    for fd, name in ((1, "stdout"), (2, "stderr")):
        target = os.open(told[name], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(target, fd)
        os.close(target)
    if told.get("streams"):
        from stream_giver import take  # type: ignore[import-not-found]  # it lies beside this

        take(told["streams"])
    environment = merge_environment(told["environment"], told["minimal"], dict(os.environ))
    command, directory = told["command"], told.get("directory")
    try:
        if directory:
            os.chdir(directory)
        os.execvpe(command[0], command, environment)  # a name alone is looked for in PATH
    except OSError as error:
        where = f" in {directory}" if directory else ""
        sys.exit(f"{command[0]} cannot be started{where}: {error.strerror}")


if __name__ == "__main__":
    main(sys.argv[1])
