"""Attachments in an application on FastAPI: routes, dependencies and responses."""

from rex.attach.fastapi.attachments import Attachments
from rex.attach.fastapi.form import FORM_BODY, Files
from rex.attach.fastapi.response import AttachmentResponse
from rex.attach.fastapi.types import Handle

__all__ = ["FORM_BODY", "AttachmentResponse", "Attachments", "Files", "Handle"]
