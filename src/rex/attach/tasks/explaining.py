"""Why a link is refused: from the link, from what the server answered, and from the settings.

Nothing is asked of any server. What S3 answers is told by its error codes and messages (Amazon S3,
API Reference, Error responses); other servers have the codes and some of the messages.
"""

from __future__ import annotations

import base64
import datetime
import json
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from rex.attach.signing.reason import Certainty, Reason, certain, likely, possible, quoted
from rex.attach.signing.signed_link import SignedLink
from rex.attach.tasks.answer import Answer
from rex.attach.tasks.mangled import undamaged
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rex.attach.storage import Storage

__all__ = ["Certainty", "Explanation", "Reason", "explain"]

SKEW = datetime.timedelta(minutes=15)
"""S3 takes what was signed up to so long ago, or before its time."""
MAX_LINK = 16384
_ANEW = "Make a new link."
_CLOCKS = "Set the clocks of the machine that makes links and of the server by NTP."
_AS_MADE = "Send the request as the link says: its method, its headers and its fields, unchanged."
_TEMPORARY = "Make a new link; a link does not outlast the temporary keys that it was made with."
_ORDER = [*Certainty]


class Explanation(NamedTuple):
    """Why a link is refused, as far as that can be known."""

    reasons: list[Reason]
    """The most certain first; none where nothing is known to be wrong."""
    checked: list[str]
    """What was looked at."""


def explain(
    url: str,
    *,
    answer: bytes = b"",
    method: str | None = None,
    headers: Mapping[str, str] | None = None,
    fields: Mapping[str, str] | None = None,
    storage: Storage | None = None,
    now: datetime.datetime | None = None,
) -> Explanation:
    """Tell why a link is refused; nothing is asked of a server.

    `url` is the link, `fields` are those of a form (POST). `answer` is what the server answered,
    of which the first 64 KiB are looked at, with its head or without. `method` and `headers` are
    those of the request, where they are known, `storage` is the one that makes such links, and
    `now` (aware) what to take for the time. The reasons show neither signatures nor secrets.

    Errors: `ILL_FORMED` for what is no link at all.
    """
    text, reasons = undamaged(url[:MAX_LINK])
    link = SignedLink(text, method=method, headers=headers, fields=fields)
    if link.scheme not in ("http", "https") or not link.host:
        raise Error("A link begins with https:// or http://", kind=Kind.ILL_FORMED)
    found = _Looking(link, Answer(answer), now or datetime.datetime.now(datetime.UTC))
    token = (fields or {}).get("token") or (re.search(r"[?&]token=([^&]*)", text) or [""] * 2)[1]
    reasons += found.of_service(token, storage) if token else found.of_s3(storage)
    unique: dict[str, Reason] = {}
    for reason in reasons:
        unique.setdefault(reason.reason, reason)
    return Explanation(
        sorted(unique.values(), key=lambda reason: _ORDER.index(reason.certainty)),
        found.checked,
    )


class _Looking:
    """One link and one answer, looked at from all sides."""

    def __init__(self, link: SignedLink, answer: Answer, now: datetime.datetime) -> None:
        self.checked = ["text of the link"]
        self._link = link
        self._answer = answer
        self._now = now
        self._method: str | None = None

    # Links of the service (rex.attach.web.signed).

    def of_service(self, token: str, storage: Storage | None) -> Iterator[Reason]:
        """Look at a link that the service answers."""
        self.checked += ["token", "expiry", "answer"]
        claims = _claims(token)
        if not isinstance(claims.get("exp"), int | float) or not isinstance(claims.get("key"), str):
            yield certain("The token of the link cannot be read.", "it is cut or changed", _ANEW)
            return
        if self._now.timestamp() >= claims["exp"]:
            yield certain(
                "The link has expired.", f"it ended {_ago(self._now, claims['exp'])}", _ANEW
            )
        path = self._link.fields.get("key") or self._link.path
        if not _ends(path, claims["key"]):
            yield certain(
                "The link is used for another attachment.", "its path is not the one signed", _ANEW
            )
        if storage is not None and storage.links_are_served:
            self.checked.append("signature")
            fitting = [each for each in ("GET", "PUT", "POST") if _fits(storage, each, token)]
            if not fitting:
                yield certain(
                    "The token was changed, or made with another secret.",
                    "its signature is not that of this application",
                    "See that attach_secret is the same on every server.",
                )
            elif self._link.method not in (None, *fitting):
                yield self._other_method(fitting[0])
        yield from self._of_answer()

    # Links of S3.

    def of_s3(self, storage: Storage | None) -> list[Reason]:
        """Look at a link signed with Signature Version 4."""
        link = self._link
        self.checked += ["parameters", "expiry", "answer"]
        if not link.is_signed:
            change = "Quote the link in a shell: & ends a command there."
            return [certain("There is no signature in this link.", "it has no X-Amz-…", change)]
        if link.missing:
            names = ", ".join(link.missing)
            change = "Copy all of the link, and quote it in a shell: & ends a command there."
            return [certain("A part of the link is missing.", f"it lacks {names}", change)]
        reasons = [*self._of_form()] if link.fields else []
        reasons += self._of_time()
        if storage is not None:
            compared = storage._compare_link(link)
            reasons += compared.reasons
            self.checked += compared.checked
            self._method = compared.method
        if self._method is not None and link.method not in (None, self._method):
            reasons.append(self._other_method(self._method))
        return [*reasons, *self._of_answer()]

    def _of_time(self) -> Iterator[Reason]:
        link, server = self._link, self._answer.time
        now = server or self._now
        if not link.is_well_formed and (link.policy or not link.fields):
            yield certain("The parameters of the signature were changed.", "they do not fit", _ANEW)
        if server is not None and abs(server - self._now) > SKEW:
            yield likely(
                "The clock of this machine, or of the server, is wrong.",
                f"the server's answer is of {server:%H:%M}, here it is {self._now:%H:%M} (UTC)",
                _CLOCKS,
            )
        if link.ends_at is not None and link.ends_at <= now:
            evidence = f"it ended {_ago(now, link.ends_at.timestamp())}"
            yield certain("The link has expired.", evidence, _ANEW)
        if link.signed_at is not None and link.signed_at - now > datetime.timedelta(minutes=1):
            ahead = round((link.signed_at - now).total_seconds() / 60)
            evidence = f"it was signed {ahead} minutes in the future"
            yield certain("The clock of whoever signed it is ahead.", evidence, _CLOCKS)

    def _of_form(self) -> Iterator[Reason]:
        """Compare the fields of a form with its policy (Amazon S3, POST policy)."""
        link = self._link
        fields = {name.lower(): value for name, value in link.fields.items()}
        conditions = link.policy.get("conditions")
        if not isinstance(conditions, list):
            yield certain("The policy of the form cannot be read.", "it was changed", _ANEW)
            return
        named = {"policy", "x-amz-signature", "file", "bucket"}
        for condition in conditions:
            for name, value in _pinned(condition):
                named.add(name.lower())
                given = fields.get(name.lower(), "")
                if name.lower() != "bucket" and value is not None and given != value:
                    state = "was changed" if name.lower() in fields else "is missing"
                    state = state if value else "is not in its policy"
                    yield certain(
                        f"The field {quoted(name, 60)} of the form {state}.",
                        "the policy has another value",
                        "Send the fields as they were given, all of them, and the file last.",
                    )
        for name in sorted(set(fields) - named):
            yield certain(
                f"The field {quoted(name, 60)} of the form is not in its policy.",
                "it was added",
                "Send the fields that were given, and no others.",
            )

    # What the server answered.

    def _of_answer(self) -> Iterator[Reason]:
        answer = self._answer
        if not answer.is_known or answer.is_success:
            return
        code, message = answer.code, answer.message
        said = f"the server says {quoted(' '.join([str(answer.status or ''), code]).strip(), 80)}"
        if message:
            said += f": {quoted(self._masked(message))}"
        for pattern, make, reason, change in _MEANINGS:
            if re.search(pattern, f"{code} {message}", re.IGNORECASE):
                yield make(reason, said, change)
                break
        else:
            yield from self._of_status(said)
        region = re.search(r"expecting '([a-z0-9-]{1,40})'", message) or re.fullmatch(
            r"([a-z0-9-]{1,40})", answer.element("Region")
        )
        if region is not None and region[1] != self._link.region:
            evidence = f"the server expects {region[1]}; the link has {quoted(self._link.region)}"
            change = f"Set attach_s3_region to {region[1]}."
            yield certain("The link is signed for another region.", evidence, change)
        if code == "SignatureDoesNotMatch":
            yield from self._of_signature(said)

    def _of_status(self, said: str) -> Iterator[Reason]:
        meanings = {
            301: "The bucket is in another region, or at another address.",
            307: "The bucket is at another address for now.",
            403: "The server does not permit this.",
            404: "There is no such attachment, or no such bucket.",
            405: "The address does not take this method.",
            412: "There is an attachment already; a link to upload works once.",
            413: "The file is larger than the server, or a proxy before it, takes.",
        }
        meaning = meanings.get(self._answer.status or 0)
        if meaning is not None:
            yield likely(meaning, said, _AS_MADE)

    def _of_signature(self, said: str) -> Iterator[Reason]:
        """Look for what the server has signed otherwise."""
        link = self._link
        lines = self._answer.lines("CanonicalRequest").split("\n")
        parted = (line.partition(":") for line in lines[3:])
        theirs = {name: value for name, _, value in parted if name in link.signed_headers}
        if lines[1:]:
            if self._method is not None and lines[0] != self._method:
                yield self._other_method(self._method)
            if "host" in theirs and theirs["host"] != link.host:
                yield certain(
                    "The server was asked with another host than the link has.",
                    f"it saw {quoted(theirs['host'], 80)}, the link has {quoted(link.host, 80)}",
                    "Have the proxy pass on the header Host as it is.",
                )
        for name in link.signed_headers:
            if name == "host":
                continue
            if lines[1:] and not theirs.get(name):
                yield certain(
                    f"The header {quoted(name, 40)} was not sent.", "it is signed", _AS_MADE
                )
            elif link.headers is not None and name not in link.headers:
                yield certain(
                    f"The header {quoted(name, 40)} is signed, and was not sent.",
                    "it is not among those of the request",
                    _AS_MADE,
                )
        if self._method is not None:
            signed = ", ".join(quoted(name, 40) for name in link.signed_headers)
            yield likely(
                "The request was not the one that was signed, though the link is as it was made.",
                f"it is signed for {self._method} with the headers {signed}",
                f"{_AS_MADE} A proxy must not change Host, path or query.",
            )
        elif not lines[1:]:
            yield possible(
                "The method, the host, the path, a parameter or a signed header is another than "
                "what was signed, or the secret key is wrong.",
                said,
                f"{_AS_MADE} If it was, compare attach_s3_secret_key with the server's.",
            )

    def _other_method(self, method: str) -> Reason:
        return certain(
            f"The link is for {method}.",
            f"the request was {quoted(self._link.method or 'another', 20)}",
            f"Ask with {method}; a link is for one method, and HEAD is another than GET.",
        )

    def _masked(self, text: str) -> str:
        for secret in self._link.secrets:
            if secret:
                text = text.replace(secret, "***")
        return re.sub(r"[A-Za-z0-9/+_=-]{32,}", "***", text)


_MEANINGS = (
    (
        r"RequestTimeTooSkewed|RequestNotReady|not yet valid",
        certain,
        "The clocks of signer and server differ too much.",
        _CLOCKS,
    ),
    (
        r"policy expired|request has expired|permission has expired|ExpiredPresign",
        certain,
        "The link has expired.",
        _ANEW,
    ),
    (r"ExpiredToken", certain, "The temporary keys that made the link have ended.", _TEMPORARY),
    (
        r"InvalidToken|InvalidSecurity",
        certain,
        "The session token of the temporary keys is missing, cut, or of other keys.",
        _TEMPORARY,
    ),
    (
        r"HeadersNotSigned|headers? present in the request which (were|was) not signed",
        certain,
        "The client sends a header that is not signed.",
        "Send no x-amz-… headers but those of the link.",
    ),
    (
        r"EntityTooLarge",
        certain,
        "The file is larger than the link permits.",
        "Make a link with a larger max_size, or send less.",
    ),
    (
        r"EntityTooSmall",
        certain,
        "The file is smaller than the link permits.",
        "Send the file itself, as the last field.",
    ),
    (
        r"extra input fields|not in (the )?policy|policy condition|according to policy",
        certain,
        "A field of the form is not as its policy says.",
        "Send the fields as they were given, all of them, and the file last.",
    ),
    (
        r"InvalidAccessKeyId",
        certain,
        "The server does not know the access key that signed the link.",
        "Set attach_s3_access_key to a key of this server; a removed key ends its links.",
    ),
    (
        r"NoSuchBucket",
        certain,
        "The bucket does not exist on this server.",
        "See attach_s3_bucket, and attach_s3_public_endpoint: it may be another server.",
    ),
    (
        r"NoSuchKey",
        certain,
        "There is no such attachment.",
        "It was never uploaded, or is removed.",
    ),
    (r"NoSuchUpload", certain, "The upload in parts was completed or aborted.", "Begin it anew."),
    (
        r"PreconditionFailed|already exists",
        certain,
        "There is an attachment already; a link to upload works once.",
        "Reserve another handle for another file.",
    ),
    (
        r"PermanentRedirect|TemporaryRedirect|IllegalLocation",
        certain,
        "The bucket is in another region, or at another address.",
        "Set attach_s3_region and attach_s3_endpoint to those of the bucket.",
    ),
    (
        r"region .* is wrong|wrong region",
        certain,
        "The link is signed for another region.",
        "Set attach_s3_region to that of the bucket.",
    ),
    (
        r"MethodNotAllowed|method-not-allowed",
        certain,
        "The address does not take this method.",
        _AS_MADE,
    ),
    (r"signature is wrong", certain, "The token was changed, or is for another method.", _AS_MADE),
    (
        r"header .* is not as it was signed",
        certain,
        "A header is missing, or another than was signed.",
        _AS_MADE,
    ),
    (
        r"form is not as it was signed",
        certain,
        "A field of the form was changed, added or left out.",
        _AS_MADE,
    ),
    (
        r"address is not as it was signed",
        certain,
        "The path or the query is another than was signed.",
        _AS_MADE,
    ),
    (
        r"MalformedPOSTRequest|MissingFields|IncorrectNumberOfFiles|UserKeyMustBeSpecified",
        certain,
        "The form is not complete.",
        "Send its fields, then one file as the last field, as multipart/form-data.",
    ),
    (
        r"AuthorizationQueryParameters|AuthorizationHeaderMalformed|MissingSecurity",
        certain,
        "A parameter of the signature is missing or changed.",
        _ANEW,
    ),
    (
        r"AccessDenied",
        likely,
        "The keys that made the link do not permit this.",
        "rex attach doctor tells which permission is missing.",
    ),
    (
        r"SlowDown|ServiceUnavailable|InternalError",
        certain,
        "The server has a problem, or too much to do; the link is not at fault.",
        "Try again later.",
    ),
)
"""What a server says, and what it means: the first that fits."""


def _pinned(condition: Any) -> Iterator[tuple[str, str | None]]:
    """Give the names, and the values where there is one, of a condition of a policy."""
    if isinstance(condition, dict):
        yield from ((str(name), str(value)) for name, value in condition.items())
    elif isinstance(condition, list) and len(condition) == 3:  # noqa: PLR2004 - by the rules
        operator, name, value = condition
        is_equal = operator == "eq"
        yield str(name).lstrip("$"), str(value) if is_equal else None


def _claims(token: str) -> dict[str, Any]:
    text = token.partition(".")[0]
    try:
        claims = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _fits(storage: Storage, method: str, token: str) -> bool:
    try:
        storage.tokens.read(f"link {method}", token)
    except Error as error:
        return "expired" in error.message
    return True


def _ends(path: str, key: str) -> bool:
    from urllib.parse import unquote

    return unquote(path).endswith(key)


def _ago(now: datetime.datetime, seconds: float) -> str:
    passed = now.timestamp() - seconds
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if passed >= 2 * size:
            return f"{passed / size:.0f} {unit} ago"
    return f"{passed:.0f} seconds ago"
