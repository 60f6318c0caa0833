"""The settings of Django's tests: those of its own runs on SQLite, and ours."""

import os
from pathlib import Path

SECRET_KEY = "the secret key of the tests"
USE_TZ = False
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
TEST_RUNNER = "django_suite.runner.Runner"
DATABASE_ROUTERS = ["django_suite.runner.NamesRouter"]
DATABASES = {
    "default": {"ENGINE": "django.db.backends.sqlite3"},
    "other": {"ENGINE": "django.db.backends.sqlite3"},
    "names": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(Path(os.environ["DJANGO_SUITE_TEMP"], "names.sqlite3")),
    },
}
