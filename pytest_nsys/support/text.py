"""Text for people: made safe to look at and to hand on, in lines, in tables, and in Markdown."""

from __future__ import annotations

import difflib
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Any

WIDTH = 80
"""Characters of a line on a terminal."""

_NAME = 160
_SUGGESTED = 15
_SENTENCE = 400

_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode's categories of what is not seen: control characters, halves of pairs, separators, and
the formats, such as what joins letters, has no width, or turns the direction of writing."""

_IGNORED = re.compile(
    # What Unicode has shown as nothing and gives other categories: joiners, fillers, what selects
    # a variant of the character before, tags, and what is no character.
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2065\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufff8"
    "\ufffe\uffff\U000e0000-\U000e0fff]"
)

_BREAK = re.compile("\n")
_ORDERS = (  # of GitHub; what else begins with colons is a name in C++
    "add-mask|add-matcher|add-path|debug|echo|endgroup|error|group|internal-set-repo-path|notice|"
    "remove-matcher|save-state|set-env|set-output|stop-commands|warning"
)
_ORDER = re.compile(rf"^\s*:(?=:(?:{_ORDERS})\b)|#(?=#\w*\[)", re.IGNORECASE)

_QUOTED_PATH = re.compile(r"(?P<quote>['\"])/(?:[^'\"\n]*/)?(?P<last>[^'\"/\n]*)(?P=quote)")
_PATH = re.compile(
    r"(?<![\w.])/(?:[^/\s'\"]+/)+"
    r"|(?<![\w.</:])/(?=[^/\s'\"])"  # of one part
    r"|(?:(?<!\w)[A-Za-z]:|\$\w+|\$\{\w+\}|%\w+%|(?<!\w)~\w*)[/\\]+(?:[^/\\\s'\"]+[/\\]+)*"
)
_MARKUP = re.compile(
    r"[&<|`*~\[\]\\#!$^{}]"
    r"|^[-+=>0-9]"  # what begins a list, a quotation or a heading
    r"|:(?=/)|(?<=www)\."  # what looks like an address becomes a link
    r"|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])",  # within a word it is only an underscore
    re.IGNORECASE,
)


def visible(value: Any) -> Any:
    """Text with its invisible characters, and those that reorder what is read, spelled out.

    What is no text, or markup already (it has ``__html__``), stays as it is.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    text = _IGNORED.sub(_spelled, value)
    return text if text.isprintable() else "".join(map(_seen, text))


def one_line(text: str) -> str:
    """A line for a terminal or the log of a CI, whatever names are in it.

    It is `visible`, has no line ends, and is no order to the CI: GitHub and Azure take lines such
    as ``::error::`` and ``##[error]`` for orders, also behind spaces.
    """
    return _ORDER.sub(_spelled, _BREAK.sub(_spelled, visible(text)))


def fit_to_print(text: object) -> str:
    """A text of several lines, such as an error, each as `one_line` makes it."""
    return "\n".join(map(one_line, str(text).split("\n")))


def _seen(one: str) -> str:
    unseen = unicodedata.category(one) in _UNSEEN and one not in "\t\n"
    return f"<U+{ord(one):04X}>" if unseen else one


def _spelled(found: re.Match[str]) -> str:
    return f"{found[0][:-1]}<U+{ord(found[0][-1]):04X}>"


def columns(text: str) -> int:
    """How many columns of a terminal a text takes: what is Chinese, or an emoji, two each."""
    if text.isascii():
        return len(text)
    return sum(map(_width, unicodedata.normalize("NFC", text)))


def _width(one: str) -> int:
    if unicodedata.combining(one) or unicodedata.category(one) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(one) in ("W", "F") else 1


def filled(text: str, width: int, *, right: bool = False) -> str:
    """A text with spaces behind it, or before it, up to so many columns."""
    spaces = " " * (width - columns(text))
    return spaces + text if right else text + spaces


def printable(text: str) -> str:
    """The text with characters that are not printable spelled as in Python."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def cut(text: str, most: int, head: int) -> str:
    """The text, of at most so many characters: of a longer one the first ``head`` and the last."""
    return text if len(text) <= most else f"{text[:head]}...{text[len(text) + head + 3 - most :]}"


def shortened(names: Iterable[str], most: int) -> dict[str, str]:
    """Per name a form of at most ``most`` columns (16 or more); no two have the same.

    Of a name that is too long the middle is left out, but not the parts in which it differs from
    those that are most like it: of kernels of one template all else says the same.
    """
    given = list(dict.fromkeys(names))
    ordered = sorted(given)
    common = [_shared(*pair) for pair in pairwise(ordered)]
    places = {name: number for number, name in enumerate(ordered)}
    taken = {name for name in given if columns(name) <= most}
    forms = {}
    for name in given:
        form = name
        if columns(name) > most:
            candidates = _fitting(name, _branches(common, places[name]), most)
            form = next((one for one in candidates if one not in taken), "")
            number = 1
            while not form or form in taken:
                number += 1
                mark = f" ({number})"
                start = candidates[0]
                while columns(start) > most - len(mark):
                    start = start[:-1]
                form = start + mark
            taken.add(form)
        forms[name] = form
    return forms


def telling_parts(names: Iterable[str], least: int = 1) -> dict[str, str]:
    """Per name what follows what it shares with the name most like it, from the start of a word.

    Args:
        names: all of those that are to be told apart.
        least: how many characters are shown, if the name has so many.
    """
    shared = _shared_starts(list(dict.fromkeys(names)))
    return {
        name: name[_word_start(name, max(0, min(end, len(name) - least)), len(name)) :]
        for name, end in shared.items()
    }


def _shared_starts(names: Sequence[str]) -> dict[str, int]:
    """Per name how many characters at its start it has in common with the name most like it."""
    ordered = sorted(names)
    common = [_shared(*pair) for pair in pairwise(ordered)]
    return dict(zip(ordered, map(max, [0, *common], [*common, 0]), strict=False))


def _shared(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((n for n, (a, b) in pairs if a != b), min(len(one), len(other)))


def _branches(common: Sequence[int], place: int) -> list[int]:
    """Where a name begins to differ from one of those about it, the nearest difference first.

    Args:
        common: how many characters each name has in common with the next one, in their order.
        place: of the name among them.
    """
    found: set[int] = set()
    for neighbours in (common[place : place + _FAR], common[max(0, place - _FAR) : place][::-1]):
        found |= {*accumulate(neighbours, min)}
    return sorted(found or {0})


def _fitting(name: str, branches: Sequence[int], most: int) -> list[str]:
    """Forms of a name that is too long, each of at most so many columns."""
    for characters in range(most, 0, -1):
        found = [*_candidates(name, branches, characters)]
        if all(columns(one) <= most for one in found):
            return found
    return [""]


def _candidates(name: str, branches: Sequence[int], most: int) -> Iterator[str]:
    """Forms of a name that is too long: its start, what comes after a branch, and its end."""
    head = most // 3
    room = most - head - len("...")
    starts = dict.fromkeys(_word_start(name, branch, most // 6) for branch in branches)
    # The first from which on all can be seen; else the last: there it is not like any other.
    fitting = [start for start in starts if len(name) - start <= room]
    for start in (*fitting, *reversed(starts)):
        rest = name[start:]
        if start <= head + len("..."):
            yield cut(name, most, most * 3 // 5)
        elif len(rest) <= room:
            yield cut(name, most, most - len("...") - len(rest))
        else:
            end = room - 3 if room < _ROOM else room * 2 // 3
            yield f"{name[:head]}...{cut(rest, room, end)}"


def _word_start(name: str, place: int, back: int) -> int:
    """Where the word begins that a place is in, if that is not too far back."""
    starts = range(place, max(-1, place - back - 1), -1)
    return next((start for start in starts if _begins_word(name, start)), place)


_FAR = 200
"""So many names before and after are looked at."""

_ROOM = 20
"""What is shorter has no room for the end of a name besides what tells it apart."""


def _begins_word(text: str, place: int) -> bool:
    return not text[place - 1 : place].isalnum()


def wrapped(
    text: str, first: str, rest: str, width: int = WIDTH, *, whole: bool = False
) -> list[str]:
    """The text in lines of at most ``width``; a word that is longer is broken, not cut off.

    Args:
        text: what is to be shown.
        first: what the first line begins with.
        rest: what the others begin with.
        width: characters of a line.
        whole: whether longer words, such as paths, are left whole.
    """
    return textwrap.wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=not whole,
    )


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns under each other: the first and the last to the left, those between to the right."""
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(width) if n in (0, len(row) - 1) else cell.rjust(width)
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines


def suggest(name: str, valid: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the nearest of ``valid``, else the first of the list."""
    names = list(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    more = [f"and {len(names) - _SUGGESTED} more"] if len(names) > _SUGGESTED else []
    return "valid names: " + ", ".join([*names[:_SUGGESTED], *more])


def listed(names: Sequence[str], most: int) -> str:
    """``a, b, c``; of more names than ``most`` the first, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def without_folders(text: str) -> str:
    """A text with the last part of the absolute paths in it.

    A path with spaces is known as one only where it is in quotes, as in Python's messages.
    """
    return _PATH.sub("", _QUOTED_PATH.sub(r"\g<quote>\g<last>\g<quote>", text))


def line_without_folders(text: str) -> str:
    """The first line of a text, and of absolute paths in it their last part."""
    return without_folders(text.partition("\n")[0])


# Markdown


def code(text: str, most: int = _NAME) -> str:
    """A name as it is, in ``<code>``; of what is too long the middle is left out."""
    return f"<code>{prose(text, most)}</code>"


def prose(text: str, most: int = _SENTENCE) -> str:
    """A sentence that may hold names, on one line, without any markup of its own."""
    line = " ".join(str(visible(text)).split())
    escaped = _MARKUP.sub(lambda found: f"&#{ord(found[0])};", cut(line, most, most * 2 // 3))
    # A reference is read as the character before mentions are looked for; a comment parts them.
    return escaped.replace("@", "&#64;<!-- -->")


def markdown_row(cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"
