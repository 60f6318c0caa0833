"""The application container: packages, their settings, and the application built from them."""

from rex.core import typed
from rex.core.application import Rex, get_rex, get_settings
from rex.core.error import Error, Kind
from rex.core.middleware import RexMiddleware
from rex.core.package import Package
from rex.core.secret import Secret
from rex.core.setting import Setting, Settings

__all__ = [
    "Error",
    "Kind",
    "Package",
    "Rex",
    "RexMiddleware",
    "Secret",
    "Setting",
    "Settings",
    "get_rex",
    "get_settings",
    "typed",
]
