"""Why a link is refused: from the link, the answer and the settings alone."""

from rex.attach.explain.explanation import Explanation, explain
from rex.attach.links.reason import Certainty, Reason

__all__ = ["Certainty", "Explanation", "Reason", "explain"]
