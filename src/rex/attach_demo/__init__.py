"""A small application that keeps attachments, as an example."""

from rex.core import Package

__all__ = ["package"]

package = Package(
    name="rex.attach_demo",
    help="a small application that keeps attachments",
    requires=("rex.attach",),
    routes="rex.attach_demo.page:routes",
    is_example=True,
)
