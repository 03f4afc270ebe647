"""The category of a kernel: the class of work it does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

from pytest_nsys.kernels.canonical import canonical

COMMUNICATION = "comm"
"""The category of kernels that move data between devices."""

CATEGORIES: Mapping[str, str] = {
    "gemm": "products of matrices and vectors",
    "attention": "fused attention",
    "conv": "convolutions",
    "norm": "normalisation and softmax",
    "elementwise": "work on each element by itself",
    "reduce": "reductions and scans",
    "copy": "moving data, gather and scatter included",
    COMMUNICATION: "communication between GPUs",
    "sort": "sorting, and selecting the largest",
    "other": "anything else",
}
"""Every category and what it means."""

# The first pattern found in the canonical name decides. So names that list what they fuse come
# first, then templates whose own name says what they do whatever is in their arguments, then words
# from rare to common. A pattern either is anchored or has no unbounded repetition, so that long
# names take time in proportion.
_TABLE = (
    # Inductor: the operations that a kernel fuses are in its name, and its kind says what
    # dominates.
    ("attention", r"^triton_tem_fused_(?=\w*(?:attention|sdpa))"),
    ("conv", r"^triton_tem_fused_(?=\w*conv)"),
    ("gemm", r"^triton_tem_|^triton_(?:mm|bmm|addmm|gemm)"),
    ("norm", r"^triton_(?:red|per)_fused_(?=\w*(?:norm|softmax))"),
    ("norm", r"^triton_(?:red|per)_fused_(?=\w*mean)(?=\w*rsqrt)"),
    ("reduce", r"^triton_(?:red|per|spl)_"),
    ("elementwise", r"^triton_(?:poi|for|mix)_"),
    ("norm", r"^triton_softmax"),
    # XLA.
    ("gemm", r"^gemm_fusion"),
    ("reduce", r"^(?:loop|input|wrapped)_(?=\w*reduce)"),
    ("copy", r"^(?:loop|input|wrapped)_(?:transpose|concatenate|copy|scatter|gather|slice|pad)"),
    ("copy", r"^(?:loop|input|wrapped)_dynamic_(?:update_)?slice"),
    ("elementwise", r"^(?:loop|input|wrapped)_(?=\w*fusion)|^wrapped_[a-z]"),
    # PyTorch: what an elementwise kernel is depends on its functor, which is an argument.
    ("copy", r"_copy_kernel_cuda|^at::native::index_elementwise_kernel<"),
    ("elementwise", r"^(?:at::native::)?\w{0,40}elementwise_kernel(?:_\w{1,40})?<"),
    ("elementwise", r"^at::native::multi_tensor_apply_kernel<"),
    ("reduce", r"^at::native::reduce_kernel<"),
    # Communication.
    ("comm", r"(?i:nccl|nvshmem|cross_device_reduce|deep_ep::|userbuffers)"),
    ("comm", r"(?:(?<![A-Za-z])all|All)_?(?:[rR]educe|[gG]ather|[tT]o_?[aA]ll)"),
    ("comm", r"[rR]educe_?[sS]catter"),
    # Moving data, before words in its names that say what for.
    ("copy", r"_and_cache|kv_?cache_(?:copy|write|store)|store_kv|_kv_buffer|(?:copy|swap)_blocks"),
    ("copy", r"(?i:nchw_?to_?nhwc|nhwc_?to_?nchw|transpos|permut)|genericReformat"),
    # Attention, before the CUTLASS it is made of.
    ("attention", r"(?i:attention)|(?<![A-Za-z])attn|Attn|ATTN|fmha|flash_(?:fwd|bwd)|sdpa"),
    ("attention", r"(?<!\w)flash::|(?:Batch|Single)(?:Prefill|Decode)|MergeState"),
    ("attention", r"(?<![A-Za-z])(?:xqa|mha|mqa|mla|gqa)(?![a-z])"),
    # Triton's, in SGLang, vLLM and others: prefill, and the two stages of decoding.
    ("attention", r"^_(?:fwd|bwd)(?:_grouped)?_kernel(?:_stage\d|_unified|_d[kqv]\w{0,10})?$"),
    # Sorting before normalisation: routers take the largest of a softmax.
    ("sort", r"(?<![a-z])(?:[rR]adix|[bB]itonic|[mM]erge)_?[sS]ort|(?<![a-z])sort|Sort"),
    ("sort", r"[tT]op_?[kKpP](?![a-z])"),
    # Normalisation before convolution and GEMM: their libraries have such kernels, too.
    ("norm", r"(?i:(?:layer|rms|batch|group|instance|l2)_?norm|softmax)|bn_(?:fw|bw)_"),
    ("norm", r"GammaBeta|RowwiseMoments"),
    ("conv", r"fprop|dgrad|wgrad|[wW]inograd|mma_cudnn|scudnn|convolv|implicit_gemm"),
    ("conv", r"(?<![A-Za-z])conv(?:olution|\d|_|$)|Conv\dd"),
    ("gemm", r"(?i:gemm|gemv|matmul)|nvjet|splitKreduce|xmma|^bmm_|^cutlass::|Marlin|mul_mat"),
    ("gemm", r"cublas\w{0,20}::|_mm_kernel|scaled_mm|fused_moe_kernel|^dot_kernel|__myl_Fc"),
    ("elementwise", r"(?i:rotary|(?<![A-Za-z])rope|quantiz)"),
    # Reductions before the words for what is reduced.
    ("reduce", r"[rR]educ|Scan|(?<![a-z])scan|[cC]um(?:sum|prod)|[hH]istogram|bincount"),
    ("reduce", r"(?i:arg_?(?:max|min))"),
    ("copy", r"(?i:copy|memcpy|gather|scatter|concat|embedding|reshape|CatArray)"),
    ("copy", r"(?<![A-Za-z])index(?:_|Select|Func|ing|Put)|(?:_|::|^)(?:pad|roll|flip|slice|cat)_"),
    ("copy", r"expandInputRows|im2col|col2im"),
    ("reduce", r"(?<![A-Za-z])(?:sum|mean|prod|max|min|any|all|std|var|norm)(?![A-Za-z:])"),
    # Work on each element.
    ("elementwise", r"(?i:elementwise|pointwise|multi_tensor|activation|act_and_mul|adam)"),
    ("elementwise", r"(?i:gelu|silu|relu|swiglu|quant|dropout|convert)"),
    ("elementwise", r"(?i:fill|clamp|random|philox|curand)|CUDAFunctor_|__myl_|^cupyx?_"),
    ("elementwise", r"(?<![A-Za-z])(?:add|sub|mul|div|cast|bias|where|exp|sgd)(?![A-Za-z])"),
)

_COMPILED = tuple((category, re.compile(pattern)) for category, pattern in _TABLE)


@lru_cache(maxsize=16384)
def category(raw: str) -> str:
    """The category of a kernel, by its canonical name: tuning does not change it.

    Args:
        raw: a raw or a canonical name.

    Returns:
        One of :data:`CATEGORIES`; "other" where no pattern is found.
    """
    name = canonical(raw)
    return next((category for category, pattern in _COMPILED if pattern.search(name)), "other")
