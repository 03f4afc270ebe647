"""The timeline of one round of a test: small enough to be kept beside its baseline."""

from pytest_nsys.insights.timeline.model import Element, Label, Lane, Timeline

__all__ = ["Element", "Label", "Lane", "Timeline"]
