"""Tokens: what was signed is read, for its purpose and in its time, and nothing else is."""

from __future__ import annotations

import time

import pytest

from rex.attach.links.token import MAX_TOKEN_LENGTH, TokenSigner
from rex.core import Error, Kind

TOKENS = TokenSigner(b"canary-secret")
CLAIMS = {"key": "2026/11/24/ü", "size": 7, "none": None}


def sign(*, purpose: str = "get", seconds: float = 60) -> str:
    """Make a token of the claims."""
    return TOKENS.sign(purpose, CLAIMS, expires=time.time() + seconds)


def expect_denied(token: str, purpose: str = "get", tokens: TokenSigner = TOKENS) -> None:
    """See that a token is refused."""
    with pytest.raises(Error) as refused:
        tokens.read(purpose, token)
    assert Kind.DENIED is refused.value.kind
    assert "canary" not in str(refused.value)


def test_claims_come_back() -> None:
    """As they were given, without the time."""
    assert CLAIMS == TOKENS.read("get", sign())


def test_every_change_is_refused() -> None:
    """Of any one character into any other that base64url has, and of the length."""
    token = sign()
    for place, old in enumerate(token):
        for new in "AQgw_-.=é\ud800":
            if new != old:
                expect_denied(token[:place] + new + token[place + 1 :])
        expect_denied(token[:place])
    for added in ("=", "A", "\n", "."):
        expect_denied(token + added)


@pytest.mark.parametrize("nothing", ["", ".", "A.B", "a" * (MAX_TOKEN_LENGTH + 1), "\0", "ü.ü"])
def test_what_is_no_token_is_refused(nothing: str) -> None:
    """Whatever it is."""
    expect_denied(nothing)


def test_another_purpose_secret_or_time_is_refused() -> None:
    """A token is for one thing, from one maker, for a while."""
    expect_denied(sign(purpose="put"))
    expect_denied(sign(), tokens=TokenSigner(b"other"))
    expect_denied(sign(seconds=0))


def test_the_secret_is_not_shown() -> None:
    """Neither in a repr nor in a token."""
    assert "canary" not in repr(TOKENS) + sign()
