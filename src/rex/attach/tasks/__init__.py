"""Long work over storages: copying all attachments to another one, and reading them all."""

from rex.attach.tasks.copying import Copied, Outcome, copy
from rex.attach.tasks.verifying import State, Verified, verify

__all__ = ["Copied", "Outcome", "State", "Verified", "copy", "verify"]
