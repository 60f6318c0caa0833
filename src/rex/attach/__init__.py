"""Storage for the files that an application's users upload."""

from rex.attach.content.reader import Reader
from rex.attach.info import Info
from rex.attach.links.link import PresignedLink
from rex.attach.opening import get_storage, open_storage
from rex.attach.storage import Storage

__all__ = ["Info", "PresignedLink", "Reader", "Storage", "get_storage", "open_storage"]
