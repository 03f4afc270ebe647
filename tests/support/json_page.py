"""The documentation's page on the JSON report, made of what the code says of its schema."""

from __future__ import annotations

import re

from pytest_nsys.report import json as report


def page() -> str:
    """The page: the module's own words, as Markdown."""
    _, _, text = (report.__doc__ or "").replace("``", "`").partition("\n")
    block = re.search(r"::\n\n(.*?)\n\n(?=\S)", text, re.DOTALL)
    assert block is not None
    fenced = "```text\n" + re.sub("^    ", "", block[1], flags=re.MULTILINE) + "\n```\n\n"
    text = text[: block.start()] + fenced + text[block.end() :]
    return (
        "# JSON\n\n"
        '<!-- Made by "make docs" from the code: do not edit. -->\n\n'
        "What `--nsys-json=FILE` writes, and `pytest-nsys diff --format=json` prints (with two "
        "more keys, `only_before` and `only_after`: the tests that only one recording has).\n"
        + text.rstrip()
        + "\n"
    )


if __name__ == "__main__":
    print(page(), end="")
