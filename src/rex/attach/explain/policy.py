"""Comparison of a form's fields with its policy (S3 API reference, POST policy)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rex.attach.links.reason import Reason, certain, cite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rex.attach.links.signed_link import SignedLink

__all__ = ["UNCHANGED", "policy_reasons"]

UNNAMED = ("policy", "x-amz-signature", "x-goog-signature", "file")
"""Fields that need no condition."""
PAIR, TRIPLE = 1, 3
UNCHANGED = "Send all fields of the link, and only those, before the file."


def policy_reasons(link: SignedLink) -> Iterator[Reason]:
    """Yield a reason for each field that violates the policy."""
    conditions = link.policy.get("conditions")
    if not isinstance(conditions, list):
        yield certain("unreadable-policy", "the policy is not JSON with conditions", UNCHANGED)
        return
    wanted = dict(filter(None, map(_condition, conditions)))
    fields = {name.lower(): value for name, value in link.fields.items()}
    for name, (kind, value) in wanted.items():
        given = fields.get(name, "")
        fits = given.startswith(value) if kind == "starts-with" else given == value
        if name != "bucket" and not fits:
            yield certain(
                "field-changed",
                f"signed: {cite(value, 100)}; in the form: {cite(given or 'nothing', 100)}",
                UNCHANGED,
                cite(name, 60),
            )
    added = [name for name in fields if name not in wanted and name not in UNNAMED]
    if added := [name for name in added if not name.startswith("x-ignore-")]:
        yield certain(
            "field-added",
            cite(", ".join(added), 100),
            UNCHANGED,
        )


def _condition(condition: Any) -> tuple[str, tuple[str, str]] | None:
    """Return the field of a condition, its operator and value; None for a size range."""
    if isinstance(condition, dict) and len(condition) == PAIR:
        ((name, value),) = condition.items()
        return str(name).lower(), ("eq", str(value))
    if isinstance(condition, list) and len(condition) == TRIPLE:
        kind, name, value = map(str, condition)
        if kind in ("eq", "starts-with") and name.startswith("$"):
            return name[1:].lower(), (kind, value)
    return None
