"""The policies of the documentation name exactly what the code requests, and are enough."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests

from attach.counting import CountingRelay
from attach.harnesses import s3_client
from attach.s3_exercise import SITE, exercise, exercise_form, set_rules
from attach.s3_storage import s3_storage
from programs import PATIENCE
from rex.attach import open_storage
from rex.attach.maintenance import lifecycle
from rex.attach_demo.seaweedfs import SeaweedFS
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rex.attach import Storage

PAGES = Path(__file__).parents[2] / "docs" / "servers"
PREFIX = "photos"
"""The prefix of the pages, whose bucket is `attachments`."""

BUCKET_ACTIONS = (
    ("GET", r"[?&]list-type=2", "s3:ListBucket"),
    ("GET", r"[?&]uploads", "s3:ListBucketMultipartUploads"),
    ("GET", r"[?&]versioning", "s3:GetBucketVersioning"),
    ("GET", r"[?&]cors", "s3:GetBucketCORS"),
    ("PUT", r"[?&]cors", "s3:PutBucketCORS"),
    ("POST", r"^/attachments/?$", "s3:PutObject"),
)
OBJECT_ACTIONS = (
    ("GET", r"[?&]uploadId=", "s3:ListMultipartUploadParts"),
    ("DELETE", r"[?&]uploadId=", "s3:AbortMultipartUpload"),
    ("GET", "", "s3:GetObject"),
    ("HEAD", "", "s3:GetObject"),
    ("PUT", "", "s3:PutObject"),
    ("POST", "", "s3:PutObject"),
    ("DELETE", "", "s3:DeleteObject"),
)
"""What AWS calls each request; methods and targets, the first that matches."""


def action_of(method: str, target: str) -> str | None:
    """Return the action of a request, or None for one that no credentials sign."""
    path = target.partition("?")[0]
    if path == "/":  # the doctor asks whether the server answers
        return None
    is_bucket = path.rstrip("/") == "/attachments"
    for asked, pattern, action in BUCKET_ACTIONS if is_bucket else OBJECT_ACTIONS:
        if method == asked and re.search(pattern, target):
            return action
    raise AssertionError(f"no action is known for {method} {target}")


def blocks(page: str) -> list[Any]:
    """Return the JSON of a page, in its order."""
    text = (PAGES / page).read_text("utf-8")
    return [
        json.loads(block)
        for block in re.findall(r"^```json\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    ]


def actions(policy: Mapping[str, Any]) -> set[str]:
    """Return the actions that a policy allows."""
    allowed = [statement["Action"] for statement in policy["Statement"]]
    return {each for one in allowed for each in ([one] if isinstance(one, str) else one)}


class LimitedSeaweedFS(SeaweedFS):
    """A SeaweedFS whose user `app` may do what a policy of the pages allows."""

    def _identities(self) -> dict[str, object]:
        written = super()._identities()
        policy = json.dumps(blocks("aws.md")[0])
        limited: Any = written["identities"]
        for identity in limited:
            if identity["name"] == "app":
                identity["policyNames"] = ["attachments"]
        return {**written, "policies": [{"name": "attachments", "content": policy}]}


@pytest.fixture(scope="module")
def server() -> Iterator[SeaweedFS]:
    """Run a server with a user for each policy of the pages."""
    (config,) = (each for each in blocks("seaweedfs.md") if "identities" in each)
    by_name = {each["name"]: each["actions"] for each in config["identities"]}
    with LimitedSeaweedFS(identities={"app": (), "forms": by_name["app"]}, origins=SITE) as server:
        yield server


def storage_of(server: SeaweedFS, user: str, prefix: str = PREFIX, endpoint: str = "") -> Storage:
    """Open the bucket as a user."""
    keys = server.credentials[user]
    url = f"s3://{server.bucket}/{prefix}?endpoint={endpoint or server.endpoint}"
    return open_storage(url, access_key=keys.access_key, secret_key=keys.secret_key)


def test_the_policies_name_exactly_the_actions_that_requests_need(server: SeaweedFS) -> None:
    """Expect no action too few and none too many; and the identity of SeaweedFS to be enough."""
    for_the_application, for_rules = blocks("aws.md")[:2]
    with CountingRelay(server.endpoint) as relay:
        with storage_of(server, "forms", endpoint=relay.endpoint) as storage:
            assert [] == exercise(storage)
            exercise_form(storage)
        used = {action_of(*each) for each in relay.requests()}
        with storage_of(server, "admin", endpoint=relay.endpoint) as storage:
            set_rules(storage)
        used_for_rules = {action_of(*each) for each in relay.requests()}
    assert actions(for_the_application) == used - {None}
    assert actions(for_rules) == used_for_rules


@pytest.mark.long
def test_the_policy_for_the_application_is_enough(server: SeaweedFS) -> None:
    """Expect each operation to succeed, and the doctor to find one thing: SeaweedFS's forms."""
    with storage_of(server, "app") as storage:
        assert ["post link"] == [check.step for check in exercise(storage)]


@pytest.mark.parametrize("user", ["app", "forms"])
def test_other_buckets_are_refused(server: SeaweedFS, user: str) -> None:
    """Expect both users to be limited to their bucket."""
    server.create_bucket(f"others-{user}")
    keys = server.credentials[user]
    client = s3_client(server.endpoint, keys.access_key, keys.secret_key)
    place = {"Bucket": f"others-{user}", "Key": f"{PREFIX}/a.txt"}
    link = client.generate_presigned_url("put_object", Params=place)
    assert requests.codes.forbidden == requests.put(link, data=b"a", timeout=PATIENCE).status_code


def test_the_policy_for_the_application_is_limited_to_its_prefix(server: SeaweedFS) -> None:
    """Expect objects of other prefixes, and the rules of the bucket, to be refused."""
    with storage_of(server, "admin", prefix="other") as other:
        handle = other.add("a.txt", b"a")
    with storage_of(server, "app", prefix="other") as other:
        for refused in (
            lambda: other.add("a.txt", b"a"),
            lambda: other.open(handle),
            lambda: other.remove(handle),
            other.cors.rules,
        ):
            with pytest.raises(Error) as caught:
                refused()
            assert Kind.DENIED == caught.value.kind


def test_the_rules_of_the_page_are_those_of_the_commands() -> None:
    """Expect what `rex attach cors` sets and `rex attach sweep --lifecycle` prints."""
    with s3_storage("attachments", prefix=PREFIX, access_key="a", secret_key="s") as storage:
        assert blocks("aws.md")[2:] == [
            {"CORSRules": [storage.cors.make_rule(["https://example.org"])]},
            {"Rules": [*lifecycle(storage)]},
        ]


def test_the_policy_of_ceph_is_that_of_aws_for_a_user() -> None:
    """Expect the same statements, each with a principal."""
    (policy,) = blocks("ceph.md")
    for statement in policy["Statement"]:
        assert {"AWS": ["arn:aws:iam:::user/app"]} == statement.pop("Principal")
    assert blocks("aws.md")[0] == policy
