"""The Django project of the tests: one for the process, since Django's settings are.

`setup` may be called from anywhere, any number of times. The storages are in memory; a test that
needs others uses `override_settings(STORAGES=storages_at(…))`. The models are in
`attach.django.app`.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["setup", "storages_at"]

SECRET_KEY = "the secret key of the tests, of fifty characters or more"


def storages_at(url: str, **options: object) -> dict[str, Any]:
    """Return ``STORAGES`` with both of our storages at a place.

    ``default`` has handles for names, ``named`` keeps names; static files are Django's.
    """
    given = {"url": url, **options}
    named = "rex.attach.django.NamedAttachmentStorage"
    return {
        "default": {"BACKEND": "rex.attach.django.AttachmentStorage", "OPTIONS": given},
        "named": {"BACKEND": named, "OPTIONS": dict(given)},
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


def setup(more_apps: Iterable[str] = (), **more: object) -> None:
    """Configure Django, once.

    `more_apps` and `more` are applications and settings for a process that has nothing else.
    """
    from django.conf import settings

    if settings.configured:
        return
    directory = Path(tempfile.mkdtemp(prefix="rex-django-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    usual = dict(_settings(directory))
    usual["INSTALLED_APPS"] = [*usual["INSTALLED_APPS"], *more_apps]
    settings.configure(**{**usual, **more})
    import django

    django.setup()


def _settings(directory: Path) -> Mapping[str, Any]:
    return {
        "ALLOWED_HOSTS": ["*"],
        "BASE_DIR": directory,
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(directory / "database.sqlite3"),
                # Nothing must outlast the tests.
                "OPTIONS": {"init_command": "PRAGMA synchronous=OFF; PRAGMA journal_mode=MEMORY"},
                "TEST": {"NAME": str(directory / "database.sqlite3")},
            }
        },
        "DEFAULT_AUTO_FIELD": "django.db.models.BigAutoField",
        "INSTALLED_APPS": [
            "django.contrib.admin",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
            "django.contrib.staticfiles",
            "rex.attach.django",
            "attach.django.app",
            "attach.django.archive",
        ],
        "LOGGING_CONFIG": None,
        "MEDIA_ROOT": str(directory / "media"),
        "MIDDLEWARE": [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
        "ROOT_URLCONF": "attach.django.urls",
        "SECRET_KEY": SECRET_KEY,
        "STATIC_URL": "static/",
        "STORAGES": storages_at("memory:"),
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "APP_DIRS": True,
                "OPTIONS": {
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                        "django.contrib.messages.context_processors.messages",
                    ]
                },
            }
        ],
        "USE_TZ": True,
    }
