"""What all tests share: patience with servers."""

from httpx._config import DEFAULT_TIMEOUT_CONFIG
from hypothesis import HealthCheck, settings

from programs import PATIENCE

# Of httpx's own 5 seconds, a machine with other things to do may need more.
for _step in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, _step, PATIENCE)

# Of Hypothesis's 200 milliseconds for an example, too; each run tries the same examples.
settings.register_profile(
    "patient",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("patient")
