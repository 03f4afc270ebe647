"""Demangled C++ names, as cu++filt and c++filt write them, made canonical.

Names nest deeply, so this is a scanner with a stack of open brackets, not a set of substitutions.
It looks at each token once, copies text only up to a bounded depth, and so takes time in proportion
to the name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto

from pytest_nsys.kernels.arguments import without_tuning
from pytest_nsys.kernels.labels import simplify_label

# The deepest CUTLASS names have some 30 levels.
_DEEPEST = 100

_TOKEN = re.compile(
    r"operator(?![\w$])(?:\s*(?:\(\s*\)|\[\s*\]|<=>|<<=|>>=|->\*|[-+*/%^&|=!<>]=|<<|>>|&&|\|\||\+\+|--|->"
    r"|[-+*/%^&|~!=,]))?"
    r"|[^\W\d][\w$]*|~[^\W\d][\w$]*|\d[\w.]*|::|\s+|.",
    re.DOTALL,
)
_ANONYMOUS = re.compile(r"(?:<unnamed>|\(anonymous namespace\))::")
# A function that is there only for some types returns what std::enable_if makes of void.
_CONDITIONAL = re.compile(r"std::enable_if(?:_t)?<")
_CONDITIONAL_END = re.compile(r">(?:::type)? (?=[A-Za-z_])")

# Namespaces that say which build of a library this is, or which file.
_BUILD = re.compile(
    r"CUB_[\d_]+_NS|THRUST_[\d_]+_NS|_V_\d+_SM_[\d_]+|at_cuda_detail|SM\d{2,3}|__\d+|__cxx11"
    r"|_GLOBAL__N_\w*|_INTERNAL_\w+"
)
_POLICY = re.compile(r"Policy\d+")
_INTEGER = re.compile(r"(?:(?:unsigned|signed|long|short|int|char|bool|__int64|__int128) ?)+")
_NUMBER = re.compile(r"(\d+)(?:[uU]?[lL]{0,2}|[lL]{1,2}[uU])")
_LAMBDA = re.compile(r"lambda(\(.*\))(?:\(instance (\d+)\)|#(\d+))", re.DOTALL)
_RETURNS_VOID = re.compile(r"void (?!const\b|volatile\b)(?=[\w~{])")
_BOOLS = {"true": "1", "false": "0"}

# What follows a parameter list where a local entity of the function is named.
_LOCAL = re.compile(r"\s*(?:const\s*)?(?=::)")
_VALUE = re.compile(r"\s*-?\d")

# PyTorch's AT_DISPATCH makes a lambda that calls one lambda per data type, in which the kernel's
# lambda is. The number of the middle one counts the data types listed before this one, so it
# changes when one is added; where the innermost lambda takes that type it says nothing else. The
# types that are built into C++ are not concerned: they are listed first, and may also be an index
# or the type of an accumulator. All other lambda numbers stay, because they alone tell GELU from
# its approximation by tanh, or a square from a cube.
_DISPATCH = re.compile(
    r"(?<!\}::)(\{lambda\(\)(?:#\d+)?\})::\{lambda\(\)(?:#\d+)?\}::(?=\{lambda\(([^{}]*)\)(?:#\d+)?\}(?!::))"
)
_DATA_TYPE = re.compile(r"\bc10::(?:Half|BFloat16|Float\d|complex|q)")


class _Piece(Enum):
    WORD = auto()
    NUMBER = auto()
    OPERATOR = auto()
    SCOPE = auto()
    TEMPLATE = auto()  # <...>
    PARENTHESES = auto()  # (...), right after what precedes it
    LAMBDA = auto()
    OTHER = auto()


@dataclass
class _Open:
    """An open bracket and what has been read since.

    Attributes:
        bracket: the bracket; the name itself is in an empty one.
        scope: of a template, what is before its name.
        name: of a template, its name.
        gap: whether there is white space before a parenthesis of the name itself.
        arguments: the arguments that are complete.
        pieces: the current argument.
    """

    bracket: str = ""
    scope: str = ""
    name: str = ""
    gap: bool = False
    arguments: list[str] = field(default_factory=list)
    pieces: list[tuple[_Piece, str]] = field(default_factory=list)

    @property
    def last(self) -> _Piece:
        return self.pieces[-1][0] if self.pieces else _Piece.OTHER

    def add(self, kind: _Piece, text: str, gap: bool = False) -> None:
        """Add a piece; of white space before it only what keeps words apart stays."""
        if gap and self.pieces:
            before, after = self.pieces[-1][1][-1:], text[0]
            words = _wordlike(after) and (_wordlike(before) or before in ">)]}*&")
            if words or (after == "(" and not self.bracket):
                text = f" {text}"
        self.pieces.append((kind, text))

    def end_argument(self) -> None:
        self.arguments.append(_argument("".join(text for _, text in self.pieces)))
        self.pieces = []


class _Unreadable(Exception):
    """The brackets do not match, or are too many."""


def simplify(name: str) -> str:
    """The name without parameters, return type, casts and tuning; unreadable, it stays."""
    try:
        return _Scanner(_prepared(name)).scan()
    except _Unreadable:
        return name.strip()


def _prepared(name: str) -> str:
    name = _ANONYMOUS.sub("", name.strip())
    if _CONDITIONAL.match(name):
        # cu++filt leaves out parentheses here, so that the condition is not for a scanner.
        end = _CONDITIONAL_END.search(name)
        name = name[end.end() :] if end else name
    return name


class _Scanner:
    def __init__(self, name: str) -> None:
        self.name = name
        # Numba tells the types it has compiled a function for in the parameters, not in the name.
        self.keeps_parameters = name.startswith("cudapy::")
        self.open = [_Open()]

    def scan(self) -> str:
        position = 0
        gap = False
        while position < len(self.name):
            token = _TOKEN.match(self.name, position)
            assert token is not None  # it has an alternative for any character
            position = token.end()
            text = token[0]
            if text.isspace():
                gap = True
                continue
            if _BUILD.fullmatch(text) and self.name.startswith("::", position):
                position += 2
                continue
            position = self._token(text, gap, position)
            gap = False
        if len(self.open) != 1:
            raise _Unreadable
        return self._whole()

    def _token(self, text: str, gap: bool, position: int) -> int:
        """Take in a token that ends at a position; return where to go on."""
        top = self.open[-1]
        if text.startswith("operator") and not _wordlike(text[8:9]):
            top.add(_Piece.OPERATOR, "".join(text.split()), gap)
        elif text[0].isdecimal():
            number = _NUMBER.fullmatch(text)
            top.add(_Piece.NUMBER, number[1] if number else text, gap)
        elif _wordlike(text[0]) or (text[0] == "~" and len(text) > 1):
            if _POLICY.fullmatch(text) and top.last is _Piece.SCOPE:
                text = "Policy"
            top.add(_Piece.WORD, simplify_label(text) or text, gap)
        elif text == "::":
            top.add(_Piece.SCOPE, text)
        elif text == "<" and top.last in (_Piece.WORD, _Piece.OPERATOR):
            self._push(text)
        elif text == ">" and top.bracket == "<":
            self._close_template()
        elif text in "([{":
            self._push(text, gap)
        elif text in ")]}":
            return self._close(text, position)
        elif text == "," and top.bracket in ("<", "("):
            top.end_argument()
        else:
            top.add(_Piece.OTHER, ", " if text == "," else text, gap)
        return position

    def _push(self, bracket: str, gap: bool = False) -> None:
        if len(self.open) > _DEEPEST:
            raise _Unreadable
        top = self.open[-1]
        opened = _Open(bracket)
        if bracket == "<":
            opened.name = top.pieces[-1][1].strip()
            if len(top.pieces) > 2 and top.pieces[-2][0] is _Piece.SCOPE:
                opened.scope = top.pieces[-3][1].strip()
        elif bracket == "(" and gap and top.bracket == "":
            opened.gap = True
        self.open.append(opened)

    def _close_template(self) -> None:
        closed = self.open.pop()
        if closed.pieces or closed.arguments:
            closed.end_argument()
        arguments = without_tuning(closed.scope, closed.name, closed.arguments)
        self.open[-1].add(_Piece.TEMPLATE, f"<{', '.join(arguments)}>")

    def _close(self, bracket: str, position: int) -> int:
        closed = self.open.pop()
        if not self.open or closed.bracket + bracket not in ("()", "[]", "{}"):
            raise _Unreadable
        if closed.pieces or closed.arguments:
            closed.end_argument()
        inner = ", ".join(closed.arguments)
        if bracket == ")":
            return self._close_parentheses(inner, closed.gap, position)
        top = self.open[-1]
        found = _LAMBDA.fullmatch(inner)
        if found:
            number = found[2] or found[3]
            top.add(_Piece.LAMBDA, f"{{lambda{found[1]}{'' if number == '1' else '#' + number}}}")
        elif inner == "lambda" or inner.startswith("lambda("):
            top.add(_Piece.LAMBDA, f"{{{inner}}}")
        elif not inner.startswith("abi:"):
            top.add(_Piece.OTHER, closed.bracket + inner + bracket)
        return position

    def _close_parentheses(self, inner: str, gap: bool, position: int) -> int:
        top = self.open[-1]
        named = top.last in (_Piece.WORD, _Piece.TEMPLATE, _Piece.OPERATOR)
        if named and top.bracket not in ("[", "{"):
            local = _LOCAL.match(self.name, position)
            if local:
                return local.end()
        if not named and _INTEGER.fullmatch(inner) and _VALUE.match(self.name, position):
            return position
        top.add(_Piece.OTHER if gap else _Piece.PARENTHESES, f"({inner})", gap)
        return position

    def _whole(self) -> str:
        whole = self.open[0]
        if not self.keeps_parameters:
            while len(whole.pieces) > 1 and whole.last is _Piece.PARENTHESES:
                whole.pieces.pop()
        whole.end_argument()
        return whole.arguments[0]


def _argument(text: str) -> str:
    text = text.strip()
    text = _BOOLS.get(text, text)
    if "}::" in text:
        text = text.replace("}::operator()::{", "}::{")
        text = _DISPATCH.sub(_without_dispatch, text)
    returns = _RETURNS_VOID.match(text)
    return text[returns.end() :] if returns else text


def _without_dispatch(found: re.Match[str]) -> str:
    return f"{found[1]}::" if _DATA_TYPE.search(found[2]) else found[0]


def _wordlike(character: str) -> bool:
    return character.isalnum() or character in "_$"
