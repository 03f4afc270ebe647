"""Which part of a suite a run is, where several machines share it: of an array job of Slurm, an
indexed Job of Kubernetes, a matrix of CI."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_nsys.errors import SettingsError


@dataclass(frozen=True)
class Part:
    """One of the parts.

    Attributes:
        number: which one, from 0 or from 1 on, as whoever counts them does.
        of: how many there are.

    Raises:
        ValueError: there is no such part.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 0 <= self.number <= self.of or not self.of:
            raise ValueError(f"there is no part {self.number} of {self.of}")


def read_part(text: str) -> Part:
    """The part that a text such as "3/8" names.

    Raises:
        SettingsError: it names none.
    """
    number, _, of = text.partition("/")
    try:
        return Part(int(number), int(of))
    except ValueError:
        raise SettingsError(
            f"nsys_part is {text!r:.200}",
            remedy="give the number of the part and how many there are, such as 3/8 (is a variable "
            "not set?)",
        ) from None
