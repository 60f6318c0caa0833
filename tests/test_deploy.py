"""What the files of deploy/ promise and no process here shows: what containers may not do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from programs import run

if TYPE_CHECKING:
    from collections.abc import Iterator

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSED = ("compose.yaml", "compose.cluster.yaml")


@pytest.mark.parametrize("name", COMPOSED)
def test_no_service_can_write_to_its_root_or_gain_rights(name: str) -> None:
    """A read-only root, no capabilities but one of SeaweedFS, no new privileges."""
    compose = yaml.safe_load((DEPLOY / name).read_text())
    for service, given in compose["services"].items():
        if "extends" in given:
            continue
        assert given["read_only"], service
        assert ["ALL"] == given["cap_drop"], service
        assert ["no-new-privileges:true"] == given["security_opt"], service
        assert given.get("cap_add", []) in ([], ["DAC_OVERRIDE"]), service
        published = {service} if "ports" in given else set()
        assert published <= {"nginx"}


@pytest.mark.parametrize("name", COMPOSED)
def test_a_compose_file_refers_to_what_exists(name: str) -> None:
    """Services, secrets, volumes and configuration files."""
    compose = yaml.safe_load((DEPLOY / name).read_text())
    services = compose["services"]
    for service, given in services.items():
        assert {*given.get("depends_on", ())} <= {*services}, service
        assert {*given.get("secrets", ())} <= {*compose["secrets"]}, service
        for volume in given.get("volumes", ()):
            source = volume.partition(":")[0]
            found = (DEPLOY / source).is_file() or source in compose["volumes"]
            assert found, (service, volume)


def test_the_image_runs_as_a_numeric_user() -> None:
    """So that Kubernetes can tell that it is not root; nothing in it belongs to that user."""
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    assert "USER 10001:10001" in lines
    assert not [line for line in lines if "--chown" in line]
    (base,) = [line for line in lines if line.startswith("ARG BASE=")]
    assert re.fullmatch(r"ARG BASE=python:3\.\d+-slim", base)


def test_the_packages_of_the_image_are_those_that_are_tested() -> None:
    """Each is pinned by hashes, in a version of constraints.txt."""
    pin = re.compile(r"^([\w.-]+==\S+)(?: ;.*)? \\$", re.MULTILINE)
    image = pin.findall((DEPLOY / "requirements.txt").read_text())
    assert len(image) > 20
    assert {*image} <= {*pin.findall((DEPLOY.parent / "constraints.txt").read_text())}


def test_every_pod_keeps_the_restricted_standard() -> None:
    """The pod security standard "restricted", and a read-only root."""
    pods = [*_pods()]
    assert 3 == len(pods)
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"]
        assert "RuntimeDefault" == pod["securityContext"]["seccompProfile"]["type"]
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            } == container["securityContext"]
            probes = {each["httpGet"]["path"] for key, each in container.items() if "Probe" in key}
            assert probes <= {"/health"}


def _pods() -> Iterator[dict[str, Any]]:
    for path in (DEPLOY / "kubernetes").glob("*.yaml"):
        for document in yaml.safe_load_all(path.read_text()):
            spec = document.get("spec", {})
            template = spec.get("jobTemplate", {}).get("spec", spec).get("template")
            if template:
                yield template["spec"]


def test_secrets_are_made_once_and_kept_from_others(tmp_path: Path) -> None:
    """No file of another user's is readable, and a second run changes nothing."""
    secrets = tmp_path / "secrets"
    made = []
    for _ in range(2):
        done = run(DEPLOY / "prepare", settings={"secrets": secrets})
        assert 0 == done.returncode, done.stderr
        made.append({path.name: path.read_text() for path in secrets.iterdir()})
    assert made[0] == made[1]
    assert 0o700 == secrets.stat().st_mode & 0o777
    password = made[0]["postgres_password"].strip()
    assert f"app:{password}@postgres" in made[0]["app.env"]
