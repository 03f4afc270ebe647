"""Load for an inference server: what to send it, when, and what that measured."""

from pytest_nsys.servers.load.client import Target, call, send
from pytest_nsys.servers.load.dialects import (
    Ask,
    Dialect,
    Reading,
    dialect_names,
    dialect_of,
    register_dialect,
)
from pytest_nsys.servers.load.model import Exchange, Load, LoadResult, Prompt
from pytest_nsys.servers.load.prompts import prompts_of, synthetic, synthetic_text
from pytest_nsys.servers.load.summary import check, client_values, percentile

__all__ = [
    "Ask",
    "Dialect",
    "Exchange",
    "Load",
    "LoadResult",
    "Prompt",
    "Reading",
    "Target",
    "call",
    "check",
    "client_values",
    "dialect_names",
    "dialect_of",
    "percentile",
    "prompts_of",
    "register_dialect",
    "send",
    "synthetic",
    "synthetic_text",
]
