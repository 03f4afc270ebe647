"""The table that ncu writes: as real ones are, and as none may be."""

from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_nsys.errors import NcuOutputDamaged
from pytest_nsys.kernels.canonical import canonical
from pytest_nsys.ncu.counters import (
    DRAM_READ,
    DURATION,
    IPC,
    REGISTERS,
    SHARED_MEMORY,
    Pair,
    paired,
)
from pytest_nsys.ncu.reading import counted, read_launches

IDENTITY = '"ID","Process ID","Process Name","Host Name","Kernel Name","Context","Stream"'
UNITS = '"","","","","","",""'


def table(*cells: tuple[str, str, str], name: str = "gemm", before: str = "") -> str:
    """A table with one launch: cells are metric, unit, value."""
    keys, units, values = (",".join(f'"{cell[n]}"' for cell in cells) for n in range(3))
    row = f'"0","41","python3.11","127.0.0.1","{name}","1","7",{values}'
    return f"{before}{IDENTITY},{keys}\n{UNITS},{units}\n{row}\n"


@pytest.mark.parametrize(
    ("key", "unit", "text", "value"),
    [
        (DURATION, "nsecond", "1420832", 1_420_832),  # 2024.1, base units
        (DURATION, "ns", "10,196,000", 10_196_000),  # later ones
        (DURATION, "msecond", "1.420832", 1_420_832),  # scaled
        (DURATION, "us", "211.94", 211_940),
        (DURATION, "second", "0.5", 5e8),
        (DRAM_READ, "byte", "268457472", 268_457_472),
        (DRAM_READ, "Mbyte", "268.457472", 268_457_472),
        (DRAM_READ, "Kbyte", "35.456000", 35_456),
        (SHARED_MEMORY, "byte/block", "1,024", 1024),
        (SHARED_MEMORY, "Kbyte/block", "1.024", 1024),
        (REGISTERS, "register/thread", "24.000000", 24),
        (IPC, "inst/cycle", "2.5e-05", 2.5e-5),
    ],
)
def test_a_value_is_in_ns_and_bytes_whatever_unit_it_is_written_in(
    key: str, unit: str, text: str, value: float
) -> None:
    (launch,) = read_launches(table((key, unit, text)))
    assert launch.values == {key: pytest.approx(value, rel=1e-12)}


def test_lines_of_ncu_are_no_part_of_the_table() -> None:
    before = (
        "==PROF== Connected to process 41 (/usr/bin/python3.11)\nsaid by the program\n"
        '==PROF== Profiling "gemm" - 0: 0%....50%....100% - 21 passes\n'
    )
    text = table((DURATION, "ns", "5"), before=before)
    again = "\n==WARNING== Launching the workload is taking more time than expected.\n" + text
    assert [one.values for one in read_launches(text + again[again.index('"ID"') :])] == [
        {DURATION: 5.0},
        {DURATION: 5.0},
    ]
    assert len(read_launches(text.replace('"0","41"', '0%....50%\n==PROF== x\n"0","41"'))) == 1
    assert read_launches(before) == ()


def test_what_a_gpu_does_not_have_is_left_out_and_other_columns_are_not_looked_at() -> None:
    text = table(
        (DURATION, "ns", "5"), (DRAM_READ, "", "n/a"), (IPC, "inst/cycle", ""), ("x", "", "text")
    )
    assert [one.values for one in read_launches(text)] == [{DURATION: 5.0}]


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        (table((DURATION, "ns", "-5")), 'is "-5"'),
        (table((DURATION, "ns", "1,42")), 'is "1,42"'),
        (table((DURATION, "ns", "inf")), 'is "inf"'),
        (table((DURATION, "ns", "1e999")), 'is "1e999"'),
        (table((DURATION, "fortnight", "1")), 'is in "fortnight"'),
        (table((DRAM_READ, "ns", "1")), 'is in "ns"'),
        (table((DURATION, "ns", "5"), name=""), "names no kernel"),
        (table((DURATION, "ns", "5"), (DURATION, "ns", "5")), "the columns are"),
        (table((DURATION, "ns", "5")).replace("Kernel Name", "Name"), "the columns are"),
        (table((DURATION, "ns", "5"))[:-2], "unexpected end of data"),
        (table((DURATION, "ns", "5")) + '"1","41"\n', "row 4 has 2 fields, of 8"),
        (table((DURATION, "ns", "5")).replace(UNITS, '"1","","","","","",""'), "has no units"),
    ],
)
def test_what_ncu_does_not_write_is_refused(text: str, evidence: str) -> None:
    with pytest.raises(NcuOutputDamaged) as refused:
        read_launches(text)
    assert re.search(evidence, refused.value.evidence)


@given(st.text(max_size=200), st.integers(0, 200))
def test_any_text_is_read_or_refused(text: str, place: int) -> None:
    whole = table((DURATION, "ns", "5"), (DRAM_READ, "byte", "1,024"))
    for one in (IDENTITY + text, whole[:place] + text + whole[place:]):
        with contextlib.suppress(NcuOutputDamaged):
            read_launches(one)


def test_of_each_kernel_the_longest_launch_counts_under_its_canonical_name() -> None:
    name = "void ns::gemm<4, float>(float *, int)"
    launches = [
        launch
        for us in ("5", "9", "7")
        for launch in read_launches(table((DURATION, "us", us), name=name))
    ]
    (found,) = counted(launches, "test", ["relu", "ns::gemm<4, float>"], canonical)
    assert (found.kernel, found.launches, found.values) == (
        "ns::gemm<4, float>",
        3,
        {DURATION: 9000.0},
    )
    assert found.get(IPC) is found.sum(IPC) is None
    (pair,) = paired((), (found,))
    assert [row[1:] for row in pair.rows()] == [(None, 9000.0)]
    assert Pair(found, None).window == "test"
