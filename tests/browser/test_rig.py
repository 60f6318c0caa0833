"""What the browser tests are made of; it is there on a machine without a browser, too."""

from __future__ import annotations

import json

from browser.rig import BUNDLES, CHROMIUM, HERE

LEFT_OUT = () if CHROMIUM else ("all that happens in a browser (needs Debian's chromium)",)


def test_the_clients_are_locked() -> None:
    """Each package by its version and its digest, and from wherever npm is told to get it."""
    lock = (HERE / "package-lock.json").read_text()
    assert "://" not in lock
    packages = json.loads(lock)["packages"]
    fetched = {path: package for path, package in packages.items() if "node_modules/" in path}
    ours = {path for path, package in fetched.items() if package.get("link")}
    assert {f"node_modules/page-{name}" for name in BUNDLES} == ours
    for path in fetched.keys() - ours:
        assert {"version", "integrity"} <= fetched[path].keys(), path
        assert "resolved" not in fetched[path], path
