"""Record what google-cloud-storage signs, for tests/attach/test_v4.py.

It is no dependency of the tests: put it into a folder, and run this program whenever it changes:

    pip install --target FOLDER google-cloud-storage
    PYTHONPATH=FOLDER:tests python tests/attach/record_v4.py

It prints how many of the recorded digests have changed.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from attach.v4_cases import EMAIL, KEY, links, policies

RECORDED = Path(__file__).with_name("v4_recorded.txt")


def load(name: str) -> Any:
    """Import a module of Google, which has no types."""
    return importlib.import_module(f"google.{name}")


def main() -> None:
    """Write a line for each case."""
    storage, _signing = load("cloud.storage"), load("cloud.storage._signing")
    client = load("cloud.storage.client")
    Credentials = load("oauth2.service_account").Credentials  # noqa: N806 - a class
    account = {"client_email": EMAIL, "private_key": KEY, "token_uri": "https://localhost/"}
    credentials = Credentials.from_service_account_info(account)
    google = storage.Client("a-project", credentials=credentials)
    lines = []
    for case in links():
        _signing._NOW = lambda _, now=case.now: now
        url = (
            google.bucket(case.bucket)
            .blob(case.name)
            .generate_signed_url(
                version="v4",
                expiration=datetime.timedelta(seconds=case.seconds),
                method=case.method,
                headers=dict(case.headers),
                response_disposition=case.disposition,
                response_type=case.content_type,
            )
        )
        lines.append(hashlib.sha256(url.encode()).hexdigest()[:16])
    for policy in policies():
        _signing._NOW = client._NOW = lambda _, now=policy.now: now
        form = google.generate_signed_post_policy_v4(
            policy.bucket,
            policy.name,
            datetime.timedelta(seconds=policy.seconds),
            conditions=[["content-length-range", 0, policy.most]],
            fields=dict(policy.fields),
        )
        text = json.dumps(form, sort_keys=True)
        lines.append(hashlib.sha256(text.encode()).hexdigest()[:16])
    before = RECORDED.read_text("ascii").splitlines() if RECORDED.exists() else []
    changed = sum(old != new for old, new in zip(before, lines, strict=False))
    RECORDED.write_text("\n".join(lines) + "\n", "ascii")
    sys.stdout.write(f"{storage.__version__}: {len(lines)} recorded, {changed} changed\n")


if __name__ == "__main__":
    main()
