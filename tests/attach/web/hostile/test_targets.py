"""Hostile request targets: what is no handle, and what is no path."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attach.web.hostile.conftest import KEPT
from attach.web.hostile.raw import request

if TYPE_CHECKING:
    from attach.web.hostile.conftest import Everywhere

DAY = "/2026/11/23"
ID = "/5f5e1d5e-6c1c-4e0a-9b0a-0123456789ab"

HANDLES = [
    "/../../etc/passwd",
    "/passwd",
    "/.htaccess",
    f"/2026/13/23{ID}/a",
    f"/2026/02/30{ID}/a",
    f"/0000/01/01{ID}/a",
    f"/20266/1/23{ID}/a",
    f"/-026/11/23{ID}/a",
    f"/2026/1/23{ID}/a",
    f"/%D9%A2%D9%A0%D9%A2%D9%A6/11/23{ID}/a",
    f"{DAY}/5f5e1d5e-6c1c-1e0a-9b0a-0123456789ab/a",
    f"{DAY}/5f5e1d5e-6c1c-4e0a-cb0a-0123456789ab/a",
    f"{DAY}/5F5E1D5E-6C1C-4E0A-9B0A-0123456789AB/a",
    f"{DAY}/5f5e1d5e6c1c4e0a9b0a0123456789ab/a",
    f"{DAY}/00000000-0000-0000-0000-000000000000/a",
    f"{DAY}{ID}",
    f"{DAY}{ID}/",
    f"{DAY}{ID}/..",
    f"{DAY}{ID}/.a",
    f"{DAY}{ID}/a/b",
    f"{DAY}{ID}/a%2fb",
    f"{DAY}{ID}/a%5cb",
    f"{DAY}{ID}/a\\b",
    f"{DAY}{ID}/CON",
    f"{DAY}{ID}/a%00",
    f"{DAY}{ID}/%00",
    f"{DAY}{ID}/a%0a",
    f"{DAY}{ID}/a%0d%0aX-Evil:%20y",
    f"{DAY}{ID}/%c0%ae%c0%ae",
    f"{DAY}{ID}/%ed%a0%80",
    f"{DAY}{ID}/%ff",
    f"{DAY}{ID}/e%cc%81",
    f"{DAY}{ID}/%e2%80%8b",
    f"{DAY}{ID}%2fa",
    f"{DAY}{ID}//a",
    f"{DAY}{ID}/a/.",
    f"{DAY}{ID}/../{ID}/a",
    f"/{DAY}{ID}/a",
    f"/.{DAY}{ID}/a",
    "{kept}/",
    "{kept}%0a",
    "{kept}%20",
    "{kept}.",
    "{kept};x=y",
    "{kept}%3flink",
    "/{kept}",
    "//here{kept}",
    "/%2e{kept}",
    "%2f{kept}",
    "/..;{kept}",
    "/" + "a" * 5000,
    "/" + "a/" * 5000,
    "/" + "%2e%2e%2f" * 2000,
    "/links/",
    "/%6cinks",
    "//links",
    "/LINKS",
    "/index.html",
    "/favicon.ico",
    "//",
    "/.",
    "/..",
    "/%",
    "/%zz",
    "/%u002e",
    '/"',
    "/|",
    "/{}",
    "/é",
]


@pytest.mark.parametrize("method", ["GET", "DELETE", "HEAD"])
def test_what_is_no_handle_is_not_found(everywhere: Everywhere, method: str) -> None:
    """Whatever it would lead to, if it were decoded, joined or tidied up."""
    for handle in HANDLES:
        is_head = method == "HEAD"
        answer = everywhere.answer(request(method, f"/attach{handle}"), head=is_head)
        assert 404 == answer.status, handle
        assert "application/problem+json" == answer.headers["content-type"]
        assert is_head or b"evil" not in answer.body.lower()


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/", 404),
        ("//attach/", 404),
        ("/ATTACH/", 404),
        ("/att%61ch/", 404),
        ("/attach;a=b/", 404),
        ("/attach\\..\\passwd", 404),
        ("/health/../attach/", 404),
        ("/health%00", 404),
        ("/attach/../passwd", 404),
        ("/attach/%2e%2e/passwd", 404),
        ("/attach/..%2fpasswd", 404),
        ("/attach/..%5cpasswd", 404),
        ("*", 404),
        ("evil:80", 404),
        ("http://evil.example/attach/passwd", 404),
        ("attach/", 400),
        ("?", 400),
        ("", 400),
        ("#", 400),
        ("/attach/\0", 400),
        ("/attach/\t", 400),
        ("/attach/\x7f", 400),
        ("/attach/a b", 400),
        ("/attach/<script>", 400),
        ("http:///attach/", 400),
        ("file:///etc/passwd", 400),
        (b"/attach/\xff", 400),
        (b"/attach/\xc0\xae\xc0\xae/", 400),
        (b"/attach/?day=\xff", 400),
        ("/attach/" + "a" * 70_000, 414),
        ("/attach/?" + "&" * 100_000, 414),
        ("/attach/" + "%2e" * 100_000, 431),
    ],
    ids=lambda given: ascii(given)[:30],
)
def test_what_is_no_path_of_ours_is_refused(
    everywhere: Everywhere, target: str | bytes, status: int
) -> None:
    """Before anything is decoded."""
    answer = everywhere.answer(request("GET", target))
    assert status == answer.status
    assert "location" not in answer.headers


@pytest.mark.parametrize("method", ["OPTIONS", "CONNECT", "GET"])
@pytest.mark.parametrize("target", ["*", "here:80"])
def test_a_target_without_a_path_is_nothing(
    everywhere: Everywhere, method: str, target: str
) -> None:
    """The service is no proxy and tells nothing about itself."""
    assert 404 == everywhere.status(request(method, target))


def test_an_address_in_the_target_is_only_a_path(everywhere: Everywhere) -> None:
    """Nobody is asked but the storage."""
    for origin in ("http://169.254.169.254", "https://evil.example:99999", "http://user:pw@here"):
        assert KEPT == everywhere.answer(request("GET", f"{origin}/attach{{kept}}")).body


@pytest.mark.parametrize("key", [None, "wrong", "canary-bearer-ke", "Canary-bearer-key", "ü", ""])
def test_a_stranger_learns_nothing(everywhere: Everywhere, key: str | None) -> None:
    """What is there and what is not look alike, whatever is asked of it."""
    for method in ("GET", "DELETE"):
        there, nowhere = (
            everywhere.answer(request(method, f"/attach{handle}", key=key))
            for handle in ("{kept}", f"{DAY}{ID}/a")
        )
        assert 401 == there.status
        assert "Bearer" == there.headers["www-authenticate"]
        assert there.body == nowhere.body
    for method, target in (("POST", "/?name=a"), ("GET", "/"), ("POST", "/links"), ("PUT", "/")):
        refused = everywhere.answer(request(method, f"/attach{target}", body=b"", key=key))
        assert 401 == refused.status


def test_only_one_way_to_write_a_handle_leads_to_it(everywhere: Everywhere) -> None:
    """What would be it after decoding, tidying up or folding case is not it."""
    for service in everywhere.services:
        kept = everywhere.kept(service)
        folder, _, name = kept.rpartition("/")
        for other in (
            f"{folder}%2f{name}",
            f"{folder}%2F{name}",
            f"%2f{kept[1:]}",
            f"{folder}//{name}",
            f"{folder}/./{name}",
            f"{folder}/x/../{name}",
            f"{folder}\\{name}",
            f"{folder.upper()}/{name.upper()}",
            f"{folder}/%00{name}",
            f"{folder}/{name}%e2%80%8b",
            f"{folder}/..%2f{name}",
        ):
            answer = everywhere.one(service, request("GET", f"/attach{other}"))
            assert 404 == answer.status, other
        assert 200 == everywhere.one(service, request("GET", f"/attach{kept}")).status
