"""Storages on S3 broken on purpose: their links, and what they leave on the server."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from attach.broken import caught_by
from attach.harnesses import s3_client
from rex.attach.backends.s3.links import S3Links
from rex.attach.backends.s3.storage import S3Storage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rex.attach.backend.abilities import Abilities
    from rex.attach.content.content import Content
    from rex.attach.links.link import PresignedLink


class _Signer(S3Links):
    """Asks the methods of its storage."""

    def __init__(self, storage: Signing) -> None:
        super().__init__(storage._bucket)
        self._storage = storage

    def post(self, *args: Any) -> PresignedLink:
        return self._storage._sign_post(*args)

    def put(self, *args: Any) -> PresignedLink:
        return self._storage._sign_put(*args)

    def get(self, *args: Any) -> PresignedLink:
        return self._storage._sign_get(*args)

    def _form(self, *args: Any) -> tuple[Mapping[str, str], str]:
        fields, conditions = super()._form(*args)
        changed = self._storage._changed_conditions(json.loads(f"[{conditions}]"))
        return fields, json.dumps(changed)[1:-1]


class Signing(S3Storage):
    """Has a method for each link, which a subclass breaks."""

    def _abilities(self) -> Abilities:
        return dataclasses.replace(super()._abilities(), links=_Signer(self))

    @property
    def _right(self) -> Any:
        return super(_Signer, self.abilities.links)

    def _sign_post(self, *args: Any) -> PresignedLink:
        link: PresignedLink = self._right.post(*args)
        return link

    def _sign_put(self, *args: Any) -> PresignedLink:
        link: PresignedLink = self._right.put(*args)
        return link

    def _sign_get(self, *args: Any) -> PresignedLink:
        link: PresignedLink = self._right.get(*args)
        return link

    def _changed_conditions(self, conditions: list[Any]) -> list[Any]:
        return conditions


class Changed(Signing):
    """Changes its links after they were signed."""

    def _changed(self, link: PresignedLink) -> PresignedLink:
        return link

    def _sign_put(self, *args: Any) -> PresignedLink:
        return self._changed(super()._sign_put(*args))

    def _sign_get(self, *args: Any) -> PresignedLink:
        return self._changed(super()._sign_get(*args))


@caught_by("a_put_link_works_once", "a_put_link_does_not_overwrite")
class PutsAgain(Signing):
    """A PUT link overwrites what is there."""

    def _sign_put(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        del max_size
        headers = {"Content-Type": content_type}
        return self._bucket.presign("PUT", key, seconds, headers=headers)


@caught_by("the_content_type_of_an_upload_is_pinned")
class PutsAnyType(Signing):
    """A PUT link leaves the content type to the client."""

    def _sign_put(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        del max_size
        link = self._bucket.presign("PUT", key, seconds, headers={"If-None-Match": "*"})
        return dataclasses.replace(link, headers={**link.headers, "Content-Type": content_type})


@caught_by("a_put_link_needs_its_headers", "a_put_link_works_once")
class PutsWithoutSigningHeaders(Signing):
    """A PUT link names its headers, but does not sign them."""

    def _sign_put(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        del max_size
        link = self._bucket.presign("PUT", key, seconds)
        return dataclasses.replace(link, headers={"Content-Type": content_type})


@caught_by("an_upload_in_a_coding_is_refused")
class PutsInAnyCoding(Signing):
    """A PUT link leaves the coding to the client."""

    def _sign_put(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        del max_size
        headers = {"Content-Type": content_type, "If-None-Match": "*"}
        return self._bucket.presign("PUT", key, seconds, headers=headers)


@caught_by("a_form_in_a_coding_is_refused", "every_field_of_a_form_is_pinned")
class PostsInAnyCoding(Signing):
    """A form does not pin the coding, which is in it."""

    def _changed_conditions(self, conditions: list[Any]) -> list[Any]:
        coding = ["eq", "$Content-Encoding", "identity"]
        free = ["starts-with", "$Content-Encoding", ""]
        return [free if list(condition) == coding else condition for condition in conditions]


@caught_by("a_form_upload_becomes_the_attachment")
class PostsOneType(Signing):
    """A form is signed for one content type, whatever is uploaded."""

    def _sign_post(self, key: str, content_type: str, *args: Any) -> PresignedLink:
        del content_type
        return super()._sign_post(key, "x/other", *args)


@caught_by("a_form_upload_keeps_to_its_limit", "the_limit_of_the_storage_holds_for_links")
class PostsAnySize(Signing):
    """A form does not limit the size."""

    def _sign_post(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        del max_size
        return super()._sign_post(key, content_type, None, seconds)


@caught_by("a_form_upload_keeps_to_its_limit")
class PostsAByteMore(Signing):
    """A form takes one byte more than it should."""

    def _sign_post(
        self, key: str, content_type: str, max_size: int | None, seconds: float
    ) -> PresignedLink:
        more = None if max_size is None else max_size + 1
        return super()._sign_post(key, content_type, more, seconds)


@caught_by("a_form_upload_becomes_the_attachment")
class PostsElsewhere(Signing):
    """A form puts the upload where the storage does not look for it."""

    def _sign_post(self, key: str, *args: Any) -> PresignedLink:
        return super()._sign_post(f"uploads/{key}", *args)


@caught_by("every_field_of_a_form_is_pinned")
class PostsMoreThanItSigns(Signing):
    """A form has a field that its policy does not mention."""

    def _sign_post(self, *args: Any) -> PresignedLink:
        link = super()._sign_post(*args)
        return dataclasses.replace(link, fields={**link.fields, "Cache-Control": "no-store"})


@caught_by("a_form_takes_no_other_fields")
class PostsWhatIsAdded(Signing):
    """The policy of a form says nothing of the fields that are not in it."""

    def _changed_conditions(self, conditions: list[Any]) -> list[Any]:
        return [condition for condition in conditions if list(condition)[-1] != ""]


@caught_by("a_download_link_gives_the_bytes", "only_what_is_safe_is_shown_in_place")
class ShowsEverything(Signing):
    """Every download is shown in place."""

    def _sign_get(self, key: str, content_disposition: str, *args: Any) -> PresignedLink:
        shown = content_disposition.replace("attachment", "inline", 1)
        return super()._sign_get(key, shown, *args)


@caught_by("a_download_can_get_another_name")
class LeavesTheNameAsItIs(Signing):
    """A download has the name that was stored with it."""

    def _sign_get(
        self, key: str, content_disposition: str, content_type: str | None, *args: Any
    ) -> PresignedLink:
        del content_disposition
        query = {"response-content-type": content_type} if content_type else {}
        return self._bucket.presign("GET", key, args[0], query=query)


@caught_by("what_claims_to_be_a_page_is_not_shown_as_one")
class ShowsPages(Signing):
    """What is shown in place has the type that it was stored as."""

    def _sign_get(
        self, key: str, content_disposition: str, content_type: str | None, *args: Any
    ) -> PresignedLink:
        del content_type
        return super()._sign_get(key, content_disposition, None, *args)


@caught_by("a_text_shown_in_place_says_how_it_is_encoded")
class LeavesTheEncodingOpen(Signing):
    """A text that is shown in place has a type without a charset."""

    def _sign_get(
        self, key: str, content_disposition: str, content_type: str | None, *args: Any
    ) -> PresignedLink:
        bare = content_type and content_type.partition(";")[0]
        return super()._sign_get(key, content_disposition, bare, *args)


@caught_by("a_download_is_kept_no_longer_than_its_link_lasts")
class IsKeptForAYear(Signing):
    """What a link has led to may be kept for a year."""

    def _sign_get(self, key: str, content_disposition: str, *args: Any) -> PresignedLink:
        del args
        query = {
            "response-content-disposition": content_disposition,
            "response-cache-control": "private, max-age=31536000, immutable",
        }
        return self._bucket.presign("GET", key, 60, query=query)


@caught_by("a_download_is_kept_no_longer_than_its_link_lasts")
class IsKeptForAnHourMore(Signing):
    """What a link has led to may be kept for an hour after it."""

    def _sign_get(
        self,
        key: str,
        content_disposition: str,
        content_type: str | None,
        seconds: float,
        window: int,
    ) -> PresignedLink:
        later = super()._sign_get(key, content_disposition, content_type, seconds + 3600, window)
        return dataclasses.replace(later, expires_at=later.expires_at - datetime.timedelta(hours=1))


@caught_by("a_form_upload_under_any_name_works")
class EncodesTwice(Signing):
    """The key is encoded twice in URLs."""

    def _sign_get(self, key: str, *args: Any) -> PresignedLink:
        return super()._sign_get(quote(key), *args)


@caught_by("a_download_link_gives_the_bytes", "a_put_link_works_once")
class ForgetsToSign(Changed):
    """A link has no signature."""

    def _changed(self, link: PresignedLink) -> PresignedLink:
        return dataclasses.replace(link, url=link.url.partition("?")[0])


@caught_by("a_link_is_a_value")
class PromisesMoreTime(Changed):
    """A link tells that it lasts an hour longer than it does."""

    def _changed(self, link: PresignedLink) -> PresignedLink:
        return dataclasses.replace(link, expires_at=link.expires_at + datetime.timedelta(hours=1))


@caught_by("a_window_repeats_a_link")
class SignsEachTime(Signing):
    """A link is signed for this moment, whatever its window."""

    def _sign_get(self, *args: Any) -> PresignedLink:
        *others, window = args
        link = super()._sign_get(*others, 0)
        if not window:
            return link
        return dataclasses.replace(link, url=f"{link.url}&n={next(self._numbers)}")

    _numbers = itertools.count()


@caught_by("a_window_repeats_a_link")
class LastsAWindowMore(Signing):
    """A link with a window lasts longer than it should."""

    def _sign_get(self, *args: Any) -> PresignedLink:
        *others, seconds, window = args
        return super()._sign_get(*others, seconds + window, window)


@caught_by("a_link_is_a_value", "arguments_of_links_are_checked_first")
class LastsForEver(S3Storage):
    """Links last for a week, whatever is asked for."""

    def upload_link(self, *args: Any, **options: Any) -> PresignedLink:  # type: ignore[misc]  # broken
        """Ask for a week."""
        return S3Storage.upload_link(self, *args, **options | {"expires": 7 * 24 * 3600})

    def download_link(self, *args: Any, **options: Any) -> PresignedLink:  # type: ignore[misc]  # broken
        """Ask for a week."""
        return S3Storage.download_link(self, *args, **options | {"expires": 7 * 24 * 3600})


@caught_by("removing_leaves_no_traces", "content_that_fails_late_leaves_nothing")
class LeavesUploadsUnfinished(S3Storage):
    """An upload in parts is begun, and neither finished nor aborted."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        keys = self._bucket.credentials()
        client = s3_client(self.endpoint, keys.access_key, keys.secret_key)
        client.create_multipart_upload(Bucket=self.bucket, Key=self._bucket.path(key))
        super()._put(key, content, content_type)

    _put_new = _put


@caught_by("removing_leaves_no_traces")
class LeavesRecordsBeside(S3Storage):
    """An object of its own records the content type, and stays when the attachment goes."""

    def _put(self, key: str, content: Content, content_type: str) -> None:
        super()._put(key, content, content_type)
        keys = self._bucket.credentials()
        client = s3_client(self.endpoint, keys.access_key, keys.secret_key)
        client.put_object(
            Bucket=self.bucket, Key=f"{self._bucket.path(key)}.type", Body=b"text/plain"
        )

    _put_new = _put
