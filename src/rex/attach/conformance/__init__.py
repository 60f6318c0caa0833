"""The conformance suite: the promises of every storage, for the authors of backends.

Describe a backend to the suite with a `Harness`, and run the promises with any test framework,
for example pytest::

    class MyHarness(Harness):
        def open(self, *, max_size=None):
            return MyStorage(..., max_size=max_size)

    @pytest.mark.parametrize("promise", promises_for(MyStorage().abilities))
    def test_my_storage_keeps_its_promises(promise):
        promise(MyHarness())

or without one: ``for failure in failures(MyHarness()): print(failure)``.
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
from rex.attach.conformance.promise import (
    Failure,
    Promise,
    all_promises,
    failures,
    promises_for,
)

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
"""The modules that contain the promises, in reading order."""

promises = all_promises()
"""All promises, whichever abilities a backend has."""
