"""The promises of every storage, as a suite for the authors of storages.

Tell the suite about a kind of storage with a `Harness`, and run the promises with any test
framework, here pytest::

    class MyHarness(Harness):
        def open(self, *, max_size=None):
            return MyStorage(..., max_size=max_size)

    @pytest.mark.parametrize("promise", promises_for(links=MyHarness.links))
    def test_my_storage_keeps_its_promises(promise):
        promise(MyHarness())

or with none: ``for failure in failures(MyHarness()): print(failure)``.
"""

from rex.attach.conformance import (
    coroutines,
    downloads,
    handles,
    links,
    listing,
    metadata,
    names,
    putting,
    reading,
    refusing,
    removing,
    resumable,
    resumable_together,
    storing,
    threads,
    uploads,
)
from rex.attach.conformance.harness import Harness
from rex.attach.conformance.promise import Failure, Promise, failures, promises_for

__all__ = ["Failure", "Harness", "Promise", "failures", "promises", "promises_for", "themes"]

themes = (
    storing,
    putting,
    refusing,
    metadata,
    reading,
    removing,
    listing,
    names,
    handles,
    threads,
    coroutines,
    links,
    uploads,
    downloads,
    resumable,
    resumable_together,
)
"""The modules in which the promises stand, in the order in which to read them."""

promises: tuple[Promise, ...] = tuple(
    dict.fromkeys(
        (
            *promises_for(links=True),
            *promises_for(links=False),
            *promises_for(links=True, uploads=False),
        )
    )
)
"""All promises there are, whatever a storage can and cannot."""
