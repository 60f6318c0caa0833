"""Kill servers of the cluster under load: what was acknowledged must stay, errors must end.

``make cluster-trial`` or ``python examples/cluster/trial.py [SERVICE ...]``; with ``--page``, the
load is the demo page in Chromium. Exits with 1 if anything acknowledged is lost.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clients import Load, Outcome
from processes import DEPLOY, HOST, Deployment, end_with_ctrl_c, missing_programs
from tabs import Tabs, missing_browser

if TYPE_CHECKING:
    from collections.abc import Sequence

SERVICES = ("volume-2", "s3-1", "filer-1", "master")
PAGE_SERVICES = ("volume-2", "s3-1")
VOLUMES = ("volume-1", "volume-2", "volume-3")
REPEATED = "request"
LONGEST_SECONDS = 60
PAUSE_SECONDS = 0.2
SAMPLE = 500
"""How many attachments are read while a volume server is away."""


def main() -> int:
    """Kill each service, start it again, and check everything; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "services",
        nargs="*",
        metavar="SERVICE",
        help=f"services to kill, one after another (default: {' '.join(SERVICES)}; "
        f"with --page: {' '.join(PAGE_SERVICES)})",
    )
    parser.add_argument(
        "--times", type=int, default=5, help="how often to kill each (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=10,
        help="how long each is away, and then back (default: %(default)s)",
    )
    parser.add_argument(
        "--page",
        action="store_true",
        help="let tabs of Chromium upload and download with the demo page, by its Uppy and its "
        "links (needs chromium and playwright)",
    )
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    if missing := missing_programs():
        parser.error(f"needs these packages of Debian: {' '.join(missing)}")
    if options.page and (missing := missing_browser()):
        parser.error(f"--page needs {' and '.join(missing)}")
    end_with_ctrl_c()
    with tempfile.TemporaryDirectory(prefix="rex-cluster-") as directory:
        compose = DEPLOY / "compose.cluster.yaml"
        with Deployment(compose, Path(directory), demo=options.page) as deployment:
            return try_cluster(
                Tabs(deployment) if options.page else Load(deployment),
                options.services or (PAGE_SERVICES if options.page else SERVICES),
                options.times,
                options.seconds,
                as_json=options.json,
            )


def try_cluster(
    load: Load, services: Sequence[str], times: int, seconds: float, *, as_json: bool
) -> int:
    """Run the trial on a cluster; print what happened, and return the exit code."""
    rows: list[Row] = []
    with load:
        time.sleep(seconds)
        for _ in range(times):
            for name in services:
                rows += _kill(load, name, seconds)
    lost = load.missing()
    summary = {
        "acknowledged": len(load.digests),
        "operations": len(_operations(load.outcomes)),
        "lost": len(lost),
        "wrong": len(load.wrong),
        "unreadable without": {name: len(_without(load, name)) for name in VOLUMES},
        "killed": [
            _summary([row for row in rows if row.service == label])
            for label in dict.fromkeys(row.service for row in rows)
        ],
    }
    print(json.dumps(summary, indent=2) if as_json else _table(summary))
    for handle, reason in [*lost.items()][:10]:
        print(handle, reason, file=sys.stderr)
    return 1 if lost or load.wrong else 0


@dataclass(frozen=True)
class Row:
    """What clients saw in the time after a server was killed, or came back."""

    service: str
    operations: int
    errors: Counter[str]
    last_error: float
    """Seconds from the kill, or from the start, to the end of the last operation that failed."""
    longest: float
    """Seconds of the longest operation."""

    @property
    def shown(self) -> int:
        """The number of errors that users saw: a page repeats many requests by itself."""
        return sum(
            number for error, number in self.errors.items() if not error.startswith(REPEATED)
        )


def _kill(load: Load, name: str, seconds: float) -> list[Row]:
    """Kill a server under load, and start it again; return what clients saw after each."""
    process, rows = load.deployment.processes[name], []
    for act, label in ((process.end, name), (process.start, f"{name} is back")):
        first, since = len(load.outcomes), time.monotonic()
        act()
        time.sleep(seconds)
        seen = load.outcomes[first:]
        failed = [each for each in seen if each.error]
        rows.append(
            Row(
                label,
                len(_operations(seen)),
                Counter(f"{each.operation}: {each.error[:70]}" for each in failed),
                max((each.ended - since for each in failed), default=0),
                max((each.ended - each.began for each in seen), default=0),
            )
        )
    return rows


def _operations(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return what users did, without the single requests of a page."""
    return [each for each in outcomes if each.operation != REPEATED]


def _summary(rows: Sequence[Row]) -> dict[str, object]:
    errors = sum((row.errors for row in rows), Counter[str]())
    return {
        "event": rows[0].service,
        "times": len(rows),
        "operations": sum(row.operations for row in rows),
        "errors": errors.total(),
        "shown": sum(row.shown for row in rows),
        "with errors": sum(bool(row.errors) for row in rows),
        "last error": round(max(row.last_error for row in rows), 1),
        "longest": round(max(row.longest for row in rows), 1),
        "reasons": dict(errors.most_common(3)),
    }


def _table(summary: dict[str, Any]) -> str:
    """Return the summary as the table of docs/how-to/scale.md."""
    titles = ("killed", "times", "operations", "errors", "of these shown to users")
    lines = [f"| {' | '.join(titles)} | last error after | longest operation |"]
    lines.append("|---|---|---|---|---|---|---|")
    lines += [
        f"| {each['event']} | {each['times']} | {each['operations']} | {each['errors']} "
        f"| {each['shown']} | {each['last error']} s | {each['longest']} s |"
        for each in summary["killed"]
    ]
    lines += [f"{name}: {summary[name]}" for name in summary if name != "killed"]
    return "\n".join(lines)


def _without(load: Load, name: str) -> dict[str, str]:
    """Return what cannot be read while a volume server is away."""
    deployment = load.deployment
    deployment.processes[name].end()
    found = load.missing(SAMPLE)
    for handle, reason in [*found.items()][:5]:
        print(f"without {name}: {handle} {reason}", file=sys.stderr)
    deployment.processes[name].start()
    deadline = time.monotonic() + LONGEST_SECONDS
    while _known_volume_servers(deployment) < len(VOLUMES) and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
    return found


def _known_volume_servers(deployment: Deployment) -> int:
    """Return how many volume servers the master knows."""
    url = f"http://{HOST}:{deployment.port('master', 9333)}/dir/status"
    with urllib.request.urlopen(url, timeout=5) as response:
        topology = json.load(response)["Topology"]
    racks = [rack for center in topology["DataCenters"] for rack in center["Racks"]]
    return sum(len(rack["DataNodes"]) for rack in racks)


if __name__ == "__main__":
    sys.exit(main())
