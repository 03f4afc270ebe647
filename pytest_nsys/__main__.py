"""``python -m pytest_nsys`` is the ``pytest-nsys`` command."""

from pytest_nsys.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
