"""Django: storages for `STORAGES`, and what a project needs around them.

The storages work without `INSTALLED_APPS`; names that are kept in the database, the checks of all
fields and the commands need ``"rex.attach.django"`` there. Importing this package imports neither
models nor settings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rex.attach.django.fields import AttachmentField as AttachmentField
    from rex.attach.django.fields import AttachmentFieldFile as AttachmentFieldFile
    from rex.attach.django.fields import AttachmentImageField as AttachmentImageField
    from rex.attach.django.fields import AttachmentImageFieldFile as AttachmentImageFieldFile
    from rex.attach.django.forms import AttachmentFormField as AttachmentFormField
    from rex.attach.django.forms import AttachmentImageFormField as AttachmentImageFormField
    from rex.attach.django.forms import MultipleAttachmentFormField as MultipleAttachmentFormField
    from rex.attach.django.named import NamedAttachmentStorage as NamedAttachmentStorage
    from rex.attach.django.requests import direct_upload as direct_upload
    from rex.attach.django.response import AttachmentResponse as AttachmentResponse
    from rex.attach.django.storage import AttachmentStorage as AttachmentStorage

_MODULES = {
    "AttachmentField": "fields",
    "AttachmentFieldFile": "fields",
    "AttachmentFormField": "forms",
    "AttachmentImageField": "fields",
    "AttachmentImageFieldFile": "fields",
    "AttachmentImageFormField": "forms",
    "AttachmentResponse": "response",
    "AttachmentStorage": "storage",
    "MultipleAttachmentFormField": "forms",
    "NamedAttachmentStorage": "named",
    "direct_upload": "requests",
}
"""Public names, and the modules that define them."""

__all__ = sorted(_MODULES)  # noqa: PLE0605 - a list of strings


def __getattr__(name: str) -> Any:
    """Import a public name when it is used, since models cannot be imported before the apps."""
    from importlib import import_module

    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
