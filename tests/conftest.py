"""What all tests share: patience with servers."""

from httpx._config import DEFAULT_TIMEOUT_CONFIG

from programs import PATIENCE

# Of httpx's own 5 seconds, a machine with other things to do may need more.
for _step in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, _step, PATIENCE)
