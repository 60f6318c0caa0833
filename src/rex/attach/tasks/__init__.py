"""Long work over storages: copying them, reading everything, and sweeping what is left over."""

from rex.attach.leftover import What
from rex.attach.tasks.copying import Copied, Outcome, copy
from rex.attach.tasks.sweeping import Swept, lifecycle, sweep
from rex.attach.tasks.verifying import State, Verified, verify

__all__ = [
    "Copied",
    "Outcome",
    "State",
    "Swept",
    "Verified",
    "What",
    "copy",
    "lifecycle",
    "sweep",
    "verify",
]
