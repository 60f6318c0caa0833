"""A small file on S3: what one `add`, and one `open` with `read`, take, in time and in CPU.

The limit is obstore called directly: one request over a kept connection. CPU is that of this
process, all of its threads.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from contestants import Peers
from measure import Figure, compare

if TYPE_CHECKING:
    from bench import Bench

SIZE = 4096

ADD = {
    "obstore": 1.10,
    "django-storages": 0.33,
    "boto3 upload_fileobj": 0.33,
    "s3fs": 0.6,
    "smart_open": 0.2,
    "cloudpathlib": 0.15,
    "minio": 0.7,
}
READ = {
    "obstore": 1.1,
    "django-storages": 0.15,
    "boto3 download_fileobj": 0.15,
    "s3fs": 0.3,
    "smart_open": 0.5,
    "cloudpathlib": 0.1,
    "minio": 0.8,
}


def run(bench: Bench) -> list[Figure]:
    """Measure it."""
    peers = Peers(bench.server)
    content = os.urandom(SIZE)
    rounds, number = bench.choose((5, 3), (11, 30))
    adders = peers.adders(content)
    readers = peers.readers(peers.rex.add("read.bin", content))
    for read in readers.values():
        assert content == read()
    figures = compare("add 4 KiB on S3", adders, ADD, rounds=rounds, number=number)
    figures += compare("open + read 4 KiB on S3", readers, READ, rounds=rounds, number=number)
    for what, acts, peer in (
        ("add", adders, "boto3 put_object"),
        ("open + read", readers, "boto3 get_object"),
    ):
        both = {name: act for name, act in acts.items() if name in ("rex.attach", peer)}
        figures += compare(
            f"CPU of {what} 4 KiB on S3",
            both,
            {peer: 0.20},
            rounds=rounds,
            number=bench.choose(50, 200),
            clock=time.process_time,
        )
    peers.close()
    return figures
