"""Checks of uploads for an application's `on_complete`: type, image size, malware."""

from rex.attach.checks.check import Check, CheckedUpload, all_of
from rex.attach.checks.images import image_size
from rex.attach.checks.media_types import content_type
from rex.attach.checks.scanner import clamd

__all__ = ["Check", "CheckedUpload", "all_of", "clamd", "content_type", "image_size"]
