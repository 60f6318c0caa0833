"""`rex attach explain`, run as a person and as a script run it."""

from __future__ import annotations

import json
import socket
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from attach import refused
from attach.refused import ask, signed
from programs import REX, run_binary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rex.attach_demo.seaweedfs import SeaweedFS

    Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def rex(tmp_path: Path) -> Run:
    """Run the command in an empty directory, without any settings but those given."""

    def run(
        *arguments: str, given: bytes = b"", options: tuple[str, ...] = (), **environment: str
    ) -> subprocess.CompletedProcess[str]:
        command = (REX, *options, "attach", "explain", *arguments)
        done = run_binary(*command, given=given, directory=tmp_path, settings=environment)
        return subprocess.CompletedProcess(
            done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
        )

    return run


def settings_of(server: SeaweedFS) -> dict[str, str]:
    """Give the settings as the environment has them."""
    return {name.upper(): value for name, value in server.settings().items()}


def test_it_tells_reason_evidence_and_change(rex: Run, seaweedfs: SeaweedFS) -> None:
    """Without settings, with the answer on standard input, as curl -i has it."""
    url, response, *_ = refused.expired(seaweedfs)
    done = rex(url, "--response", "-", given=response)
    assert (0, "") == (done.returncode, done.stderr)
    first, why, change = done.stdout.splitlines()
    assert "The link has expired. (certain)" == first
    assert why.startswith("    why:     expired at ")
    assert "    change:  Make a new link." == change


def test_it_uses_the_settings_where_there_are_any(
    rex: Run, seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    """Those of the application, or of a storage that is named."""
    url, response, *_ = refused.other_host(seaweedfs)
    (tmp_path / "answer.xml").write_bytes(response)
    done = rex(url, "--response", "answer.xml", **settings_of(seaweedfs))
    host = seaweedfs.endpoint.removeprefix("http://")
    assert "The link is signed for another host than its own. (certain)" in done.stdout
    assert f"its signature is for {host}" in done.stdout
    (tmp_path / "rex.toml").write_text(
        f'[storages.there]\nurl = "s3://{seaweedfs.bucket}?endpoint={seaweedfs.endpoint}"\n'
        f'access_key = "{seaweedfs.access_key}"\nsecret_key = "{seaweedfs.secret_key}"\n'
    )
    assert done.stdout == rex(url, "--response", "answer.xml", "--storage", "there").stdout


def test_a_form_is_read_from_what_link_prints(
    rex: Run, seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    """With its fields, and the answer."""
    form, response, *_ = refused.changed_field(seaweedfs)
    (tmp_path / "link.json").write_text(form)
    done = rex("--form", "link.json", "--response", "-", given=response)
    assert "The field key of the form differs from the signed one. (certain)" in done.stdout


def test_scripts_get_json(rex: Run, seaweedfs: SeaweedFS) -> None:
    """An object for each reason, and one for all; the headers tell what is missing."""
    case = refused.missing_type(seaweedfs)
    headers = [f"--header={name}: {value}" for name, value in (case.headers or {}).items()]
    done = rex("-", "--json", "--method", "put", *headers, given=f"{case.link}\n".encode())
    *reasons, last = map(json.loads, done.stdout.splitlines())
    assert {"certainty", "code", "reason", "evidence", "change", "subject"} == {*reasons[0]}
    assert ("header-missing", "content-type") == (reasons[0]["code"], reasons[0]["subject"])
    assert len(reasons) == last["summary"]["reasons"]


def test_the_exit_code_tells_whether_anything_was_found(rex: Run, seaweedfs: SeaweedFS) -> None:
    """0 for a reason and for a link that is right, 3 for a refusal without one, 4 for no link."""
    url = signed(seaweedfs)
    fine = rex(url, **settings_of(seaweedfs))
    assert (0, "") == (fine.returncode, fine.stderr)
    assert fine.stdout.startswith("No problem found with the link.\n    checked: ")
    unknown = rex(url, "--response", "-", given=b"HTTP/1.1 418 Teapot\n\n")
    assert (3, "") == (unknown.returncode, unknown.stderr)
    told = "The link was refused, but no reason was found.\n    checked: "
    assert unknown.stdout.startswith(told)
    assert 4 == rex("nonsense").returncode
    assert 2 == rex().returncode
    assert 2 == rex("-", "--response", "-").returncode


def test_no_network_is_used(rex: Run, seaweedfs: SeaweedFS) -> None:
    """Neither the host of the link nor the configured server is asked for anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        here = f"http://127.0.0.1:{server.getsockname()[1]}"
        url = signed(seaweedfs).replace(seaweedfs.endpoint, here)
        settings = {**settings_of(seaweedfs), "ATTACH_S3_ENDPOINT": here}
        assert 0 == rex(url, **settings).returncode
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.parametrize(
    "arguments",
    [
        ("{url}",),
        ("{url}", "and", "more"),
        ("{url}", "{url}"),
        ("--form", "{url}"),
        ("{url}", "--response", "{url}"),
        ("{url}", "--form", "{url}"),
        ("{bare}",),
        ("{url}", "--method", "{url}"),
        ("{url}", "--header", "{url}: {url}"),
        ("{url}", "--storage", "file:///x"),
        ("{url}", "--json"),
    ],
)
def test_nothing_secret_is_printed_however_it_is_called(
    rex: Run, seaweedfs: SeaweedFS, arguments: tuple[str, ...]
) -> None:
    """Not even where the link stands in the wrong place, or with --traceback."""
    keys: Any = seaweedfs.credentials["admin"]._replace(session_token="canary/token+canary==")
    url = signed(seaweedfs, credentials=keys)
    given = [each.format(url=url, bare=url.removeprefix("http://")) for each in arguments]
    answer = ask("GET", url)
    for options, settings in (((), {}), (("--traceback",), settings_of(seaweedfs))):
        done = rex(*given, given=answer, options=options, **settings)
        printed = done.stdout + done.stderr
        hidden = [
            url.rpartition("=")[2],
            "canary/token",
            "canary%2Ftoken",
            seaweedfs.secret_key,
            seaweedfs.access_key,
        ]
        assert [] == [secret for secret in hidden if secret in printed]


def test_a_broken_setting_is_told(rex: Run, seaweedfs: SeaweedFS) -> None:
    """As by every command."""
    settings = {**settings_of(seaweedfs), "ATTACH_MAX_SIZE": "much"}
    done = rex(signed(seaweedfs), **settings)
    assert 9 == done.returncode
    assert "attach_max_size" in done.stderr
