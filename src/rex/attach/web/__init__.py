"""Attachments over HTTP: an ASGI application over any storage."""

from rex.attach.web.access import Access, Rule
from rex.attach.web.app import attachments
from rex.attach.web.mount import access_of
from rex.attach.web.upload import upload

__all__ = ["Access", "Rule", "access_of", "attachments", "upload"]
