"""A change taken apart: the steps add up to what is shown, whatever the parts are."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import example, given
from hypothesis import strategies as st

from pytest_nsys.measure.measurement import Part
from pytest_nsys.report.html.waterfall import MOST_NAMED, Group, Piece, TakenApart, take_apart
from pytest_nsys.support.units import Unit, format_amount
from pytest_nsys.verdict.verdict import Contribution

# To a thousandth, as baselines keep them.
AMOUNTS = st.integers(0, 10**13).map(lambda n: n / 1000) | st.integers(0, 10**10).map(float)
CATEGORIES = st.sampled_from(["gemm", "attention", "norm", ""])
PARTS = st.lists(st.tuples(CATEGORIES, AMOUNTS, AMOUNTS), max_size=30)


def contribution(
    label: str, then: float | None, now: float | None, category: str = "gemm"
) -> Contribution:
    before, after = (
        None if ns is None else Part(label, 1, ns=ns, category=category) for ns in (then, now)
    )
    return Contribution(label, before, after, (now or 0) - (then or 0))


def shown(taken: TakenApart, steps: int) -> Decimal:
    return Decimal(taken.scale.signed(steps).split(" ")[0])


@given(PARTS, AMOUNTS, AMOUNTS, st.sampled_from(["ns", "B", "1"]))
@example([("gemm", 0.0, 0.425), ("", 0.0, 9999999999.212)], 0.0, 0.001, "ns")
@example([], 9999999999.999, 10000000000.0, "ns")
@example([("gemm", 0.0, 12345.0)], 0.0, 12345.0, "ns")  # a tie in the fourth digit
@example([("gemm", 0.0, 123456.0)], 0.0, 123456.0, "B")
def test_steps_add_up_to_the_change_that_is_shown(
    parts: list[tuple[str, float, float]],
    then: float,
    now: float,
    unit: Unit,
) -> None:
    found = [contribution(str(n), *values, category) for n, (category, *values) in enumerate(parts)]
    taken = take_apart(then, now, unit, found)
    total = shown(taken, taken.total)
    # The groups as they are shown, one by one, and the rest, make the total; so do their steps.
    groups = [shown(taken, group.change) for group in taken.groups]
    assert sum(groups, shown(taken, taken.rest)) == total
    for group, change in zip(taken.groups, groups, strict=True):
        assert sum((shown(taken, step.change) for step in group.pieces), Decimal(0)) == change
    # And the total is the change as every other table shows it.
    amount = format_amount(abs(now - then), unit).split(" ")[0].replace(",", "")
    assert abs(total) == Decimal(amount)
    assert total == 0 or (total > 0) == (now > then)


def test_by_category_and_then_by_kernel() -> None:
    parts = [
        contribution("flash", 100e3, 190e3, "attention"),
        contribution("gemm_a", 500e3, 480e3),
        contribution("gemm_b", None, 60e3),
        contribution("gelu", 30e3, None, "elementwise"),
    ]
    taken = take_apart(630e3, 731e3, "ns", parts)
    assert taken.scale.signed(taken.total) == "+101 us"
    assert [(group.category, group.change) for group in taken.groups] == [
        ("attention", 90),
        ("gemm", 40),
        ("elementwise", -30),
    ]
    assert [(step.label, step.change) for step in taken.groups[1].pieces] == [
        ("gemm_b", 60),
        ("gemm_a", -20),
    ]
    assert (taken.rest, taken.unexplained) == (1, True)


def test_what_is_only_rounding_is_not_taken_for_unexplained() -> None:
    parts = [contribution("a", 0.0, 1000.4), contribution("b", 0.0, 2000.4)]
    taken = take_apart(0.0, 3000.8, "ns", parts)
    assert not taken.unexplained


def test_a_renamed_kernel_is_one_step() -> None:
    was, now = (Part("", 1, ns=ns, category="norm") for ns in (52e3, 40e3))
    parts = [Contribution("rms_norm_v2", was, now, -12e3, before="rms_norm")]
    (group,) = take_apart(52e3, 40e3, "ns", parts).groups
    (step,) = group.pieces
    assert (step.label, step.before, step.change) == ("rms_norm_v2", "rms_norm", -12)
    assert (step.then, step.now) == (was, now)


def test_small_changes_are_one_step_of_their_category() -> None:
    parts = [contribution(f"k{n}", 0.0, 1000.0 * (n + 1)) for n in range(30)]
    parts += [contribution("odd", 0.0, 100.0, "norm")]
    total = sum(part.change for part in parts)
    gemm, norm = take_apart(0.0, total, "ns", parts).groups
    assert len(gemm.pieces) == MOST_NAMED + 1
    assert gemm.pieces[-1] == Piece("18 smaller changes", gemm.change - 1000 * 294 // 100)
    assert norm == Group("norm", (Piece("odd", 1, then=parts[-1].baseline, now=parts[-1].current),))


def test_nothing_changed() -> None:
    taken = take_apart(5.0, 5.0, "ns", ())
    assert (taken.total, taken.groups, taken.rest) == (0, (), 0)
