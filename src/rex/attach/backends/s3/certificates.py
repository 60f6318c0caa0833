"""The certificates in the file attach_s3_ca_file, for each HTTP client."""

from __future__ import annotations

import ssl

from rex.core import Error, Kind

__all__ = ["read_certificates", "trust"]


def read_certificates(path: str) -> bytes:
    """Read a PEM file of certificates. Errors: `CONFIGURATION` if it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as failure:
        raise _error("read", path, failure) from None


def trust(path: str | None) -> ssl.SSLContext | None:
    """Return a context that trusts the certificates of a PEM file and those of the system.

    Errors: `CONFIGURATION` if the file cannot be used.
    """
    if path is None:
        return None
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(path)
    except (OSError, ssl.SSLError) as failure:
        raise _error("used", path, failure) from None
    return context


def _error(action: str, path: str, failure: OSError) -> Error:
    return Error(
        f"The certificate file cannot be {action}",
        f"{path}: {failure.strerror}",
        kind=Kind.CONFIGURATION,
        code="wrong-setting",
        setting="attach_s3_ca_file",
    )
