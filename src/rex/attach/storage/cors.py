"""The CORS rules of a bucket, which let pages of other origins use the links (Fetch)."""

from __future__ import annotations

import re
from collections.abc import Sequence  # noqa: TC003 - resolved at run time
from typing import TYPE_CHECKING, Any, TypeAlias, final

from rex.attach.backend.abilities import require
from rex.attach.handle import show
from rex.core import Error, Kind

if TYPE_CHECKING:
    from rex.attach.storage import Storage

__all__ = ["BucketCors"]

Rule: TypeAlias = dict[str, Any]

RULE_ID = "rex-attach"
METHODS = ("GET", "PUT", "POST", "DELETE", "HEAD")
EXPOSED = ("ETag", "Location")
"""Response headers that an uploader in a page has to read."""
MAX_AGE = 600

_ORIGIN = re.compile(
    r"https?://[a-z0-9.-]+(?::[0-9]{1,5})?|https?://\[[0-9a-f:]+\](?::[0-9]{1,5})?"
)


class BucketCors:
    """The CORS rules of a bucket, in the format of S3."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def __repr__(self) -> str:
        return f"{self._storage!r}.cors"

    @final
    def rules(self) -> list[Rule]:
        """Return the CORS rules of the bucket."""
        with self._storage.map_errors(None):
            return require(self._storage.abilities.bucket, "bucket").cors()

    @final
    def make_rule(self, origins: Sequence[str]) -> Rule:
        """Return the rule that pages of these origins (``https://example.org``) need.

        Errors: `ILL_FORMED` without an origin, or for a text that is not an origin.
        """
        wrong = [origin for origin in origins if not _ORIGIN.fullmatch(origin)]
        if wrong or not origins:
            what = show(wrong[0]) if wrong else None
            raise Error(
                "An origin must be a scheme and a host, as https://example.org",
                what,
                kind=Kind.ILL_FORMED,
            )
        return {
            "ID": RULE_ID,
            "AllowedOrigins": sorted(set(origins)),
            "AllowedMethods": [*METHODS],
            "AllowedHeaders": ["*"],
            "ExposeHeaders": [*EXPOSED],
            "MaxAgeSeconds": MAX_AGE,
        }

    @final
    def allow(self, origins: Sequence[str]) -> list[Rule]:
        """Set the rule that these origins need; return all rules of the bucket.

        The rule replaces the one that an earlier call set. Other rules are kept, after it: a
        server applies the first rule that matches.
        """
        rule = self.make_rule(origins)
        has_ids = require(self._storage.abilities.bucket, "bucket").has_ids
        others = [each for each in self.rules() if not _is_ours(each, rule, has_ids=has_ids)]
        with self._storage.map_errors(None):
            require(self._storage.abilities.bucket, "bucket").set_cors([rule, *others])
        return self.rules()

    @property
    def is_account_wide(self) -> bool:
        """Whether the rules hold for all containers of an account, as on Azure."""
        return require(self._storage.abilities.bucket, "bucket").is_account_wide

    @final
    def allows(self, origins: Sequence[str]) -> bool:
        """Return whether the bucket has the rule that these origins need."""
        rule = _comparable(self.make_rule(origins))
        return any(_comparable(each) == rule for each in self.rules())


def _is_ours(rule: Rule, needed: Rule, *, has_ids: bool) -> bool:
    if not has_ids:  # recognised by everything but the origins
        return _comparable({**rule, "AllowedOrigins": needed["AllowedOrigins"]}) == _comparable(
            needed
        )
    return rule.get("ID") == RULE_ID or _comparable(rule) == _comparable(needed)


def _comparable(rule: Rule) -> dict[str, list[str]]:
    """Return what a rule allows, without the order and without its caching time."""
    names = ("AllowedOrigins", "AllowedMethods", "AllowedHeaders", "ExposeHeaders")
    return {name: sorted(rule.get(name, ())) for name in names}
