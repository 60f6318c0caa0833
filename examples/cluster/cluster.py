"""An application before a real SeaweedFS cluster, on this machine, until Ctrl-C.

Three volume servers, two of which have each file (replication 001), two filers on PostgreSQL, two
S3 gateways behind a balancer, and the application behind nginx: deploy/compose.cluster.yaml.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from pathlib import Path

from processes import DEPLOY, Deployment, end_with_ctrl_c, missing_programs


def main() -> int:
    """Run a compose file's services until Ctrl-C or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--compose",
        type=Path,
        default=DEPLOY / "compose.cluster.yaml",
        help="compose file whose services to run (default: %(default)s)",
    )
    compose = parser.parse_args().compose
    if missing := missing_programs():
        parser.error(f"needs these packages of Debian: {' '.join(missing)}")
    end_with_ctrl_c()
    try:
        with (
            tempfile.TemporaryDirectory(prefix="rex-cluster-") as directory,
            Deployment(compose, Path(directory)) as deployment,
        ):
            sys.stdout.write(
                f"Open {deployment.origin} and accept its certificate: "
                f"user {deployment.user}, password '{deployment.password}'.\n"
                f"The services have their logs in {directory}/*/log (press Ctrl-C to stop).\n"
            )
            sys.stdout.flush()
            signal.pause()
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
