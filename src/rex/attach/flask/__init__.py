"""Attachments in Flask: the storage of an application, the service, downloads and commands."""

from rex.attach.flask.extension import Attachments, current_attachments
from rex.attach.flask.responses import send_attachment

__all__ = ["Attachments", "current_attachments", "send_attachment"]
