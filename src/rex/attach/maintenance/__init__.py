"""Maintenance of storages: copy, verify, sweep, diagnose."""

from rex.attach.backend.garbage import GarbageKind
from rex.attach.maintenance.copying import Copied, Outcome, copy
from rex.attach.maintenance.diagnosis import Check, Verdict, diagnose
from rex.attach.maintenance.sweeping import Swept, lifecycle, sweep
from rex.attach.maintenance.verifying import State, Verified, verify

__all__ = [
    "Check",
    "Copied",
    "GarbageKind",
    "Outcome",
    "State",
    "Swept",
    "Verdict",
    "Verified",
    "copy",
    "diagnose",
    "lifecycle",
    "sweep",
    "verify",
]
