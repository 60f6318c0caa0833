"""An example application that stores attachments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rex.core import Error, Kind, Package, Setting, typed

if TYPE_CHECKING:
    from rex.core import Rex

__all__ = ["DATABASE", "package"]

DATABASE = Setting(
    "attach_demo_database",
    typed.path,
    help="the SQLite file with the list of the demo page; a new one gets what the storage has; "
    "default: beside attach_dir, or attachments.db",
)


def _check(_: Rex) -> None:
    from importlib.util import find_spec

    if find_spec("sqlalchemy") is None:
        raise Error(
            "The demo page needs SQLAlchemy; install it with the extra demo",
            "pip install 'rex-attach[demo]'",
            kind=Kind.CONFIGURATION,
            code="missing-package",
        )


package = Package(
    name="rex.attach_demo",
    help="An example application that stores attachments.",
    requires=("rex.attach",),
    settings=(DATABASE,),
    start=_check,
    routes="rex.attach_demo.page:routes",
    is_example=True,
)
