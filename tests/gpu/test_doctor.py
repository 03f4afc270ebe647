"""The doctor on a machine with a GPU on which captures can be made."""

from __future__ import annotations

from pytest_nsys.doctor.run import checkup_document, examine_here


def test_the_doctor_finds_nothing_wrong_and_all_gpu_work_in_its_capture() -> None:
    document = checkup_document(examine_here(None))
    assert document["healthy"], document
    by = {finding["check"]: finding for finding in document["findings"]}
    for check in ("nsys", "importer", "libraries", "GPU", "nsys and driver", "nvtx"):
        assert by[check]["status"] == "ok", by[check]
    assert by["trial capture"]["status"] == "ok"
    assert by["trial capture"]["evidence"].splitlines() == [
        "kernels: 20 made, 20 in the capture",
        "memsets: 10 made, 10 in the capture",
        "copies: 10 made, 10 in the capture",
    ]
