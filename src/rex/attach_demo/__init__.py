"""An example application that stores attachments."""

from rex.core import Package

__all__ = ["package"]

package = Package(
    name="rex.attach_demo",
    help="An example application that stores attachments.",
    requires=("rex.attach",),
    routes="rex.attach_demo.page:routes",
    is_example=True,
)
