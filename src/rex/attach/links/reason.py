"""Why a link is refused: the catalogue of reasons, and how foreign text is shown in them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = [
    "REASONS",
    "Certainty",
    "Comparison",
    "Reason",
    "certain",
    "cite",
    "likely",
    "possible",
]

REASONS = {
    # What copying does to a link.
    "wrapped": "Something stands around the link.",
    "encoded-whole": "The link is encoded as a whole.",
    "encoded-twice": "The link was encoded twice.",
    "decoded": "The link was decoded, so that + in it became a space.",
    "from-html": "The link was copied out of HTML.",
    "from-json": "The link was copied out of JSON.",
    "escaped": "The link was escaped for a shell or for JSON, and is used with the backslashes.",
    "broken": "The link is broken by white space.",
    "cut-off": "The link is cut off at its end.",
    "end-changed": "The end of the link was changed.",
    # The link itself.
    "unsigned": "The link carries no signature: it is a mere address, or cut off.",
    "incomplete": "The link is incomplete. {what} are missing.",
    "signature-changed": "A parameter of the signature was changed.",
    "signature-incomplete": "A part of the signature is missing.",
    "signature-mismatch": "The signature does not fit: the path, a parameter, the policy or the "
    "secret key is another.",
    "bad-signature": "The link was changed, or is for another method.",
    "unreadable-token": "The token of the link is none of the service.",
    "other-secret": "The token was not signed with the secret of this storage, or was changed.",
    "address-changed": "The path or the query of the link was changed.",
    "path-changed": "The path of the link was changed.",
    "path-encoded": "The path of the link was changed: it is encoded otherwise than it was signed.",
    "parameter-added": "A parameter was added to the link.",
    "parameter-changed": "The parameter {subject} of the link was added, changed or left out.",
    "parameter-repeated": "A parameter stands twice in the link.",
    "too-long-lived": "The link is signed for longer than 7 days, which no server takes.",
    # Times.
    "link-expired": "The link has expired.",
    "clock-ahead": "The server's clock is ahead of this one, or was when it answered.",
    "clock-skew": "The clocks of the server and of who signed the link are too far apart.",
    "signed-in-future": "The link was signed in the future: the clock of who signed it is ahead.",
    # The form.
    "unreadable-policy": "The policy of the form cannot be read.",
    "policy-failed": "A field of the form, or the size, is not as the policy of the form wants it.",
    "policy-or-key": "The policy of the form was changed, or the secret key is wrong.",
    "form-changed": "A field of the form was changed or added.",
    "field-added": "The form has a field that its policy does not name.",
    "field-changed": "The field {subject} of the form is not as it was signed.",
    # The request.
    "wrong-method": "The link is for {expected}, and was asked with {subject}.",
    "other-method": "It was asked with another method than {expected}.",
    "method-not-allowed": "The server does not take this method here.",
    "header-added": "A header was sent that is not signed.",
    "header-missing": "The header {subject} is signed, and was not sent.",
    "header-changed": "The header {subject} was sent with another value than the signed one.",
    "header-unlike": "A header that is signed was not sent, or not with the signed value.",
    "authorization-sent": "The client sent an Authorization header besides the link.",
    "host-changed": "The server was asked for another host: a proxy rewrites the header Host.",
    "path-rewritten": "The path was changed on its way.",
    "parameter-rewritten": "The parameter {subject} was changed on its way.",
    "scope-rewritten": "The {subject} of the signature was changed on its way.",
    "size-missing": "The size of the file was not sent.",
    "digest-mismatch": "The bytes are not those that Content-MD5 or the checksum tells.",
    "too-large": "The file is larger than the link permits.",
    "too-small": "The file, or a part but the last one, is smaller than is permitted.",
    # The attachment.
    "not-found": "There is no such attachment; the link itself was accepted.",
    "exists": "It exists already: a link for PUT works once.",
    "claimed": "Somebody else was uploading the same at that moment.",
    "upload-over": "The upload in parts has been completed or aborted; the link itself was "
    "accepted.",
    # The keys.
    "path-or-key": "The path or a parameter was changed, or the secret key is wrong.",
    "wrong-secret-key": "The secret key is wrong: the server was asked just what the link says.",
    "unknown-access-key": "The server does not know the access key that the link is signed with.",
    "unknown-temporary-key": "The server does not know the temporary keys that the link is signed "
    "with.",
    "other-access-key": "The link was signed with another access key than that of the settings.",
    "no-session-token": "The session token of the temporary keys is missing from the link.",
    "wrong-session-token": "The session token of the temporary keys is wrong, or not that of the "
    "access key.",
    "credentials-expired": "The temporary keys that the link is signed with have expired, before "
    "the link.",
    "credentials-stale": "The temporary keys must be renewed.",
    "no-permission": "The keys that the link is signed with have no permission for this.",
    # The server.
    "no-bucket": "The bucket does not exist.",
    "wrong-bucket-name": "This is no name of a bucket.",
    "other-bucket": "The link is for another bucket than that of the settings.",
    "other-host": "The link leads to another host than that of the settings.",
    "other-service": "The link leads to another service than that of the settings.",
    "signed-for-other-host": "The link is signed for another host than it leads to.",
    "other-address": "The bucket is at another address.",
    "wrong-region": "The link is signed for another region than that of the bucket.",
    "no-links": "The service over this storage answers no links.",
    "server-problem": "The server has a problem of its own.",
}
"""Every reason for which a link is refused: its code, and its sentence for people."""


class Certainty(enum.Enum):
    """How sure a reason is."""

    CERTAIN = "certain"
    """The link or the answer says so, or the signature proves it."""
    LIKELY = "likely"
    """It would be refused so, and speaks for itself more than anything else does."""
    POSSIBLE = "possible"
    """It would be refused so, and nothing speaks against it."""


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for which a link is refused."""

    certainty: Certainty
    code: str
    """What is wrong, for programs: a key of `REASONS`."""
    reason: str
    """What is wrong, as a sentence."""
    evidence: str
    """What in the link, the answer or the settings says so."""
    change: str
    """What to change."""
    subject: str = ""
    """The header, parameter, field or method at fault, where there is one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a storage knows of a link: how it differs from its settings, and its signature."""

    reasons: list[Reason]
    checked: list[str]
    """What was compared, in a few words each."""
    method: str | None = None
    """The method that the link is signed for, if its signature is right as it stands."""
    is_changed: bool = False
    """Whether its signature is not right for any method."""


def certain(code: str, evidence: str, change: str, subject: str = "", **words: str) -> Reason:
    """Return a reason that is certain; `words` are what its sentence needs besides the subject."""
    return _reason(Certainty.CERTAIN, code, evidence, change, subject=subject, **words)


def likely(code: str, evidence: str, change: str, subject: str = "", **words: str) -> Reason:
    """Return a reason that is likely."""
    return _reason(Certainty.LIKELY, code, evidence, change, subject=subject, **words)


def possible(code: str, evidence: str, change: str, subject: str = "", **words: str) -> Reason:
    """Return a reason that is possible."""
    return _reason(Certainty.POSSIBLE, code, evidence, change, subject=subject, **words)


def _reason(
    certainty: Certainty, code: str, evidence: str, change: str, *, subject: str, **words: str
) -> Reason:
    sentence = REASONS[code].format(subject=subject, **words)
    return Reason(certainty, code, sentence, evidence, change, subject)


def cite(text: str, limit: int = 200) -> str:
    """Show what others wrote: in one line, without control characters, not at length."""
    printable = "".join(char if char.isprintable() else "?" for char in text[: limit + 1])
    return printable if len(text) <= limit else f"{printable[:limit]}..."
