"""The diagnosis of a storage of a Django project: its options, its views, and what it can do."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, reverse

from rex.attach.backend.diagnostics import fail_with, ok, warn
from rex.attach.django.management.options import open_for_command
from rex.attach.maintenance.diagnosis import diagnose
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rex.attach import Storage
    from rex.attach.backend.diagnostics import Check
    from rex.attach.django.storage import AttachmentStorage

__all__ = ["diagnose_storage"]


def diagnose_storage(
    key: str, storage: AttachmentStorage, origins: Sequence[str]
) -> Iterator[Check]:
    """Yield the checks of a storage, which name it by `key`; see `maintenance.diagnosis`."""
    try:
        with open_for_command(storage) as rex:
            for check in (_views(rex), *diagnose(rex, origins)):
                yield dataclasses.replace(check, storage=key)
    except ImproperlyConfigured as failure:
        found = fail_with(Error(str(failure), kind=Kind.CONFIGURATION))
        yield dataclasses.replace(found, step="settings", storage=key)


def _views(rex: Storage) -> Check:
    """Check that a storage without links of its own has the views."""
    if rex.abilities.links is not None:
        found = ok("the storage has links of its own")
    else:
        try:
            path = reverse("rex_attach:upload", kwargs={"token": "-"})
            found = ok(f"links lead to the views of the project, as {path}")
        except NoReverseMatch:
            found = warn(
                "no-views",
                "the files have no URLs, and browsers cannot upload",
                'add path("attachments/", include("rex.attach.django.urls")) to the URLs',
            )
    return dataclasses.replace(found, step="views")
