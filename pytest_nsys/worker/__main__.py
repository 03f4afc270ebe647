"""Entry of the worker: ``python .../worker/__main__.py JOB``, started by the launcher below nsys.

It is started by path, so that nothing has to be importable before the job has said where.
"""

import json
import sys


def main() -> int:
    """Run the job whose file is the only argument; returns pytest's exit status."""
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123
        sys.path[:] = json.load(file)["sys_path"]

    from pathlib import Path

    import pytest

    from pytest_nsys.worker.events import EventLog
    from pytest_nsys.worker.job import Job
    from pytest_nsys.worker.session import WorkerSession

    job = Job.read(Path(sys.argv[1]))
    sys.argv[:] = job.argv
    events = EventLog(job.events)
    events.write("hello")
    return int(pytest.main(list(job.args), plugins=[WorkerSession(job, events)]))


if __name__ == "__main__":
    raise SystemExit(main())
