"""Traces: an exported capture as a few tables with fixed columns, whatever its schema version."""

from pytest_nsys.trace.load import load_trace
from pytest_nsys.trace.tables import Trace, TraceGpu

__all__ = ["Trace", "TraceGpu", "load_trace"]
