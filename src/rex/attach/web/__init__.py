"""Attachments over HTTP: an ASGI application over any storage."""

from rex.attach.web.access import Access, Rule
from rex.attach.web.app import attachments

__all__ = ["Access", "Rule", "attachments"]
