"""How many examples hypothesis tries here: enough to find what there is, within a minute."""

from __future__ import annotations

from hypothesis import settings

# No deadline for one example: the first one may import pandas, and machines differ.
settings.register_profile("unit", deadline=None, max_examples=60)
settings.load_profile("unit")
