"""Long work over storages: copying, verifying, sweeping, diagnosis."""

from rex.attach.backend.garbage import What
from rex.attach.maintenance.copying import Copied, Outcome, copy
from rex.attach.maintenance.diagnosis import Finding, Verdict, examine
from rex.attach.maintenance.sweeping import Swept, lifecycle, sweep
from rex.attach.maintenance.verifying import State, Verified, verify

__all__ = [
    "Copied",
    "Finding",
    "Outcome",
    "State",
    "Swept",
    "Verdict",
    "Verified",
    "What",
    "copy",
    "examine",
    "lifecycle",
    "sweep",
    "verify",
]
