"""The rules of an account: CORS of the blob service, and lifecycle rules of a container."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape

from rex.attach.backend.abilities import BucketRules
from rex.attach.backends.azure.codes import PLACE
from rex.attach.backends.objects.requests import element

if TYPE_CHECKING:
    from rex.attach.backends.azure.container import Container

__all__ = ["AzureRules"]

_RULE = re.compile(r"<CorsRule>(.*?)</CorsRule>", re.DOTALL)
_LISTS = {
    "AllowedOrigins": "AllowedOrigins",
    "AllowedMethods": "AllowedMethods",
    "AllowedHeaders": "AllowedHeaders",
    "ExposeHeaders": "ExposedHeaders",
}
"""The name of a list in S3's format, and in Azure's."""


class AzureRules(BucketRules):
    """Reads and sets CORS rules, which hold for all containers of the account.

    Azure has at most five rules, without ids. Setting them leaves the other properties unchanged.
    """

    is_account_wide = True
    has_ids = False
    lifecycle_name = "rules"

    def __init__(self, container: Container) -> None:
        self._container = container

    def cors(self) -> list[dict[str, Any]]:
        rules = _RULE.findall(self._container.control.properties())
        return [_read(rule) for rule in rules]

    def set_cors(self, rules: list[dict[str, Any]]) -> None:
        written = "".join(map(_write, rules))
        self._container.control.set_properties(
            '<?xml version="1.0" encoding="utf-8"?>'
            f"<StorageServiceProperties><Cors>{written}</Cors></StorageServiceProperties>"
        )

    def lifecycle(self, days: int, noncurrent: int | None) -> list[dict[str, Any]]:
        base = {"delete": {"daysAfterModificationGreaterThan": days}}
        return [
            _lifecycle_rule("drafts", f"{self._place}{PLACE}/", {"baseBlob": base}),
            *(
                []
                if noncurrent is None
                else [
                    _lifecycle_rule(
                        "versions",
                        self._place,
                        {"version": {"delete": {"daysAfterCreationGreaterThan": noncurrent}}},
                    )
                ]
            ),
        ]

    @property
    def _place(self) -> str:
        return f"{self._container.name}/{self._container.prefix}"


def _lifecycle_rule(name: str, prefix: str, actions: dict[str, Any]) -> dict[str, Any]:
    return {
        "enabled": True,
        "name": f"rex-attach-{name}",
        "type": "Lifecycle",
        "definition": {
            "actions": actions,
            "filters": {"blobTypes": ["blockBlob"], "prefixMatch": [prefix]},
        },
    }


def _read(rule: str) -> dict[str, Any]:
    lists = {name: _split(element(rule, theirs)) for name, theirs in _LISTS.items()}
    return {**lists, "MaxAgeSeconds": int(element(rule, "MaxAgeInSeconds") or 0)}


def _split(text: str) -> list[str]:
    return [part.strip() for part in html.unescape(text).split(",") if part.strip()]


def _write(rule: dict[str, Any]) -> str:
    lists = "".join(
        f"<{theirs}>{escape(','.join(rule.get(name, ())))}</{theirs}>"
        for name, theirs in _LISTS.items()
    )
    age = int(rule.get("MaxAgeSeconds", 0))
    return f"<CorsRule>{lists}<MaxAgeInSeconds>{age}</MaxAgeInSeconds></CorsRule>"
