"""Entry of the worker: ``python .../worker/__main__.py JOB``, started by the exec shim below nsys.

It is started by path, so that nothing has to be importable before the job has said where.
"""

import json
import os
import sys


def main() -> int:
    """Run the job whose file is the only argument; returns pytest's exit status."""
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
        # Another interpreter keeps its own path, without the folder of this file.
        sys.path[:] = json.load(file)["sys_path"] or sys.path[1:]

    from pathlib import Path

    from pytest_nsys.windows.record import DOMAIN
    from pytest_nsys.worker.events import EventLog
    from pytest_nsys.worker.job import Job

    job = Job.read(Path(sys.argv[1]))
    events = EventLog(job.events)
    events.write("hello")
    try:
        # Also the modules of the tests' own that have such a name fail here, and not later.
        from nvtx import end_range, get_domain, start_range  # noqa: F401

        # NVTX looks now, and never again, for the variables by which nsys has it write to it.
        get_domain(DOMAIN)
    except ImportError as error:
        remedy = "install nvtx for this Python; see that no module of the project has its name"
        events.write("unfit", text=f"{type(error).__name__}: {error}", remedy=remedy)
        return 1

    from pytest_nsys.worker.session import WorkerSession

    sys.argv[:] = job.argv
    session = WorkerSession(job, events)
    if job.streams:
        from pytest_nsys.worker.distributed import serve

        return serve(job, session)

    import pytest

    from pytest_nsys.worker.acting import ActsAsNode
    from pytest_nsys.worker.node import worker_variables

    os.environ.update(worker_variables(job.workerinput))
    return int(pytest.main(list(job.args), plugins=[session, ActsAsNode(job.workerinput)]))


if __name__ == "__main__":
    raise SystemExit(main())
