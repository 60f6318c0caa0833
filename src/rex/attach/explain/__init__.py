"""Explain why a link is refused, from the link, the response and the settings."""

from rex.attach.explain.explanation import Explanation, explain
from rex.attach.links.reason import Certainty, Reason

__all__ = ["Certainty", "Explanation", "Reason", "explain"]
