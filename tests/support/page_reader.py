"""A strict reader of the page: it refuses what is not nested, and knows what is folded."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "link", "input", "wbr"}


def contrast(one: str, other: str) -> float:
    """The contrast of two colours (``#rrggbb``), as WCAG computes it."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@dataclass
class Element:
    """An element with its text, that of its children included."""

    tag: str
    attributes: dict[str, str]
    # Shown in no failed assertion: parents and children show each other.
    parents: tuple[Element, ...] = field(repr=False)
    text: str = ""
    children: list[Element] = field(default_factory=list, repr=False)

    @property
    def folded(self) -> bool:
        """Whether a reader has to open something to see it."""
        return any(e.tag == "details" and "open" not in e.attributes for e in self.parents)

    def find(self, tag: str, **attributes: str) -> list[Element]:
        """The elements below with this tag and these attributes."""
        found = []
        for child in self.children:
            wanted = {name.rstrip("_"): value for name, value in attributes.items()}
            if child.tag == tag and wanted.items() <= child.attributes.items():
                found.append(child)
            found += child.find(tag, **attributes)
        return found

    def all(self) -> list[Element]:
        """The element and everything below."""
        return [self, *(each for child in self.children for each in child.all())]


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("", {}, ())
        self.path = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> repeats an attribute"
        attributes = {name: value or "" for name, value in attrs}
        element = Element(tag, attributes, tuple(self.path[1:]))
        self.path[-1].children.append(element)
        if tag not in VOID:
            self.path.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.path[-1].tag == tag, f"</{tag}> closes <{self.path[-1].tag}>"
        self.path.pop()

    def handle_data(self, data: str) -> None:
        for element in self.path:
            element.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"a processing instruction: {data!r}")


def read(text: str) -> Element:
    """The page as a tree.

    Raises:
        AssertionError: it is not well-formed.
    """
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.path == [reader.root], f"<{reader.path[-1].tag}> is never closed"
    return reader.root
