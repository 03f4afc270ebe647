"""Rules on kernels: one that is most of the work, communication that nothing computes beside."""

from __future__ import annotations

import numpy as np

from pytest_nsys.insights.bottlenecks.bottleneck import Bottleneck, percent, shortened
from pytest_nsys.insights.bottlenecks.transfers import HIDEABLE
from pytest_nsys.insights.bottlenecks.view import View, length
from pytest_nsys.support.units import format_amount

DOMINANT = 0.7
"""Part of the kernels' time of which one kernel must have more. What is left could vanish and the
window would still take most of its time."""

WORTHWHILE = 0.3
"""Part of the time observed that this kernel must take: else something other than kernels is what
takes the time."""


def one_kernel(view: View) -> Bottleneck | None:
    """One kernel, under its canonical name, takes most of the kernels' time."""
    chosen = view.of_table("kernels")
    operations, names = view.operations, view.background.kernels
    took = operations.end[chosen] - operations.start[chosen]
    canonical = [view.background.naming.canonical(raw) for raw in names.raw]
    labels = {label: number for number, label in enumerate(dict.fromkeys(canonical))}
    label_of = np.array([labels[label] for label in canonical], dtype=np.int64)
    codes = label_of[names.codes[operations.row[chosen]]]
    sums = np.bincount(codes, weights=took, minlength=len(labels))
    if not len(sums) or sums.max() <= DOMINANT * sums.sum():
        return None
    largest = int(sums.argmax())
    mine = codes == largest
    of_all = np.zeros(len(operations), dtype=np.bool_)
    of_all[np.flatnonzero(chosen)[mine]] = True
    ran = length(view.union(of_all))
    share = view.share(ran)
    if share < WORTHWHILE:
        return None
    texts = [shortened(label) for label in labels]
    category = view.background.naming.category(list(labels)[largest])
    name = texts[largest]
    others = np.argsort(-sums, kind="stable")[1:3]
    return Bottleneck(
        "one-kernel",
        share,
        f"One kernel takes {percent(float(sums[largest]), float(sums.sum()))} of the kernels' time"
        f" and {percent(ran, view.total)} of {view.scope}: {name}.",
        (
            f"{view.count(int(mine.sum()))}x {name} ({category}):"
            f" {view.time(float(sums[largest]))},"
            f" median {format_amount(float(np.median(took[mine])), 'ns')}",
            *(
                f"next: {texts[other]}, {view.time(float(sums[other]))}"
                for other in others
                if sums[other] > 0
            ),
        ),
        _KERNEL_ADVICE.get(category, _OTHER_KERNEL),
    )


_COUNTED = (
    "Nsight Compute says more: --nsys-ncu=always, pytest-nsys ncu RECORDING TEST --kernel NAME, or,"
    " of what is no test, ncu -k."
)
_KERNEL_ADVICE = {
    "gemm": "See that it runs on tensor cores and fills the GPU: bf16, fp16 or fp8 (or TF32:"
    " torch.set_float32_matmul_precision('high')), dimensions that are multiples of 64, larger"
    f" batches. {_COUNTED}",
    "attention": "Try another implementation (torch.nn.attention.sdpa_kernel, FlashAttention,"
    f" FlashInfer) or another layout of heads. {_COUNTED}",
    "conv": "Try channels_last, bf16 or fp16 and torch.backends.cudnn.benchmark = True."
    f" {_COUNTED}",
    "comm": "Communicate less (larger buckets, smaller types), or hide it behind computing.",
}
_OTHER_KERNEL = (
    "Is it limited by memory, by arithmetic or by latency? If by memory, fuse it with its"
    f" neighbours (torch.compile) and use smaller types. {_COUNTED}"
)


def communication_overlap(view: View) -> Bottleneck | None:
    """Communication between GPUs and computing take turns."""
    communicates = view.background.communicates
    chosen = view.of_table("kernels", communicates)
    communication = view.union(chosen)
    if view.share(length(communication)) < HIDEABLE:
        return None
    computing = view.union(view.of_table("kernels", ~communicates) | view.of_table("graphs"))
    exposed, alone = view.taking_turns(communication, computing)
    saved = min(exposed, alone)
    share = view.share(saved)
    if share < HIDEABLE:
        return None
    return Bottleneck(
        "communication-overlap",
        share,
        "Communication and computing take turns: side by side they would save up to"
        f" {percent(saved, view.total)} of {view.scope}.",
        (
            f"{view.time(length(communication))} of communication, of which"
            f" {percent(length(communication) - exposed, length(communication))} beside"
            f" computing; {view.time(alone)} of computing with no communication beside it",
            *view.most_frequent(chosen, 3),
        ),
        "Start communication as soon as its data is ready, on a stream of its own"
        " (async_op=True), and wait for it where the result is used: DDP's buckets"
        " (bucket_cap_mb), FSDP's prefetching, async tensor parallelism.",
    )
