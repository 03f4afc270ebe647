"""Template arguments that are tuning: which ones, template by template.

Whether a number in a template's arguments is a tile or a head size, only its author can say. So
only arguments listed here are taken for tuning, and those of a template nobody has listed stay as
they are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

ANY = "*"
"""What stands for a tuned argument; as a file-name pattern it matches what it stands for."""

_LITERAL = re.compile(r"-?\d+|\*")
_ALL = frozenset(range(64))


@dataclass(frozen=True)
class Tuned:
    """The tuned arguments of a template.

    Attributes:
        literals: positions among the arguments that are numbers. Authors add types and take them
            away more often than they reorder numbers, so these hold across versions.
        places: positions among all arguments.
        tiles: positions of tile shapes whose last extent is the head size and stays.
        shapes: whether every argument that is a tuple is tuning.
        least: how many numbers there are at least; with fewer it is another version of the
            template, and nothing is known of it.
    """

    literals: frozenset[int] = frozenset()
    places: frozenset[int] = frozenset()
    tiles: frozenset[int] = frozenset()
    shapes: bool = False
    least: int = 0


def _numbers(*positions: int, least: int = 0) -> Tuned:
    return Tuned(literals=frozenset(positions), least=least)


def _places(*positions: int, literals: frozenset[int] = frozenset()) -> Tuned:
    return Tuned(places=frozenset(positions), literals=literals)


# By the template's name with the scope before it, since another author's template of the same name
# has arguments of its own; by the name alone where there is no scope, or the name is nobody else's.
TUNED: dict[str, Tuned] = {
    # PyTorch: vector width; threads and values per thread; alignment.
    "native::vectorized_elementwise_kernel": _numbers(0),
    "native::vectorized_templated_elementwise_kernel": _numbers(0),
    "native::unrolled_elementwise_kernel": _numbers(0),
    "native::elementwise_kernel": _numbers(0, 1),
    "native::elementwise_kernel_manual_unroll": _numbers(0, 1),
    "native::index_elementwise_kernel": _numbers(0, 1),
    "native::distribution_elementwise_grid_stride_kernel": _numbers(0),
    "native::reduce_kernel": _numbers(0, 1),
    "native::ReduceOp": _numbers(0, 1),
    "native::vectorized_gather_kernel": _numbers(0),
    "native::GammaBetaBackwardCUDAKernelTemplate": _numbers(0, 1, 2, 3, 4),
    "native::CatArrayBatchedCopy": _numbers(1, 2),
    "native::CatArrayBatchedCopy_contig": _numbers(1, 2),
    "native::CatArrayBatchedCopy_aligned16_contig": _numbers(1, 2),
    "native::CatArrayBatchedCopy_alignedK_contig": _numbers(1, 2, 3),
    "native::CatArrayBatchedCopy_vectorized": _numbers(1, 2, 3, 4),
    "native::radixSortKVInPlace": _numbers(2, 3),
    "native::bitonicSortKVInPlace": _numbers(2, 3),
    # The logarithm of the row length, and the warp size; between them log and masked.
    "softmax_warp_forward": _numbers(0, 3),
    "softmax_warp_backward": _numbers(0, 3),
    "native::cunn_SoftMaxForward": _numbers(0),
    "native::cunn_SoftMaxForwardSmem": _numbers(0),
    "native::cunn_SoftMaxBackward": _numbers(0),
    "native::cunn_SoftMaxBackwardSmem": _numbers(0),
    # cuBLAS.
    "cublasLt::splitKreduce_kernel": _numbers(0, 1),
    "gemv2T_kernel_val": _numbers(0, 1, 2, 3),
    "gemvx::kernel": _numbers(4),
    "gemmSN_TN_kernel": _numbers(0, 1, 2, 3, 4, 5),
    "gemmSN_NN_kernel": _numbers(0, 1, 2, 3, 4, 5),
    # cuDNN.
    "cudnn::bn_fw_tr_1C11_kernel_NCHW": _numbers(0),
    "cudnn::bn_bw_1C11_kernel_new": _numbers(0),
    # FlashAttention 2: head size, then blocks, warps and where operands are kept.
    "Flash_fwd_kernel_traits": _numbers(1, 2, 3, 4, 5),
    "Flash_bwd_kernel_traits": _numbers(1, 2, 3, 4, 5, 6, 7, 8),
    "Flash_kernel_traits": _numbers(1, 2, 3),
    "flash_fwd_splitkv_combine_kernel": _numbers(0, 1),
    # FlashAttention 3: stages, cluster, tile; the scheduler.
    "flash::FlashAttnFwd": _places(2),
    "flash::FlashAttnBwd": _places(2),
    "flash::CollectiveMainloopFwd": Tuned(frozenset({0}), frozenset({1}), frozenset({2})),
    "flash::CollectiveMainloopBwd": Tuned(frozenset({0, 1, 2}), frozenset({3}), frozenset({4})),
    "flash::CollectiveEpilogueFwd": _places(0, 1, literals=frozenset({0})),
    # FlashInfer: query tile, fragments, warps (with head sizes between them); stages and tiles;
    # vector width.
    "flashinfer::KernelTraits": _numbers(0, 1, 2, 5, 6),
    "flashinfer::BatchDecodeWithPagedKVCacheKernel": _numbers(0, 1, 5),
    "norm::RMSNormKernel": _numbers(0),
    "norm::FusedAddRMSNormKernel": _numbers(0),
    # vLLM: vector width; threads, partitions; warps, loads.
    "vllm::rms_norm_kernel": _numbers(0),
    "vllm::fused_add_rms_norm_kernel": _numbers(0),
    "vllm::paged_attention_v1_kernel": _numbers(2),
    "vllm::paged_attention_v2_kernel": _numbers(2, 4),
    "vllm::paged_attention_v2_reduce_kernel": _numbers(1, 2),
    "moe::topkGatingSoftmax": _numbers(0, 2, 3),
    # Four numbers say the types; then threads, blocks, stages; then the size of a quantised group.
    "Marlin": _numbers(4, 5, 6, 7, 8, 9, least=12),
    # DeepGEMM: the problem's shape and groups, then blocks, swizzles, stages, threads, multicast,
    # SMs.
    "deep_gemm::fp8_gemm_1d2d_impl": Tuned(literals=frozenset(range(4, 17)), least=16),
    # CUTLASS 2, as templates.
    "gemm::GemmShape": _places(*_ALL),
    "cutlass::MatrixShape": _places(*_ALL),
    "kernel::Gemm": _numbers(0),
    "threadblock::MmaMultistage": _places(0, 2, 3, 5, 6, 9, literals=_ALL),
    "threadblock::MmaPipelined": _places(0, 2, 4, 7, literals=_ALL),
    "threadblock::Epilogue": _places(0, 1, 4, 5, 6, 8, literals=_ALL),
    "threadblock::PredicatedTileAccessIterator": _places(0, 4, 5, literals=_ALL),
    "threadblock::PredicatedTileIterator": _places(0, 4, literals=_ALL),
    "thread::LinearCombination": _numbers(0),
    "thread::LinearCombinationRelu": _numbers(0),
    "thread::LinearCombinationGELU": _numbers(0),
    # CUTLASS 3. Of a mainloop the operands, their strides and the atom stay; of an epilogue the
    # types of C and D, their strides and what is fused; of a GEMM the tile scheduler goes.
    "kernel::GemmUniversal": _places(3, 4),
    "collective::CollectiveMma": _places(1, 7, 8, 9, 11, 12, 13),
    "cute::TiledMMA": _places(1, 2),
    "collective::CollectiveEpilogue": _places(0, 1, 2, 8, 9, 10, 11, 12, 13, 14, 15),
    "fusion::FusionCallbacks": _places(0, 2, 3),
}

_MAINLOOP = Tuned(literals=_ALL, shapes=True)
_ATOM = _numbers(0, 1)
_NOTHING = Tuned()

_SWIZZLE = re.compile(r"(?:[A-Za-z_]\w*::)*\w*ThreadblockSwizzle\w*(?:<.*>)?", re.DOTALL)


def without_tuning(scope: str, name: str, arguments: Sequence[str]) -> list[str]:
    """The arguments of the template ``scope::name``, each tuned one replaced by :data:`ANY`."""
    known = _tuned(scope, name)
    literal = [_LITERAL.fullmatch(argument) is not None for argument in arguments]
    if sum(literal) < known.least:
        known = _NOTHING
    result = []
    ordinal = 0
    for place, argument in enumerate(arguments):
        tuned = place in known.places or _SWIZZLE.fullmatch(argument) is not None
        if literal[place]:
            tuned = tuned or ordinal in known.literals
            ordinal += 1
        elif known.shapes and argument.startswith("cute::tuple<"):
            tuned = True
        elif place in known.tiles:
            argument = _last_extent(argument)
        result.append(ANY if tuned else argument)
    # Versions of a template differ in how many arguments follow; all tuned, they say nothing.
    while len(result) > 1 and result[-1] == result[-2] == ANY:
        result.pop()
    return result


def _tuned(scope: str, name: str) -> Tuned:
    known = TUNED.get(f"{scope}::{name}") or TUNED.get(name)
    if known is not None:
        return known
    if name.startswith("Mainloop"):
        return _MAINLOOP
    return _ATOM if name.startswith("MMA_") else _NOTHING


def _last_extent(tile: str) -> str:
    extents = tile.removeprefix("cute::tuple<").removesuffix(">").split(", ")
    if len(extents) != 3 or not tile.startswith("cute::tuple<"):
        return tile
    return f"cute::tuple<{ANY}, {ANY}, {extents[2]}>"
