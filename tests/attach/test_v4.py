"""V4 signatures are those of Google's own library, byte for byte.

`record_v4.py` recorded digests of what google-cloud-storage 3.17 signed; it is no dependency.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from attach.v4_cases import COUNT, EMAIL, KEY, links, policies
from rex.attach.backends.gcs.credentials import ServiceAccount
from rex.attach.links.sigv4 import encode_path
from rex.attach.links.v4 import V4Signer, presign_v4, sign_policy_v4
from rex.core import Secret

ENDPOINT = "https://storage.googleapis.com"
RECORDED = Path(__file__).with_name("v4_recorded.txt").read_text("ascii").splitlines()
SIGNER = V4Signer(EMAIL, ServiceAccount(EMAIL, Secret(KEY)).sign)


def test_a_thousand_links_are_those_of_googles_library() -> None:
    """Methods, names, headers, response headers, durations and times vary."""
    made = []
    for case in links():
        query = {}
        if case.content_type is not None:
            query["response-content-type"] = case.content_type
        if case.disposition is not None:
            query["response-content-disposition"] = case.disposition
        url = presign_v4(
            case.method,
            f"{ENDPOINT}/{case.bucket}/{encode_path(case.name)}",
            headers=case.headers,
            query=query,
            signer=SIGNER,
            expires=case.seconds,
            now=case.now,
        )
        made.append(_digest(url))
    assert COUNT == len(made)
    assert RECORDED[:COUNT] == made


def test_a_thousand_policies_are_those_of_googles_library() -> None:
    """Names, fields, sizes, durations and times vary."""
    made = []
    for case in policies():
        fields = sign_policy_v4(
            case.bucket,
            case.name,
            case.fields,
            [["content-length-range", 0, case.most]],
            signer=SIGNER,
            expires=case.seconds,
            now=case.now,
        )
        form = {"url": f"{ENDPOINT}/{case.bucket}/", "fields": fields}
        made.append(_digest(json.dumps(form, sort_keys=True)))
    assert COUNT == len(made)
    assert RECORDED[COUNT:] == made


def test_the_key_is_not_shown() -> None:
    """Neither by the signer nor by the account."""
    account = ServiceAccount(EMAIL, Secret(KEY))
    assert f"ServiceAccount({EMAIL!r})" == repr(account)
    assert "PRIVATE" not in repr(SIGNER)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
