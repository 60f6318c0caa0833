"""An example application that stores attachments."""

from rex.core import Package, Setting, typed

__all__ = ["package"]

DATABASE = Setting(
    "attach_demo_database",
    typed.path,
    help="the SQLite file with the list of the demo page; a new one gets what the storage has; "
    "default: next to attach_dir, or attachments.db",
)

package = Package(
    name="rex.attach_demo",
    help="An example application that stores attachments.",
    requires=("rex.attach",),
    settings=(DATABASE,),
    routes="rex.attach_demo.page:routes",
    is_example=True,
)
