"""Reasons for which a link is refused, and the display of untrusted text in them."""

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
    # Damage by copying.
    "wrapped": "The link has extra characters around it.",
    "encoded-whole": "The whole link is URL-encoded.",
    "encoded-twice": "The link is URL-encoded twice.",
    "decoded": "The link was URL-decoded, so that + became a space.",
    "from-html": "The link has HTML entities: it was copied from HTML source.",
    "from-json": "The link has JSON escapes: it was copied from JSON source.",
    "escaped": "The link has backslashes: it was escaped for a shell or for JSON.",
    "broken": "The link has white space in it.",
    "cut-off": "The end of the link is missing.",
    "end-changed": "The end of the link was changed.",
    # The link itself.
    "unsigned": "The link has no signature: it is a plain URL, or incomplete.",
    "incomplete": "The link is incomplete. Missing: {missing}.",
    "signature-changed": "A parameter of the signature was changed.",
    "signature-incomplete": "A part of the signature is missing.",
    "signature-mismatch": "The signature is wrong: the path, a parameter, the policy or the secret "
    "key differs.",
    "bad-signature": "The link was changed, or is for another method.",
    "unreadable-token": "The token of the link is not a token of the service.",
    "other-secret": "The token is signed with another secret than this storage's, or was changed.",
    "address-changed": "The path or the query of the link was changed.",
    "path-changed": "The path of the link was changed.",
    "path-encoded": "The path of the link is encoded differently than it was signed.",
    "parameter-added": "A parameter was added to the link.",
    "parameter-changed": "The parameter {subject} of the link was added, changed or removed.",
    "parameter-repeated": "A parameter occurs twice in the link.",
    "too-long-lived": "The link is signed for longer than 7 days, which servers reject.",
    # Times.
    "link-expired": "The link has expired.",
    "clock-ahead": "The server's clock is ahead of this machine's, or was at the response.",
    "clock-skew": "The clocks of the server and of the signer differ too much.",
    "signed-in-future": "The link was signed in the future: the signer's clock is ahead.",
    # The form.
    "unreadable-policy": "The policy of the form cannot be read.",
    "policy-failed": "A field of the form, or the size, violates the policy of the form.",
    "policy-or-key": "The policy of the form was changed, or the secret key is wrong.",
    "form-changed": "A field of the form was changed or added.",
    "field-added": "The form has a field that is not in its policy.",
    "field-changed": "The field {subject} of the form differs from the signed one.",
    # The request.
    "wrong-method": "The link is for {expected}, but the client sent {subject}.",
    "other-method": "The client used another method than {expected}.",
    "method-not-allowed": "The server does not support this method here.",
    "header-added": "The client sent a header that is not signed.",
    "header-missing": "The client did not send the signed header {subject}.",
    "header-changed": "The client sent the signed header {subject} with another value.",
    "header-unlike": "The client did not send a signed header, or sent another value.",
    "authorization-sent": "The client sent an Authorization header in addition to the link.",
    "host-changed": "The server received another host: a proxy rewrites the Host header.",
    "path-rewritten": "A proxy or the client changed the path.",
    "parameter-rewritten": "A proxy or the client changed the parameter {subject}.",
    "scope-rewritten": "A proxy or the client changed the {subject} of the signature.",
    "https-only": "The link is for HTTPS only.",
    "other-client": "The link is for clients at other addresses.",
    "size-missing": "The client did not send the size of the file.",
    "digest-mismatch": "The bytes do not match Content-MD5 or the checksum.",
    "too-large": "The file is larger than the link allows.",
    "too-small": "The file, or a part other than the last, is smaller than the server allows.",
    # The attachment.
    "not-found": "The attachment does not exist; the server accepted the link.",
    "exists": "The attachment exists already: a link for PUT works only once.",
    "claimed": "Another client was uploading the same attachment at that moment.",
    "upload-over": "The multipart upload is completed or aborted; the server accepted the link.",
    # The credentials.
    "path-or-key": "The path or a parameter was changed, or the secret key is wrong.",
    "wrong-account-key": "The account key is wrong: the server received the signed parameters.",
    "keys-disabled": "The account does not allow links signed with an account key.",
    "wrong-secret-key": "The secret key is wrong: the server received exactly the signed request.",
    "unknown-access-key": "The server does not know the access key of the link.",
    "unknown-temporary-key": "The server does not know the temporary credentials of the link.",
    "other-access-key": "The access key of the link differs from the settings.",
    "no-session-token": "The link lacks the session token of its temporary credentials.",
    "wrong-session-token": "The session token is wrong, or belongs to another access key.",
    "credentials-expired": "The temporary credentials of the link expired before the link.",
    "credentials-stale": "The temporary credentials must be renewed.",
    "no-permission": "The credentials of the link do not allow this request.",
    # The server.
    "no-container": "The container does not exist.",
    "other-container": "The container of the link differs from the settings.",
    "other-account": "The account of the link differs from the settings.",
    "no-bucket": "The bucket does not exist.",
    "wrong-bucket-name": "The name of the bucket is invalid.",
    "other-bucket": "The bucket of the link differs from the settings.",
    "other-host": "The host of the link differs from the settings.",
    "other-service": "The service of the link differs from the settings.",
    "signed-for-other-host": "The link is signed for another host than its own.",
    "other-address": "The bucket has another address.",
    "wrong-region": "The region of the link differs from the region of the bucket.",
    "no-links": "The service over this storage does not support links.",
    "server-problem": "The server has an internal problem.",
}
"""Reasons for which a link is refused: sentences by code."""


class Certainty(enum.Enum):
    """The certainty of a reason."""

    CERTAIN = "certain"
    """The link, the response or the signature proves the reason."""
    LIKELY = "likely"
    """The reason explains the response better than any other."""
    POSSIBLE = "possible"
    """The reason is consistent with the response."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason for which a link is refused."""

    certainty: Certainty
    code: str
    """Reason for programs: a key of `REASONS`."""
    reason: str
    """Reason as a sentence."""
    evidence: str
    """Evidence in the link, the response or the settings."""
    change: str
    """Remedy."""
    subject: str = ""
    """The wrong header, parameter, field or method, if there is one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison of a link with the settings of a storage."""

    reasons: list[Reason]
    checked: list[str]
    """Compared things, a phrase for each."""
    method: str | None = None
    """The method that the link is signed for, if the signature is right."""
    is_changed: bool = False
    """Whether the signature is wrong for every method."""


def certain(code: str, evidence: str, change: str, subject: str = "", **words: str) -> Reason:
    """Return a reason that is certain; `words` are further values in its sentence."""
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
    """Return untrusted text as one short line without control characters."""
    printable = "".join(char if char.isprintable() else "?" for char in text[: limit + 1])
    return printable if len(text) <= limit else f"{printable[:limit]}..."
