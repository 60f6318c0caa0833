"""Attachments: one storage for the files that an application's users upload."""

from rex.attach.info import Info
from rex.attach.link import PresignedLink
from rex.attach.reader import Reader
from rex.attach.storage import Storage
from rex.attach.wiring import get_storage, open_storage

__all__ = ["Info", "PresignedLink", "Reader", "Storage", "get_storage", "open_storage"]
