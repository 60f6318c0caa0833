"""Long work over storages: copying, reading, sweeping; what is wrong, and why a link is refused."""

from rex.attach.leftover import What
from rex.attach.signing.reason import Certainty, Reason
from rex.attach.tasks.copying import Copied, Outcome, copy
from rex.attach.tasks.examining import Finding, Verdict, examine
from rex.attach.tasks.explaining import Explanation, explain
from rex.attach.tasks.sweeping import Swept, lifecycle, sweep
from rex.attach.tasks.verifying import State, Verified, verify

__all__ = [
    "Certainty",
    "Copied",
    "Explanation",
    "Finding",
    "Outcome",
    "Reason",
    "State",
    "Swept",
    "Verdict",
    "Verified",
    "What",
    "copy",
    "examine",
    "explain",
    "lifecycle",
    "sweep",
    "verify",
]
