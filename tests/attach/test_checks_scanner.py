"""Malware is refused; a scanner that does not work accepts nothing, and refuses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from attach.checked import refusal, upload
from attach.fake_server import refused_address
from attach.stand_in_clamd import SIGNATURE, StandInClamd
from rex.attach.checks import clamd
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from attach.checked import Upload

MIB = 1 << 20


def failure(check: Callable[[Upload], None], upload: Upload) -> Error:
    """Run a check that must fail, neither accept nor refuse; give its error."""
    with pytest.raises(Error) as caught:
        check(upload)
    assert "scanner-failed" == caught.value.code
    return caught.value


@pytest.mark.parametrize("kind", ["unix", "tcp"])
def test_malware_is_refused_and_the_rest_is_not(kind: str, tmp_path: Path) -> None:
    """Over either socket; every byte is sent, in chunks."""
    contents = [b"", b"harmless", b"x" * MIB, b"x" * (MIB - 30) + SIGNATURE]
    with StandInClamd(tmp_path / "clamd" if kind == "unix" else None) as server:
        check = clamd(server.address)
        words = [refusal(check, upload(content)) for content in contents]
    assert contents == server.received
    found = "The scanner found malware in the file:\n    Stand-In.Malware"
    assert ["accepted"] * 3 + [found] == words


def test_content_over_the_limit_of_clamd_is_a_failure(tmp_path: Path) -> None:
    """For the operator: neither is it scanned nor is it the client's fault."""
    with StandInClamd(tmp_path / "clamd", most=MIB) as server:
        error = failure(clamd(server.address), upload(b"x" * 4 * MIB))
    assert Kind.CONFIGURATION is error.kind
    assert "INSTREAM size limit exceeded" in str(error)


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0", Kind.CONFIGURATION),
        (b"stream: Can't allocate memory ERROR\0", Kind.UNAVAILABLE),
        (b"UNKNOWN COMMAND\0", Kind.UNAVAILABLE),
        (b"stream: OK FOUND ERROR\0", Kind.UNAVAILABLE),
        (b"OK\0", Kind.UNAVAILABLE),
        (b"\0", Kind.UNAVAILABLE),
        (b"\xff" * 10_000, Kind.UNAVAILABLE),
    ],
)
def test_a_reply_that_is_no_result_is_a_failure(reply: bytes, kind: Kind, tmp_path: Path) -> None:
    """Only the two results of the protocol decide."""
    with StandInClamd(tmp_path / "clamd", reply=reply) as server:
        assert kind is failure(clamd(server.address), upload(b"x")).kind


def test_a_scanner_that_never_replies_is_a_failure(tmp_path: Path) -> None:
    """After the timeout."""
    with StandInClamd(tmp_path / "clamd", reply=None) as server:
        error = failure(clamd(server.address, timeout=0.1), upload(b"x"))
    assert (Kind.UNAVAILABLE, True) == (error.kind, "timed out" in str(error))


def test_a_scanner_that_is_not_there_is_a_failure(tmp_path: Path) -> None:
    """A missing socket, a refused connection, one that is closed without a reply."""
    for address in (f"unix:{tmp_path}/missing", refused_address().removeprefix("http://")):
        assert Kind.UNAVAILABLE is failure(clamd(address), upload(b"x")).kind
    with StandInClamd(tmp_path / "clamd") as server:
        server.answer = lambda *_: None  # type: ignore[method-assign]
        assert Kind.UNAVAILABLE is failure(clamd(server.address), upload(b"x" * MIB)).kind


def test_a_failure_to_read_the_content_stays_what_it_is(tmp_path: Path) -> None:
    """The scanner is not to blame."""
    gone = upload(b"x")
    gone._storage.remove(gone.info.handle)
    with StandInClamd(tmp_path / "clamd") as server, pytest.raises(Error) as caught:
        clamd(server.address)(gone)
    assert Kind.NOT_FOUND is caught.value.kind


@pytest.mark.parametrize(
    "address",
    ["", "clamd", "unix:", "unix:relative", "host:", ":3310", "host:0", "host:65536", "/a"],
)
def test_an_address_is_checked_when_the_check_is_made(address: str) -> None:
    """And not when the first upload comes."""
    with pytest.raises(Error) as caught:
        clamd(address)
    assert Kind.ILL_FORMED is caught.value.kind


@pytest.mark.parametrize(
    "address", ["unix:/run/clamd.ctl", "clamd:3310", "127.0.0.1:1", "[::1]:3310"]
)
def test_making_a_check_connects_to_nothing(address: str) -> None:
    """The scanner may start later than the application."""
    assert callable(clamd(address))
