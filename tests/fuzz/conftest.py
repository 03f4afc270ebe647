"""How many examples hypothesis tries here, and what these tests share with others:
measurements that are made up, and a server of the tests of loads.
"""

import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
sys.path.insert(0, str(Path(__file__).parents[1] / "servers" / "load"))

settings.register_profile("fuzz", max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fuzz")
