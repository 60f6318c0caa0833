"""The short form of `make trust`: what was acknowledged is neither lost nor changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from trust import disk, network
from trust.__main__ import PARTS, obstacle, run_part
from trust.places import Prefix

if TYPE_CHECKING:
    from collections.abc import Callable

    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.long

RUNNABLE = [name for name in PARTS if obstacle(name) is None]
LEFT_OUT = (
    *(f"{name} of the campaign ({obstacle(name)})" for name in PARTS if name not in RUNNABLE),
    *(
        f"power cuts and failing devices on {name} ({reason})"
        for name in ("ext4", "xfs")
        if "power_cuts" in RUNNABLE and (reason := disk.obstacle(name))
    ),
)
BROKEN = (
    ("power_cuts", "sync nothing", 1),
    ("power_cuts", "sync directories", 1),
    ("power_cuts", "sync no groups", 2),
    ("failing_device", "believe the next sync", 2),
    ("system_calls", "name before it is whole", 100),
    ("hooks", "tell after the response", 4),
    ("sql", "remove before the outcome", 20),
)
PATIENCE = 10
"""How often a part is run until it convicts: it tries at random."""


@pytest.mark.parametrize("name", RUNNABLE)
def test_what_was_acknowledged_is_neither_lost_nor_changed(
    name: str, report_figure: Callable[[str], None]
) -> None:
    """Whatever fails: the power, a device, a system call, processes, the network."""
    report = run_part(name, PARTS[name].short_times)
    assert [] == report.violations
    for line in report.lines:
        assert line.facts > 0
        report_figure(
            f"{line.what}: {line.times:,} times, {line.operations:,} operations, "
            f"{line.facts:,} facts, {len(line.violations)} violations"
        )


@pytest.mark.parametrize(
    ("name", "what", "times"), [each for each in BROKEN if each[0] in RUNNABLE]
)
def test_a_product_that_is_broken_is_convicted(name: str, what: str, times: int) -> None:
    """So the faults are real, and the judge sees what they do."""
    assert any(run_part(name, times, what).violations for _ in range(PATIENCE))


def test_a_client_that_sends_no_checksums_is_convicted(seaweedfs: SeaweedFS) -> None:
    """A bit that flips on the way is stored then."""
    place = Prefix(seaweedfs, "trust/unchecked", checksums=False)
    tries = [("create", "flipped bits from then on", 1), ("add", "flipped bits from then on", 1)]
    assert network.judged(place, tries).violations
