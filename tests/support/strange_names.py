"""Names to try the functions on: any text, what looks like C++, and known names cut and mixed."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.support.known_names import RAW

_PIECES = (
    *"< > ( ) [ ] { } , :: * & - # 1 4u (int)4 (bool)1 -2 0x1f _ __ ... void const".split(),
    *"true false lambda {lambda()} {lambda()#2} {lambda(c10::Half)} operator operator()".split(),
    *"operator< <unnamed>:: CUB_200_NS:: ::Policy900 std::enable_if< >::type [abi:v1] $3".split(),
    *"cudapy:: at::native::reduce_kernel< cutlass_80_tensorop_ nvjet_ xmma_ 128x64 sm90".split(),
    *"Sm90 KernelTmaWarpSpecialized triton_poi_fused_ _0d1d2d 0123456789abcdef _12".split(),
    *"h884cudnn ampere_sgemm_ loop_add_fusion_ gemm_fusion_a ncclDevKernel_".split(),
    *"__myl_bb1_2_ fmha_v2_1_2_S_".split(),
    "(anonymous namespace)::",
    " ",
)

_cpp = st.lists(st.sampled_from(_PIECES), max_size=30).map("".join)


@st.composite
def _mixed(draw: st.DrawFn) -> str:
    """The beginning of one known name and the end of another."""
    one, other = draw(st.sampled_from(RAW)), draw(st.sampled_from(RAW))
    start = draw(st.integers(0, len(one)))
    end = draw(st.integers(0, len(other)))
    return one[:start] + draw(_cpp) + other[end:]


_text = st.text(st.characters(exclude_categories=()), max_size=80)
names = st.one_of(_text, _cpp, _mixed(), st.sampled_from(RAW))


def hostile(length: int) -> dict[str, str]:
    """Names of about so many characters, by what might take more steps than that in them."""
    return {
        "open templates": "a<" * (length // 2),
        "open parentheses": "(" * length,
        "nested as deep as is read": "f<" * 99 + "a, " * (length // 3) + ">" * 99,
        "commas": "f<" + "," * length + ">",
        "parameter lists": "f" + "(a)" * (length // 3),
        "casts": "f<" + "(int)" * (length // 5) + "4>",
        "spaces": "a" + " " * length + "b",
        "scopes": "a::" * (length // 3),
        "anonymous namespaces": "_GLOBAL__N_" * (length // 11),
        "lambdas": "f::{lambda()}" + "::{lambda()}" * (length // 12),
        "open lambdas": "{lambda(" * (length // 8),
        "dispatches": "f<" + "{lambda()}::{lambda()}::{lambda(c10::Half)}::" * (length // 45) + ">",
        "operators": "operator " * (length // 9),
        "numbers": "gemm_fusion_a" + "_1" * (length // 2) + "x",
        "digits": "kernel_0" + "1" * length,
        "hexadecimal": "k_" + "a1" * (length // 2),
        "underscores": "_" * length,
        "tiles": "cutlass_80_tensorop_" + "128x128_" * (length // 8),
        "reductions": "triton_red_fused_" + "_mean" * (length // 5),
        "architectures": "Sm90" * (length // 4),
        "surrogates": "\ud800" * length,
    }
