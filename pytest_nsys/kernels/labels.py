"""Names that are one word: those of code generators and of kernels written in assembly.

Such a *label* is a list of *marks* joined with underscores. Which marks are tuning depends on the
family of the label, so that ``32x32`` is a tile in ``ampere_sgemm_32x32_tn`` and stays in
``transpose_32x32``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

_TILE = r"\d+x\d+(?:x\d+)*"
_SM = r"(?:sm|SM)_?\d{2,3}[af]?"
_CUDNN = r"\d+x|cublas|cudnn|trt|infer|train"
_ARCHITECTURES = "maxwell|pascal|volta|turing|ampere|ada|hopper|blackwell"


@dataclass(frozen=True)
class Family:
    """Labels of one origin.

    Attributes:
        label: what the beginning of such a label looks like.
        tuning: what a mark of it looks like that says how the kernel was tuned, not what it is for.
    """

    label: re.Pattern[str]
    tuning: re.Pattern[str]


def _family(label: str, *tuning: str) -> Family:
    return Family(re.compile(label), re.compile("|".join(tuning)))


FAMILIES = (
    _family(
        r"(?:sm\d+[af]?_)?xmma_",
        _SM,
        _CUDNN,
        r"(?:tilesize|warpsize|warpgroupsize|cgasize|tensor)[\dx]*",
        r"(?:stage|align[abc])\d+",
        r"execute|kernel|segment|split|k|on|off|split[kK](?:reduce)?",
        r"simple|indexed|wo|smem",
    ),
    # cuBLAS, cuDNN and TensorRT kernels written for one architecture.
    _family(
        rf"(?:_?\d+x_cudnn_|cudnn_(?:infer_|train_)?|trt_)?(?:{_ARCHITECTURES})_"
        r"(?=\w*(?:gemm|cudnn|gemv|conv|fprop|dgrad|wgrad))",
        _ARCHITECTURES,
        _CUDNN,
        _TILE,
        r"(?:sliced|ldg)[\dx]*|stages|splitK|tile\d+[a-z]*|v\d+",
        r"small|medium|large|interior|xregs",
    ),
    _family(
        r"cutlass(?:3x)?_(?:(?:sm)?\d+[af]?_)?(?:wmma_)?\w{0,2}(?:simt|tensorop)|cutlass_+(?:\d+x_)?cudnn",
        _SM,
        _CUDNN,
        _TILE,
        r"\d+|\d+sm|align\d+|(?:sliced|ldg)[\dx]*|stages|wmma",
        r"warpspecialized|cooperative|pingpong|persistent|stream|k|epi|tma|nosmem",
        r"optimized|analytic",
    ),
    # h and v: the direction in which tiles follow each other. The marks kept are, for example, hsh
    # (the types), bz or badd (what becomes of C), bias, TNT (the layouts).
    _family(
        r"nvjet_",
        _SM,
        _TILE,
        r"h|v|\d+|\d+cta|coop[AB]|splitK|mma|tma[A-D]*|align[A-D]*\d+|cga[\dx]+",
    ),
    _family(
        r"cudnn_generated_",
        _SM,
        _TILE,
        r"knob|\d+|cga[\dx]+|wgmma|wmma|mma|utcmma",
    ),
    # PyTorch's memory-efficient attention; rf and gmem: where the output is accumulated.
    _family(r"fmha_cutlass[FB]_", _SM, _TILE, r"rf|gmem|(?:not|seq)?aligned"),
    # TensorRT's fused attention.
    _family(r"fmha_v2_", _SM, r"kernel|nl|tiled|tma|ws"),
    # Batched GEMM of TensorRT-LLM's generator.
    _family(
        r"(?:bmm|gemm)_(?:Mx)?(?:Bfloat16|Fp\d+|E\d+m\d+|Int\d+)_",
        _SM,
        r"(?:t|et|m|c|cga)\d+x\d+(?:x\d+)?(?:u\d+)?|s[\dx]+|\d+dp\d+b",
        r"sch[A-Z]\w*|(?:ldgsts|tma)\w*|rgTma|noShfl",
    ),
    _family(r"_(?:p_)?matmul_ogs_", _TILE),
    # Algorithm and protocol are picked by NCCL's own tuner, message by message.
    _family(
        r"nccl(?:Dev|Sym|SymDev|SymkDev)?Kernel_",
        r"RING|TREE|NVLS|COLLNET|DIRECT|CHAIN|PAT|LL|LL128|SIMPLE|Simple",
        r"(?:RS|AG)x\w+|LLMC|LD|LDMC|ST|STMC|R",
    ),
    # Atoms of CuTe's matrix multiplication; SS and RS: from where A is read.
    _family(r"(?:SM\d+_|MMA_\d)", _SM, _TILE, r"\d+x\d+SM|SS|RS|TS|TN"),
)

# s16816gemm: a GEMM with float accumulators made of 16x8x16 instructions. That it uses them at all
# stays, for without a data type in the name it tells TF32 from float.
_INSTRUCTION = re.compile(
    r"^([a-z])(?:(?:8|16)\d{2,5}|\d+x\d+x\d+)((?:[a-z]+\d+)?(?:sp)?(?:gemm|cudnn|fprop|dgrad|wgrad).*)$"
)
# The architecture inside of a word: CollectiveMainloopFwdSm90, fmhaSm100fKernel.
_SM_WITHIN = re.compile(r"(?:(?<=[a-z0-9])|(?<![A-Za-z0-9]))(?:[12]Sm)?Sm\d{2,3}[af]?(?=[A-Z_]|$)")
_SCHEDULE = re.compile(r"Pingpong|Cooperative")
_FMHA = re.compile(r"MultiCtasKv|Q\d+Kv\d+|Static|Persistent|SwapsAb|KeepsAb")
_FMHA_TILE = re.compile(r"_\d+_\d+(?=_S_)")

# The parameters that Triton's autotuners try, where authors write them into names: BLOCK_M_128,
# BN64, num_warps_4. In capitals: vLLM's block_size_16 is no tuning.
META = re.compile(
    r"_(?:(?:BLOCK|TILE|GROUP)(?:_SIZE)?(?:_?[A-Z]{1,2})?|B[MNK]|"
    r"num_?(?:warps|stages|ctas)|NUM_?(?:WARPS|STAGES|CTAS))_?\d+(?=_|$)"
)

_HASH = re.compile(r"(?:0x)?[0-9a-f]{16,}")
_DATA_TYPES = re.compile(r"(?:b?f\d+|e\dm\d|[us]\d+)+")
_MYELIN_NODE = re.compile(r"(?<=^__my[el])\d*(?:_bb\d+_\d+)?(?=_)|_myl\d+_\d+$")

# What Inductor and XLA write before the operations that a kernel fuses.
_INDUCTOR = re.compile(r"triton_(?:(?:poi|red|per|tem|for|mix|spl|unk)(?:_|$))?(?:fused(?:_|$))?")
_XLA = re.compile(r"(?:loop|input|output)_[a-z]\w*_fusion|gemm_fusion_[a-z]\w*|wrapped_[a-z]\w*")


@lru_cache(maxsize=16384)
def simplify_label(label: str) -> str:
    """The label without the marks of its tuning. It may be empty."""
    simpler = label
    for rule in _RULES:
        # A rule that leaves no letter has taken the name itself for a number or a hash.
        simpler = _if_readable(rule(simpler), simpler)
    return simpler


def _if_readable(label: str, instead: str) -> str:
    return label if any(map(str.isalpha, label)) else instead


def _without_marks(label: str) -> str:
    for family in FAMILIES:
        if family.label.match(label):
            break
    else:
        return label
    first, *rest = label.split("_")
    kept = [mark for mark in rest if mark and not family.tuning.fullmatch(mark)]
    if not family.tuning.fullmatch(first):
        kept.insert(0, first)
    return "_".join(kept)


def _without_instruction_shape(label: str) -> str:
    marks = [_INSTRUCTION.sub(r"\1_mma_\2", mark) for mark in label.split("_")]
    return "_".join(marks)


def _without_meta(label: str) -> str:
    return META.sub("", label)


def _without_architecture(label: str) -> str:
    label = _SM_WITHIN.sub("", label) or "Sm"
    if "sm" in label and "_" in label:
        marks = label.split("_")
        label = "_".join(mark for mark in marks if not re.fullmatch(r"sm\d{2,3}[af]?", mark))
    return label


def _without_schedule(label: str) -> str:
    if label.startswith("Kernel") and "WarpSpecialized" in label:
        return _SCHEDULE.sub("", label)
    return label


def _without_attention_tiles(label: str) -> str:
    if label.startswith("fmha_v2_"):
        return _FMHA_TILE.sub("", label)
    if label.startswith(("fmhaKernel_", "fmhaSm")):
        return _FMHA.sub("", label)
    return label


def _without_specialization(label: str) -> str:
    """Without Triton's list of arguments (``_0d1d2d34c``) and of what is known of each."""
    base, underscore, listed = label.rpartition("_")
    if not underscore or not listed.startswith("0") or base.strip("_") == "triton":
        return label
    place = arguments = 0
    while place < len(listed):
        if not listed.startswith(str(arguments), place):
            return label
        place += len(str(arguments))
        arguments += 1
        while place < len(listed) and listed[place] in "cde":
            place += 1
    plain = listed.isdigit()
    return base if arguments >= (6 if plain else 2) else label


def _without_hash(label: str) -> str:
    base, underscore, last = label.rpartition("_")
    if not underscore or not _HASH.fullmatch(last) or _DATA_TYPES.fullmatch(last):
        return label
    both = any(map(str.isdigit, last)) and any(map(str.isalpha, last))
    return base if both else label


def _without_counter(label: str) -> str:
    """Without the number of a generated kernel, where its name says anything but the number."""
    inductor = _INDUCTOR.match(label)
    if inductor:
        operations = _without_last_number(label[inductor.end() :])
        return label[: inductor.end()] + operations if operations else label
    if label.startswith("__my"):
        return _MYELIN_NODE.sub("", label)
    unnumbered = _without_last_number(label)
    return unnumbered if _XLA.fullmatch(unnumbered) else label


def _without_last_number(label: str) -> str:
    marks = label.split("_")
    while marks and marks[-1].isdecimal():
        marks.pop()
    return "_".join(marks)


def _without_numba_id(label: str) -> str:
    base, dollar, number = label.rpartition("$")
    return base if dollar and number.isdecimal() else label


_RULES: tuple[Callable[[str], str], ...] = (
    _without_numba_id,
    _without_marks,
    _without_instruction_shape,
    _without_attention_tiles,
    _without_meta,
    _without_architecture,
    _without_schedule,
    _without_specialization,
    _without_hash,
    _without_counter,
)
