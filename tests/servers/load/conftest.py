"""How many examples hypothesis tries here."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("load", max_examples=60)
settings.load_profile("load")
