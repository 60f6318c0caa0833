"""Form fields for attachments, whose files may be in the storage before the form is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.files.storage import storages
from django.db import models
from django.utils.translation import gettext_lazy

from rex.attach.django.requests import current_request, users_of
from rex.attach.django.storage import AttachmentStorage
from rex.attach.django.stored import StoredUpload
from rex.attach.django.tokens import Offer, Upload
from rex.attach.django.uploads import UploadToken, claim
from rex.attach.django.widgets import (
    AdminAttachmentInput,
    AttachmentInput,
    KeptUploads,
    MultipleAttachmentInput,
)
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "AttachmentFormField",
    "AttachmentImageFormField",
    "MultipleAttachmentFormField",
    "options_of",
]

UNUSABLE = gettext_lazy("This upload cannot be used here. Choose the file again.")
MESSAGES = {
    "receipt-expired": gettext_lazy("This upload has expired. Choose the file again."),
    "already-attached": gettext_lazy("This upload is saved already. Choose the file again."),
    "not-found": gettext_lazy("The file was not uploaded. Choose the file again."),
    "too-large": gettext_lazy("The file is too large."),
}
"""What a form says of an error; a forged token gets the same words as another user's."""


class AttachmentFormField(forms.FileField):
    """A file field that takes an upload in the storage as well as a file in the form.

    `storage` is an `AttachmentStorage` or its alias in ``STORAGES``. `field` names the use, such as
    ``shop.Document.file``: an upload for another use is refused. `max_size` is in bytes, by default
    the storage's own limit. The cleaned value of an upload is a `StoredUpload`: a lazily opened
    `UploadedFile`, which the model field of the same storage saves without copying a byte.

    Errors: `ImproperlyConfigured` for another storage.
    """

    widget = AttachmentInput

    def __init__(
        self,
        *,
        field: str,
        storage: AttachmentStorage | str = "default",
        max_size: int | None = None,
        **options: Any,
    ) -> None:
        found = storages[storage] if isinstance(storage, str) else storage
        if not isinstance(found, AttachmentStorage):
            raise ImproperlyConfigured(f"{field}: the storage must be an AttachmentStorage")
        self.storage = found
        self.field = field
        self.max_size = max_size
        super().__init__(**options)

    def widget_attrs(self, widget: forms.Widget) -> Any:
        """Return the attributes of the widget, which gets the offer."""
        if isinstance(widget, AttachmentInput):
            widget.offer = Offer(
                field=self.field,
                storage=self.storage.key,
                user=None,
                max_size=self.max_size,
                max_length=self.max_length,
                allows_empty=self.allow_empty_file,
            )
        return super().widget_attrs(widget)

    def clean(self, data: Any, initial: Any = None) -> Any:
        """Validate a file, or claim an upload and validate it.

        Errors: `ValidationError`, also for an upload that is another user's or another field's, has
        expired, is saved already, or is too large.
        """
        if not isinstance(data, UploadToken):
            return super().clean(data, initial)
        own = str(getattr(initial, "name", None) or "")
        upload = self.claim(data, own)
        if upload.handle == f"/{own}":  # the same form was sent twice
            return initial
        return self.validate_upload(upload)

    def validate_upload(self, upload: StoredUpload) -> Any:
        """Validate an upload as a file of the form; close the upload."""
        try:
            return super().clean(upload)
        finally:
            upload.close()

    def claim(self, token: str, own: str = "") -> StoredUpload:
        """Return the upload of a token. Errors: `ValidationError`."""
        try:
            return claim(
                token, storage=self.storage, field=self.field, max_size=self.max_size, own=own
            )
        except Error as error:
            raise _as_validation_error(error) from error

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Return what a form that is shown again contains: its uploads stay in it."""
        tokens = data if isinstance(data, list) else [data]
        kept = tuple(self._kept(tokens))
        initial = super().bound_data(data, initial)
        return KeptUploads(initial, kept) if kept else initial

    def get_bound_field(self, form: forms.BaseForm, field_name: str) -> forms.BoundField:
        """Return a bound field without the uploads that were refused."""
        return _BoundField(form, self, field_name)

    def _kept(self, tokens: list[Any]) -> Iterator[tuple[str, str]]:
        users = users_of(current_request())
        for token in tokens:
            if isinstance(token, UploadToken):
                try:
                    upload = Upload.read(token, self.field, users)
                except Error:
                    continue
                yield token, upload.handle.rpartition("/")[2]


class AttachmentImageFormField(AttachmentFormField, forms.ImageField):
    """An image field: see `AttachmentFormField`.

    Of an upload, only the beginning is read, so that the format and the dimensions are known. The
    whole image is not verified, which would fetch the whole file.
    """

    def to_python(self, data: Any) -> Any:
        """Return the image. Errors: `ValidationError` for anything that Pillow does not know."""
        if not isinstance(data, StoredUpload):
            return super().to_python(data)
        from PIL import Image

        forms.FileField.to_python(self, data)
        try:
            image = Image.open(data.file)
        except Error:
            raise
        except Exception as error:
            code = "invalid_image"  # Django's
            raise ValidationError(self.error_messages[code], code=code) from error
        data.dimensions, data.image = image.size, image
        data.content_type = Image.MIME.get(image.format or "")
        return data


class MultipleAttachmentFormField(AttachmentFormField):
    """A field for several files: the cleaned value is a list of files."""

    widget = MultipleAttachmentInput

    def clean(self, data: Any, initial: Any = None) -> Any:
        """Validate each of the files. Errors: `ValidationError`."""
        if not isinstance(data, list):
            return super().clean(data, initial)
        return [super(MultipleAttachmentFormField, self).clean(item) for item in data]


class _BoundField(forms.BoundField):
    """A field of a form, which forgets uploads that its form refuses, by whichever validator."""

    def value(self) -> Any:
        """Return what the form contains."""
        if self.form.is_bound and self.name in self.form.errors:
            return self.field.prepare_value(self.initial)
        return super().value()


def options_of(field: models.FileField, options: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a model field's form field.

    With a storage of another library, and with a form field or a widget of the application's own,
    they are Django's. The widget of the admin becomes ours.
    """
    from django.contrib.admin.widgets import AdminFileWidget

    if "form_class" in options or not isinstance(field.storage, AttachmentStorage):
        return options
    is_image = isinstance(field, models.ImageField)
    label = f"{field.model._meta.label}.{field.name}"  # noqa: SLF001 - Django's API
    chosen = {
        "form_class": AttachmentImageFormField if is_image else AttachmentFormField,
        "storage": field.storage,
        "field": label,
        **options,
    }
    if chosen.get("widget") is AdminFileWidget:
        chosen["widget"] = AdminAttachmentInput
    return chosen


def _as_validation_error(error: Error) -> ValidationError:
    if error.kind is Kind.REFUSED:
        return ValidationError(error.message, code=error.code)
    if error.kind in (Kind.DENIED, Kind.EXISTS, Kind.NOT_FOUND, Kind.TOO_LARGE):
        return ValidationError(MESSAGES.get(error.code, UNUSABLE), code=error.code)
    raise error
