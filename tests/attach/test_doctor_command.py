"""`rex attach doctor`, run as a person and as a script run it."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

import programs
from attach.fake_server import silent_server
from attach.harnesses import s3_client
from programs import REX, started
from rex.attach.backends.local.storage import LocalStorage
from rex.attach.backends.local.tree import MARKER

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

    from rex.attach_demo.seaweedfs import SeaweedFS

SITE = "https://pages.example.org"


def run(
    settings: Mapping[str, object], *arguments: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command with settings."""
    return programs.run(REX, "attach", "doctor", *arguments, directory=cwd, settings=settings)


def contents(server: SeaweedFS, bucket: str) -> list[str]:
    """Give all that is stored in a bucket, and all that is about to be."""
    client = s3_client(server.endpoint, server.access_key, server.secret_key)
    objects = client.list_objects_v2(Bucket=bucket).get("Contents", ())
    uploads = client.list_multipart_uploads(Bucket=bucket).get("Uploads", ())
    return [each["Key"] for each in (*objects, *uploads)]


def test_a_person_gets_a_line_for_each_step(tmp_path: Path) -> None:
    """What it is about, and a sum; it ends with 0 if nothing is wrong."""
    LocalStorage(tmp_path).init()
    done = run({"attach_dir": tmp_path})
    assert (0, "") == (done.returncode, done.stderr)
    first, access, third, *steps, last = done.stdout.splitlines()
    assert ["ok", "settings", "attach_dir"] == first.split()
    assert ["ok", "access", "none", "(setting", "attach_access)"] == access.split()
    assert f"LocalStorage({str(tmp_path)!r})" == third
    assert {"ok", "skip"} == {line[:8].strip() for line in steps}
    assert "19 ok, 4 skipped" == last
    assert [tmp_path / MARKER] == [*tmp_path.iterdir()]


def test_one_fault_has_one_line(tmp_path: Path) -> None:
    """What could not be tried after it shares a line, unless all are asked for."""
    settings = {
        "attach_s3_bucket": "b",
        "attach_s3_endpoint": "http://127.0.0.1:9",
        "attach_s3_access_key": "AKIA",
        "attach_s3_secret_key": "secret",
        "attach_s3_timeout": "1s",
    }
    done = run(settings, cwd=tmp_path)
    assert (11, "") == (done.returncode, done.stderr)
    steps = [line for line in done.stdout.splitlines() if line[:1] not in " S"]
    (failed,) = (line for line in steps if line.startswith("FAIL "))
    (skipped,) = (line for line in steps if line.startswith("skip "))
    assert "endpoint" == failed.split()[1]
    number = int(skipped.split()[1])
    assert skipped.endswith("not tried, since 'endpoint' is wrong")
    assert number > 10
    assert f"1 failed, {number} skipped" in steps[-1]
    every = run(settings, "--verbose", cwd=tmp_path).stdout.splitlines()
    assert number == sum(line.startswith("skip ") for line in every)
    *checks, _ = map(json.loads, run(settings, "--json", cwd=tmp_path).stdout.splitlines())
    causes = [check["cause"] for check in checks if check["verdict"] == "skip"]
    assert ["endpoint"] * number == causes


def test_a_script_gets_json(seaweedfs: SeaweedFS) -> None:
    """An object for each step, and one for all."""
    seaweedfs.create_bucket("doctor-json")
    settings = {**seaweedfs.settings(), "attach_s3_bucket": "doctor-json"}
    done = run(settings, "--json", "--origin", SITE)
    *steps, last = map(json.loads, done.stdout.splitlines())
    assert (0, {"ok"}) == (done.returncode, {step["verdict"] for step in steps}), done.stdout
    assert {"storage", "step", "verdict", "code", "text", "advice", "cause"} == set(steps[0])
    assert {"ok": len(steps), "warn": 0, "fail": 0, "skip": 0} == last["summary"]
    assert [] == contents(seaweedfs, "doctor-json")


def test_what_is_wrong_is_told_and_ends_in_11(seaweedfs: SeaweedFS) -> None:
    """Although the application would not start; and what to change stands below it."""
    secret = "canary/of+the/secret+key"
    done = run({**seaweedfs.settings(), "attach_s3_secret_key": secret})
    assert (11, "") == (done.returncode, done.stderr)
    lines = done.stdout.splitlines()
    (at,) = (number for number, line in enumerate(lines) if line.startswith("FAIL "))
    assert "attach_s3_secret_key" in lines[at]
    assert lines[at + 1].startswith(" " * 10)
    assert "1 failed" in lines[-1]
    for hidden in (secret, seaweedfs.access_key):
        assert hidden not in done.stdout


@pytest.mark.parametrize("access", ["no_such_module:rule", "os:missing", "os:sep"])
def test_a_rule_that_cannot_be_had_is_told(tmp_path: Path, access: str) -> None:
    """Before the service would refuse to start; the storage is tried all the same."""
    LocalStorage(tmp_path).init()
    done = run({"attach_dir": tmp_path, "attach_access": access}, "--json")
    *steps, last = map(json.loads, done.stdout.splitlines())
    (found,) = (step for step in steps if step["verdict"] == "fail")
    assert (11, "access", 1) == (done.returncode, found["step"], last["summary"]["fail"])
    assert "setting attach_access" in found["text"]
    assert access in found["text"]


SETTINGS: dict[str, tuple[dict[str, str], str]] = {
    "none": ({}, "exactly one of"),
    "two": ({"attach_dir": "/srv", "attach_s3_bucket": "b"}, "exactly one of"),
    "a misspelt rule": ({"attach_dir": "/srv", "attach_access": "anbody"}, "attach_access"),
    "no number": ({"attach_dir": "/srv", "attach_max_size": "large"}, "attach_max_size"),
    "no bucket's name": ({"attach_s3_bucket": "-"}, "attach_s3_bucket"),
    "half of the keys": (
        {"attach_s3_bucket": "bucket", "attach_s3_access_key": "AKIA"},
        "attach_s3_secret_key",
    ),
    "no fallback": ({"attach_dir": "/srv", "attach_fallback": "ftp://a"}, "file:///directory"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_settings_that_make_no_storage_are_the_first_finding(name: str) -> None:
    """And the only one."""
    settings, words = SETTINGS[name]
    done = run(settings)
    assert (11, "") == (done.returncode, done.stderr)
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("FAIL      settings ")
    assert words in done.stdout
    assert "1 failed" == last


def test_another_storage_is_examined(tmp_path: Path) -> None:
    """By its URL, or its name in rex.toml; one that is not there is a finding too."""
    (tmp_path / "rex.toml").write_text(f'[storages]\nold = "file://{tmp_path}/old"\n')
    LocalStorage(tmp_path / "old").init()
    for given in ("old", f"file://{tmp_path}/old", "memory:"):
        done = run({}, "--storage", given, cwd=tmp_path)
        assert (0, "") == (done.returncode, done.stderr)
    done = run({}, "--storage", "olt", cwd=tmp_path)
    assert 11 == done.returncode
    assert "did you mean old" in done.stdout
    assert {"rex.toml", "old"} == {path.name for path in tmp_path.iterdir()}


def test_the_sites_of_the_setting_are_tried(seaweedfs: SeaweedFS) -> None:
    """Each of them."""
    settings = {**seaweedfs.settings(), "attach_origins": f"{SITE}, http://localhost:8000"}
    done = run(settings, "--json")
    steps = map(json.loads, done.stdout.splitlines())
    tried = [step["text"] for step in steps if step.get("step") == "cors"]
    assert [SITE, "http://localhost:8000"] == [text.split()[2] for text in tried]


def test_interrupted_it_leaves_nothing(seaweedfs: SeaweedFS) -> None:
    """While a step waits for a server that does not answer, and something is stored."""
    seaweedfs.create_bucket("doctor-interrupted")
    settings = {**seaweedfs.settings(), "attach_s3_bucket": "doctor-interrupted"}
    with silent_server() as address:
        settings["attach_s3_public_endpoint"] = address
        with started(REX, "attach", "doctor", settings=settings) as examining:
            for line in examining.stdout:
                if line.startswith("ok        multipart"):
                    break
            assert [] != contents(seaweedfs, "doctor-interrupted")
            examining.send_signal(signal.SIGINT)
            rest, _ = examining.communicate()
    assert 130 == examining.returncode
    assert "remove" not in [line.split()[1] for line in rest.splitlines()]
    assert [] == contents(seaweedfs, "doctor-interrupted")
