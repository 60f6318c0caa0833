"""What all tests share: patience with servers, and with this machine."""

from httpx._config import DEFAULT_TIMEOUT_CONFIG
from hypothesis import HealthCheck, settings

from programs import PATIENCE

# Of httpx's own 5 seconds, a machine with other things to do may need more.
for _step in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, _step, PATIENCE)

# Hypothesis measures examples by the clock, which goes on while the machine does other things.
# Each run tries the same examples, so that a commit fails always or never.
settings.register_profile(
    "patient",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")
