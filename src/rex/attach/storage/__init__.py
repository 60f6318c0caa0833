"""Storage: the operations that people call, and the other faces of a storage."""

from rex.attach.storage.storage import MAX_POSITION, Storage, StorageOptions, UploadMethod

__all__ = ["MAX_POSITION", "Storage", "StorageOptions", "UploadMethod"]
