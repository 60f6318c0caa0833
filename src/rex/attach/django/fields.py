"""Model fields for attachments: `AttachmentField` and `AttachmentImageField`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic

from django.db import router
from django.db.models.fields.files import (
    FieldFile,
    FileField,
    ImageField,
    ImageFieldFile,
    ImageFileDescriptor,
)

from rex.attach.django.cleanup import is_cleaned, remove_after_commit

if TYPE_CHECKING:
    from typing import overload

    from django.db.models import Model
    from django.db.models.fields.files import FileDescriptor
    from typing_extensions import TypeVar

    F = TypeVar("F", bound=FieldFile, default="AttachmentFieldFile")
    I = TypeVar("I", bound=ImageFieldFile, default="AttachmentImageFieldFile")  # noqa: E741
else:
    from typing import TypeVar

    F = TypeVar("F")
    I = TypeVar("I")  # noqa: E741

__all__ = [
    "AttachmentField",
    "AttachmentFieldFile",
    "AttachmentImageField",
    "AttachmentImageFieldFile",
]

MAX_LENGTH = 400
"""Characters of a column: more than a handle ever has (48, and a file name of at most 255)."""


class AttachmentFieldFile(FieldFile):
    """The file of a row, with its file name, and removed only after the commit."""

    @property
    def filename(self) -> str:
        """The file name: the last component of `name`; empty without a file."""
        return (self.name or "").rpartition("/")[2]

    def delete(self, save: bool = True) -> None:  # noqa: FBT001, FBT002 - as in Django
        """Clear the column, save the row if `save` is true, and remove the file after the commit.

        After a rollback the file is still there. With `cleanup`, the file stays as long as any
        other row has its name.
        """
        if not self:
            return
        if hasattr(self, "_file"):
            self.close()
            del self.file
        name, self.name = str(self.name), None
        setattr(self.instance, self.field.attname, None)
        self._committed = False
        if save:
            self.instance.save()
        own = (self.field, self.instance.pk) if is_cleaned(self.field) else None
        using = self.instance._state.db or router.db_for_write(  # noqa: SLF001 - Django's API
            type(self.instance), instance=self.instance
        )
        remove_after_commit(self.storage, [name], using=using, own=own, check=own is not None)

    delete.alters_data = True  # type: ignore[attr-defined]  # templates must not call the method


class AttachmentImageFieldFile(AttachmentFieldFile, ImageFieldFile):
    """The image of a row; its dimensions are read from the beginning of the attachment."""

    def delete(self, save: bool = True) -> None:  # noqa: FBT001, FBT002 - as in Django
        """Clear the column as `AttachmentFieldFile.delete` does, and forget the dimensions."""
        self.__dict__.pop("_dimensions_cache", None)
        super().delete(save)

    def _get_image_dimensions(self) -> tuple[int | None, int | None]:
        known: tuple[int, int] | None = getattr(getattr(self, "_file", None), "dimensions", None)
        found: tuple[int | None, int | None]
        found = known or super()._get_image_dimensions()  # type: ignore[misc]  # of `ImageFile`
        return found

    delete.alters_data = True  # type: ignore[attr-defined]  # templates must not call the method


class AttachmentImageDescriptor(ImageFileDescriptor):
    """An image that is read again only when another image is assigned."""

    def __set__(self, instance: Model, value: Any) -> None:
        # A form or `full_clean` assigns the file that is there: Django would read it again.
        if value is None or value is not instance.__dict__.get(self.field.attname):
            super().__set__(instance, value)


class _Options(FileField):
    """The options that both fields share."""

    def __init__(self, *args: Any, cleanup: bool | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("max_length", MAX_LENGTH)
        self.cleanup = cleanup
        super().__init__(*args, **kwargs)

    @classmethod
    def __class_getitem__(cls, _: object) -> type[_Options]:
        """Return the field itself: the type of its files matters to type checkers only."""
        return cls

    def deconstruct(self) -> Any:
        """Return the arguments for a migration, in which `cleanup` has no meaning."""
        name, path, args, kwargs = super().deconstruct()
        kwargs["max_length"] = self.max_length
        if self.max_length == MAX_LENGTH:
            del kwargs["max_length"]
        return name, path, args, kwargs

    def formfield(self, **options: Any) -> Any:
        """Return a form field whose files may go straight to the storage."""
        from rex.attach.django.forms import options_of

        return super().formfield(**options_of(self, options))


if TYPE_CHECKING:

    class AttachmentField(_Options, Generic[F]):
        """A `FileField` for attachments."""

        attr_class: type[AttachmentFieldFile]

        @overload  # type: ignore[override]
        def __get__(self, instance: None, owner: Any) -> FileDescriptor: ...
        @overload
        def __get__(self, instance: Model, owner: Any) -> F: ...
        def __get__(self, instance: Model | None, owner: Any) -> FileDescriptor | F: ...

    class AttachmentImageField(_Options, ImageField, Generic[I]):
        """An `ImageField` for attachments."""

        attr_class: type[AttachmentImageFieldFile]

        @overload  # type: ignore[override]
        def __get__(self, instance: None, owner: Any) -> FileDescriptor: ...
        @overload
        def __get__(self, instance: Model, owner: Any) -> I: ...
        def __get__(self, instance: Model | None, owner: Any) -> FileDescriptor | I: ...

else:

    class AttachmentField(_Options):
        """A `FileField` for attachments, whose files are `AttachmentFieldFile`.

        `max_length` is 400 by default, so that no file name is cut. With `cleanup`, the file of a
        row is removed after the commit of the transaction that replaces or clears the file, or
        deletes the row, unless any other row has its name (`rex.attach.django.cleanup`). The
        default of `cleanup` is the setting ``REX_ATTACH_CLEANUP``.
        """

        attr_class = AttachmentFieldFile

    class AttachmentImageField(_Options, ImageField):
        """An `ImageField` for attachments: see `AttachmentField`.

        Saving a form that does not touch the image does not read the image.
        """

        attr_class = AttachmentImageFieldFile
        descriptor_class = AttachmentImageDescriptor
