"""The policy of all pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse


def protect(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    """Forbid all that a page does not bring from here, and inline scripts and styles."""
    policy = (
        f"default-src 'self'; connect-src 'self' {settings.CONNECT}; img-src 'self' data:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'"
    )

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = policy
        return response

    return answer
