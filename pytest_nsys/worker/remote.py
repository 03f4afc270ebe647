"""What pytest-xdist sends to a worker below nsys and runs there, in the place of its own module."""

if __name__ == "__channelexec__":
    from pytest_nsys.worker.distributed import join

    join(channel)  # type: ignore[name-defined]  # noqa: F821  # of execnet
