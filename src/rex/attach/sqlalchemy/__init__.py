"""Attachments in SQLAlchemy models: stored and removed with the transactions of a session.

See docs/frameworks/sqlalchemy.md.
"""

from rex.attach.sqlalchemy import aio
from rex.attach.sqlalchemy.column import Attachment, Handle
from rex.attach.sqlalchemy.references import referenced_handles
from rex.attach.sqlalchemy.session import add, adopt, attach

__all__ = [
    "Attachment",
    "Handle",
    "add",
    "adopt",
    "aio",
    "attach",
    "referenced_handles",
]
