"""Form widgets that upload files straight to the storage, and name a file by its file name."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from django.forms.utils import flatatt
from django.forms.widgets import FILE_INPUT_CONTRADICTION, ClearableFileInput, Script
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext, gettext_noop

from rex.attach.django.requests import current_request, users_of
from rex.attach.django.uploads import UploadToken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.utils.datastructures import MultiValueDict
    from django.utils.safestring import SafeString

    from rex.attach.django.tokens import Offer

__all__ = [
    "AdminAttachmentInput",
    "AttachmentInput",
    "KeptUploads",
    "MultipleAttachmentInput",
]

TEXTS = {
    "cancel": gettext_noop("Cancel"),
    "retry": gettext_noop("Retry"),
    "remove": gettext_noop("Remove"),
    "waiting": gettext_noop("waiting"),
    "sent": gettext_noop("{sent} of {size}"),
    "checking": gettext_noop("storing …"),
    "uploaded": gettext_noop("uploaded"),
    "failed": gettext_noop("failed: {reason}"),
    "began": gettext_noop("Uploading {name}"),
    "done": gettext_noop("{name} is uploaded"),
    "broke": gettext_noop("Uploading {name} failed: {reason}"),
    "removed": gettext_noop("{name} is removed"),
    "lost": gettext_noop("The connection was lost."),
    "refused": gettext_noop("The server refused the file ({status})."),
    "large": gettext_noop("The file is larger than {size}."),
    "empty": gettext_noop("The submitted file is empty."),
    "wait": gettext_noop("The form is sent as soon as the upload is complete."),
    "mend": gettext_noop("An upload failed: retry it, or remove the file."),
}
"""What the element says, in the language of the page."""


@dataclass(frozen=True)
class KeptUploads:
    """The uploads of a form that is shown again, and the file that the row has."""

    initial: Any
    uploads: tuple[tuple[str, str], ...]
    """Tokens and file names."""


class AttachmentInput(ClearableFileInput):
    """A file input in the custom element ``<rex-upload>``, which uploads without Django.

    The element asks the view ``rex_attach:upload-link`` for a link, sends the file to the link, and
    the form sends a token in place of the file. Without JavaScript, the browser sends the file with
    the form. Both need ``{{ form.media }}`` in the page; there is no inline script or style.

    The page contains an offer, a signed text by which the view recognises the field and the user.
    Without the middleware `rex.attach.django.direct_upload`, there is no offer, and the
    widget is a plain file input.
    """

    offer: Offer | None = None
    """What the form field lets a user upload; the user is added when the widget is rendered."""

    class Media:
        """The script and the style of the element."""

        css: ClassVar = {"all": ["rex_attach/upload.css"]}
        js: ClassVar = [Script("rex_attach/upload.js", type="module")]

    def token_name(self, name: str) -> str:
        """Return the name of the inputs with the tokens, given the name of the file input."""
        return f"{name}-upload"

    def value_from_datadict(
        self, data: Mapping[str, Any], files: MultiValueDict[str, Any], name: str
    ) -> Any:
        """Return the file that came with the form, or else the token of an upload."""
        given = super().value_from_datadict(data, files, name)
        tokens = self._tokens(data, name)
        if not tokens or given:
            return given
        return FILE_INPUT_CONTRADICTION if given is False else tokens[-1]

    def value_omitted_from_data(
        self, data: Mapping[str, Any], files: MultiValueDict[str, Any], name: str
    ) -> bool:
        """Return whether the form sent neither a file nor a token, nor the clear checkbox."""
        is_omitted: bool = super().value_omitted_from_data(data, files, name)
        return is_omitted and self.token_name(name) not in data

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        """Return the file input in its element, with the uploads of a form that is shown again."""
        kept = value if isinstance(value, KeptUploads) else KeptUploads(value, ())
        attrs = dict(attrs or {})
        is_required = bool(kept.uploads and attrs.pop("required", False))
        initial = _ByFileName(kept.initial) if self.is_initial(kept.initial) else kept.initial
        inner = super().render(name, initial, attrs, renderer)
        element = self._attributes(is_required=is_required)
        if not element and not kept.uploads:
            return inner
        files = format_html_join(
            " ", _KEPT, ((n, self.token_name(name), t, n) for t, n in kept.uploads)
        )
        listed = format_html('<span class="rex-upload-files">{}</span>', files) if files else ""
        return format_html("<rex-upload{}>{}{}</rex-upload>", flatatt(element), inner, listed)

    def _tokens(self, data: Mapping[str, Any], name: str) -> list[UploadToken]:
        key = self.token_name(name)
        given = data.getlist(key) if hasattr(data, "getlist") else [data.get(key)]
        return [UploadToken(token) for token in given if token]

    def _attributes(self, *, is_required: bool) -> dict[str, Any]:
        """Return the attributes of the element; none if this request cannot upload directly."""
        request = current_request()
        if self.offer is None or request is None:
            return {}
        users = users_of(request)
        if not users and not hasattr(request, "session"):
            return {}
        return {
            "data-link": reverse("rex_attach:upload-link"),
            "data-offer": replace(self.offer, user=users[0] if users else None).sign(),
            "data-texts": json.dumps({key: gettext(text) for key, text in TEXTS.items()}),
            "data-max-size": self.offer.max_size,
            "data-allow-empty": self.offer.allows_empty,
            "data-required": is_required,
        }


_KEPT = (
    '<span class="rex-upload-file"><span class="rex-upload-name">{}</span>'
    '<input type="hidden" name="{}" value="{}" data-name="{}"></span>'
)


class AdminAttachmentInput(AttachmentInput):
    """The same as in the admin."""

    template_name = "admin/widgets/clearable_file_input.html"


class MultipleAttachmentInput(AttachmentInput):
    """The same for several files."""

    allow_multiple_selected = True

    def value_from_datadict(
        self, data: Mapping[str, Any], files: MultiValueDict[str, Any], name: str
    ) -> Any:
        """Return the files that came with the form and the tokens, or None without any."""
        given = ClearableFileInput.value_from_datadict(self, data, files, name)
        if given is False or given is FILE_INPUT_CONTRADICTION:
            return given
        chosen = given if isinstance(given, list) else [given] if given else []
        return [*chosen, *self._tokens(data, name)] or None


class _ByFileName:
    """A file whose text is its file name, and not its name in the storage."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def __str__(self) -> str:
        return str(self._file).rpartition("/")[2]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)
