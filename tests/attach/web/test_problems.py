"""The type of a problem is the code of its error, where the error concerns the client."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

import pytest

from attach.web.test_app import ANYBODY, FOLDER, ask
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.memory.storage import MemoryStorage
from rex.attach.web import Access, attachments
from rex.attach.web.access import access_rule
from rex.core import Error, Kind, Secret

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

KEY = "0123456789abcdef"
NOBODY = access_rule("none", None)
HOSTS = Access(access_rule("public", None), hosts=["files.example"])
BEARER = Access(access_rule("bearer", Secret(KEY)))
ATTACHMENT = f"{FOLDER}/a.txt"
TUS = {"Tus-Resumable": "1.0.0"}

REQUESTS: dict[str, tuple[int, Access, str, str, dict[str, str]]] = {
    "not-found": (404, ANYBODY, "GET", ATTACHMENT, {}),
    "access-denied": (403, Access(NOBODY), "GET", ATTACHMENT, {}),
    "wrong-host": (421, HOSTS, "GET", ATTACHMENT, {}),
    "cross-origin": (403, ANYBODY, "DELETE", ATTACHMENT, {"Origin": "https://b.example"}),
    "method-not-allowed": (405, ANYBODY, "PATCH", ATTACHMENT, {}),
    "unsupported-encoding": (415, ANYBODY, "POST", "/?name=a", {"Content-Encoding": "gzip"}),
    "unsupported-version": (412, ANYBODY, "POST", "/tus/", {"Tus-Resumable": "0.1"}),
    "ill-formed": (400, ANYBODY, "POST", "/tus/", TUS),
    "no-links": (403, ANYBODY, "GET", f"/signed{ATTACHMENT}?token=a.b", {}),
}


@pytest.mark.parametrize("code", REQUESTS)
def test_a_client_reads_the_code_of_its_own_mistake(code: str) -> None:
    """In the type; the kind stays beside it."""
    status, access, method, path, headers = REQUESTS[code]
    answer = ask(attachments(MemoryStorage(), access), method, path, headers=headers)
    problem = answer.json()
    assert (status, code) == (answer.status_code, problem["type"])
    assert {"type", "title", "status", "detail", "kind"} <= {*problem}


def test_a_key_that_is_missing_has_the_code_of_a_refusal() -> None:
    """With the challenge that HTTP wants."""
    answer = ask(attachments(MemoryStorage(), BEARER), "GET", ATTACHMENT)
    assert (401, "access-denied", "denied") == (
        answer.status_code,
        answer.json()["type"],
        answer.json()["kind"],
    )


def test_a_changed_and_an_expired_link_have_codes_of_their_own(tmp_path: Path) -> None:
    """A page can ask for a new link in the second case alone."""
    with LocalStorage(tmp_path, url="http://here/attach") as storage:
        app = attachments(storage, ANYBODY)
        old = storage.tokens.sign("link GET", {"key": ATTACHMENT[1:]}, expires=1)
        found = [
            ask(app, "GET", f"/signed{ATTACHMENT}?token={token}").json()["type"]
            for token in (old, f"{old}A")
        ]
    assert ["link-expired", "bad-signature"] == found


def failing(failure: Exception) -> httpx.Response:
    """Ask a service whose storage fails."""
    storage = MemoryStorage()

    def fail(*_: object) -> Any:
        raise failure

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(storage, "_head", fail)
        patch.setattr(storage, "_get", fail)
        return ask(attachments(storage, ANYBODY), "GET", ATTACHMENT)


@pytest.mark.parametrize(
    ("failure", "status", "kind"),
    [
        (OSError(errno.ENOSPC, "full"), 503, "unavailable"),
        (PermissionError(errno.EACCES, "no"), 503, "unavailable"),
        (ZeroDivisionError("oh"), 500, "internal"),
        (Error("a", kind=Kind.UNAVAILABLE, code="server-unreachable"), 503, "unavailable"),
        (Error("a", kind=Kind.CONFIGURATION, code="wrong-region"), 503, "configuration"),
    ],
)
def test_a_stranger_learns_no_code_of_the_operators_trouble(
    failure: Exception, status: int, kind: str
) -> None:
    """The type is the kind alone."""
    answer = failing(failure)
    problem = answer.json()
    assert (status, kind, kind) == (answer.status_code, problem["type"], problem["kind"])


def test_a_refusal_that_has_a_cause_shows_no_code() -> None:
    """What was caused by a server behind the service tells of that server."""
    error = Error("a", kind=Kind.CONFLICT, code="claimed")
    error.__cause__ = ValueError("the server's own words")
    answer = failing(error)
    assert (409, "conflict") == (answer.status_code, answer.json()["type"])
