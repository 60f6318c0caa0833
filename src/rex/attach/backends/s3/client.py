"""The client of botocore, set up by our settings alone."""

from __future__ import annotations

import datetime
import logging
import os
import ssl
from functools import cache
from typing import TYPE_CHECKING, Any

from rex.attach.backends.objects.connection import CONNECT_SECONDS, proxy_for

if TYPE_CHECKING:
    from rex.attach.backends.s3.credentials import CredentialsProvider

__all__ = ["make_client"]

SIGNING_LOGGERS = ("botocore.auth", "botocore.endpoint")
"""Loggers of botocore that log signatures at DEBUG; here, only if configured by name."""


def make_client(
    endpoint: str,
    region: str,
    credentials: CredentialsProvider,
    *,
    addressing: str,
    certificates: str | None,
    timeout: float,
) -> Any:
    """Return a client that looks up the credentials for each request, and never retries.

    `addressing` is ``path`` or ``virtual``; `certificates` is the path of a file of authorities;
    `timeout` is in seconds.
    """
    for name in SIGNING_LOGGERS:
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.INFO)
    from botocore.config import Config
    from botocore.parsers import ResponseParserFactory
    from botocore.session import Session

    # Ignore the environment and the files of AWS, which could override our settings.
    defaults = {
        name: (None, None, default, None)
        for name, (_, _, default, _) in Session.SESSION_VARIABLES.items()
    }
    files = dict.fromkeys(("config_file", "credentials_file"), (None, None, os.devnull, None))
    session = Session(session_vars=defaults | files)
    session.register_component("data_loader", _loader())
    session.register_component("credential_provider", _Provider(credentials))
    parsers = ResponseParserFactory()
    parsers.set_parser_defaults(timestamp_parser=_parse_time)
    session.register_component("response_parser_factory", parsers)
    proxy = proxy_for(endpoint)
    config = Config(
        signature_version="s3v4",
        connect_timeout=min(CONNECT_SECONDS, timeout),
        read_timeout=timeout,
        retries={"mode": "standard", "total_max_attempts": 1},
        proxies={} if proxy is None else {"http": proxy, "https": proxy},
        s3={
            "addressing_style": addressing,
            "us_east_1_regional_endpoint": "regional",
        },
        use_dualstack_endpoint=False,
        use_fips_endpoint=False,
        # Not every server supports the checksums that botocore would add.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        user_agent="rex-attach",
    )
    client = session.create_client(
        "s3",
        region_name=region,
        endpoint_url=endpoint,
        verify=certificates or ssl.get_default_verify_paths().cafile,
        config=config,
    )
    client.meta.events.register_last("before-parameter-build.s3", _stay)
    return client


@cache
def _loader() -> Any:
    """Return the loader of the descriptions of S3, whose JSON takes 0.1 s to read."""
    from botocore.loaders import create_loader

    return create_loader()


def _stay(context: dict[str, Any], **_: object) -> None:
    """Mark the request as redirected, so that botocore follows no redirect."""
    context.setdefault("s3_redirect", {})["redirected"] = True


class _Provider:
    """The provider from which botocore gets the credentials."""

    def __init__(self, credentials: CredentialsProvider) -> None:
        self._credentials = credentials

    def load_credentials(self) -> Any:
        from botocore.credentials import Credentials, ReadOnlyCredentials

        ours = self._credentials

        class Current(Credentials):  # type: ignore[misc]  # botocore has no types
            """Credentials that are looked up for each request."""

            def get_frozen_credentials(self) -> ReadOnlyCredentials:
                now = ours()
                return ReadOnlyCredentials(now.access_key, now.secret_key, now.session_token)

        # These two arguments are never used.
        return Current("", "")


def _parse_time(text: str) -> datetime.datetime:
    """Parse a time; the parser of botocore would take most of the time of a listing."""
    try:
        return datetime.datetime.fromisoformat(text)
    except (TypeError, ValueError):
        from botocore.utils import parse_timestamp

        parsed: datetime.datetime = parse_timestamp(text)
        return parsed
