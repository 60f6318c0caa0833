"""Whether clients read an answer that comes before they have sent their body.

``PYTHONPATH=tests python benchmarks/refusals.py`` runs ``rex serve``, to which each client sends a
body of 200 MiB 50 times without a key (401) and 50 times with one where 1 MiB is the limit (413).
It prints how often each client read which answer; a client that missed one makes the exit code 1.
Chromium is among them where it is installed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from attach.web.impatient import CLIENTS, statuses
from browser.rig import CHROMIUM
from served import rex_serving

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = "a-key-of-the-benchmark"

FETCH = """
async ({url, headers, mib, times}) => {
  const body = new Blob([new Uint8Array(mib << 20)])
  const read = []
  for (let number = 0; number < times; number++) {
    try {
      const response = await fetch(url, {method: 'POST', headers, body})
      read.push(`${response.status} ${(await response.json()).status}`)
    } catch (error) {
      read.push(String(error))
    }
  }
  return read
}
"""


def with_chromium(url: str, headers: Mapping[str, str], mib: int, times: int) -> list[str]:
    """Send with `fetch` of a page of the service's own site."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url.partition("/attach")[0] + "/health")
        given = {"url": url, "headers": dict(headers), "mib": mib, "times": times}
        read: list[str] = page.evaluate(FETCH, given)
        browser.close()
    return read


def main() -> None:
    """Run each client, and print what it read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50, help="how often each client is refused")
    parser.add_argument("--mib", type=int, default=200, help="the size of a body")
    parser.add_argument("--only", help="one client")
    options = parser.parse_args()
    clients = {**CLIENTS, **({"Chromium": with_chromium} if CHROMIUM else {})}
    missed = 0
    with tempfile.TemporaryDirectory(prefix="rex-refusals-") as directory:
        settings = {
            "attach_dir": f"{directory}/attachments",
            "attach_access": "bearer",
            "attach_access_keys": KEY,
            "attach_max_size": "1 MiB",
        }
        with rex_serving(Path(directory), **settings) as served:
            url = f"{served.url}/attach/?name=a.bin"
            for name, client in clients.items():
                if options.only not in (None, name):
                    continue
                for status, headers in ((401, {}), (413, {"Authorization": f"Bearer {KEY}"})):
                    sent = {"Content-Type": "application/octet-stream", **headers}
                    began = time.monotonic()
                    read = statuses(client(url, sent, options.mib, options.times))
                    missed += options.times - read.get(f"{status} {status}", 0)
                    print(f"{name}, {status}: {read}, {time.monotonic() - began:.0f} s", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
