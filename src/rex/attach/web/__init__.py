"""Attachments over HTTP: an ASGI application over any storage."""

from rex.attach.web.access import Access, Rule, User, owners_only
from rex.attach.web.app import attachments
from rex.attach.web.mount import access_of
from rex.attach.web.upload import upload

__all__ = ["Access", "Rule", "User", "access_of", "attachments", "owners_only", "upload"]
