"""Presigned links: how many are made in a second. Nothing is asked of a server.

The limit is the HMAC-SHA256 of the signature, and the JSON of a policy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from contestants import Peers
from measure import OURS, Figure, compare

if TYPE_CHECKING:
    from bench import Bench

GOAL = 10.0
LARGEST = 10_000_000


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    peers = Peers(bench.server)
    handle = peers.rex.reserve("photo.png")
    key = handle[1:]
    rounds, number = bench.choose((7, 300), (15, 1000))
    fields = {"Content-Type": "image/png", "success_action_status": "204"}
    conditions = [
        *({name: value} for name, value in fields.items()),
        ["content-length-range", 0, LARGEST],
    ]
    figures = compare(
        "presigned POST",
        {
            OURS: lambda: peers.rex.upload_link(handle, max_size=LARGEST),
            "boto3": lambda: peers.boto3.generate_presigned_post(
                peers.bucket, key, Fields={**fields}, Conditions=[*conditions]
            ),
        },
        {"boto3": GOAL},
        rounds=rounds,
        number=number,
        sense="at least",
    )
    figures += compare(
        "presigned GET",
        {
            OURS: lambda: peers.rex.download_link(handle),
            "boto3": lambda: peers.boto3.generate_presigned_url(
                "get_object",
                {
                    "Bucket": peers.bucket,
                    "Key": key,
                    "ResponseContentDisposition": 'attachment; filename="photo.png"',
                },
            ),
        },
        {"boto3": GOAL},
        rounds=rounds,
        number=number,
        sense="at least",
    )
    peers.close()
    return figures
