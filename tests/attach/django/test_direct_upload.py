"""Direct uploads: offers, links, tokens, and the forms that take them."""

from __future__ import annotations

import html
import io
import os
import random
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from asgiref.sync import async_to_sync
from django import forms
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.checks import run_checks
from django.core.exceptions import ValidationError
from django.core.files.storage import default_storage, storages
from django.core.files.uploadedfile import SimpleUploadedFile, UploadedFile
from django.core.management import call_command
from django.core.validators import FileExtensionValidator
from django.forms import formset_factory, modelform_factory
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils.datastructures import MultiValueDict
from PIL import Image

from attach.counting import CountingRelay
from attach.django import project
from attach.django.app.models import Document
from attach.django.archive.models import Photo, Report
from attach.django.conftest import s3_place
from programs import PATIENCE
from rex.attach.django import AttachmentFormField, MultipleAttachmentFormField, widgets
from rex.attach.django.requests import serving
from rex.attach.django.tokens import UPLOAD_SECONDS, Upload
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.http import HttpRequest

    from rex.attach import Storage
    from rex.attach_demo.seaweedfs import SeaweedFS

pytestmark = pytest.mark.usefixtures("database")

MIDDLEWARE = [*settings.MIDDLEWARE, "rex.attach.django.direct_upload"]
FIELD = "archive.Report.file"
ReportForm = modelform_factory(Report, fields=["title", "file"])
PhotoForm = modelform_factory(Photo, fields=["image"])


@pytest.fixture
def ann() -> User:
    """Make a user."""
    return User.objects.create_user("ann")


@pytest.fixture
def bob() -> User:
    """Make another user."""
    return User.objects.create_user("bob")


@pytest.fixture
def client(ann: User) -> Client:
    """Log a user in."""
    client = Client()
    client.force_login(ann)
    return client


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    """Remove what a test has left in the default storage."""
    yield
    for name in stored():
        default_storage.delete(name)


def request_of(user: User | None, session: SessionStore | None = None) -> HttpRequest:
    """Return a request of a user, or of a visitor."""
    request = RequestFactory().get("/")
    request.user = user or AnonymousUser()
    request.session = session or SessionStore()
    return request


def offer_in(form: forms.BaseForm, user: User | None) -> str:
    """Return the offer of the only file field of a form, as a page for the user has it."""
    with serving(request_of(user)):
        found = re.search(r'data-offer="([^"]*)"', str(form))
    assert found is not None
    return html.unescape(found[1])


def ask(client: Client, form: forms.BaseForm, name: str, size: object, user: User | None) -> Any:
    """Ask for a link as the element does; return the response."""
    fields = {"offer": offer_in(form, user), "name": name, "size": size}
    return client.post("/attachments/upload-link/", fields)


def send(client: Client, link: dict[str, Any], content: bytes) -> None:
    """Upload with a link."""
    if link["method"] == "POST":
        files = {"file": ("ignored", content)}
        response = requests.post(link["url"], data=link["fields"], files=files, timeout=PATIENCE)
        assert 204 == response.status_code
    else:
        media_type = link["headers"]["Content-Type"]
        assert 201 == client.put(link["url"], content, content_type=media_type).status_code


def upload(
    client: Client,
    user: User | None,
    content: bytes = b"content",
    *,
    form: forms.BaseForm | None = None,
    name: str = "report.txt",
) -> str:
    """Upload for a form; return the token."""
    response = ask(client, form or ReportForm(), name, len(content), user)
    assert 200 == response.status_code, response.content
    send(client, response.json()["link"], content)
    token: str = response.json()["token"]
    return token


def bound(user: User | None, token: str, title: str = "title", **more: Any) -> forms.ModelForm[Any]:
    """Return the form with a token in it, validated for a user."""
    form = ReportForm({"title": title, "file-upload": token, **more.pop("data", {})}, **more)
    with serving(request_of(user)):
        form.is_valid()
    return form


def codes(form: forms.BaseForm, field: str = "file") -> list[str | None]:
    """Return the codes of a field's errors."""
    return [error.code for error in form.errors.as_data().get(field, [])]


def rex() -> Storage:
    """Return the storage below Django's."""
    storage: Any = default_storage
    below: Storage = storage.rex
    return below


def stored() -> list[str]:
    """Return the names in the storage."""
    return [handle[1:] for handle in rex()]


@pytest.mark.usefixtures("everywhere")
def test_a_form_saves_the_handle_of_the_upload_and_no_other(client: Client, ann: User) -> None:
    """The bytes are not copied."""
    saved = bound(ann, upload(client, ann)).save()
    assert [saved.file.name] == stored()
    assert b"content" == Report.objects.get().file.read()
    assert "report.txt" == saved.file.filename


def test_the_cleaned_file_has_the_servers_metadata_and_opens_lazily(
    client: Client, ann: User
) -> None:
    """It opens again after it was closed."""
    file = bound(ann, upload(client, ann, name="a b.txt")).cleaned_data["file"]
    assert ("a b.txt", 7, "text/plain", True) == (
        file.name,
        file.size,
        file.content_type,
        file.closed,
    )
    assert b"con" == file.read(3)
    assert b"content" == file.open().read()
    file.close()
    assert [b"content"] == list(file.chunks())
    with pytest.raises(ValueError, match="only be read"):
        file.open("wb")


def test_a_token_is_of_one_user_one_field_and_one_row(client: Client, ann: User, bob: User) -> None:
    """A handle is not a token, and nothing in a token can be changed."""
    token, used = upload(client, ann), upload(client, ann)
    saved = bound(ann, used).save()
    other_field = Upload(handle=f"/{saved.file.name}", field="archive.Report.annex", user="user:1")
    for user, given, code in (
        (bob, token, "not-owner"),
        (None, token, "not-owner"),
        (ann, used, "already-attached"),
        (ann, f"/{saved.file.name}", "bad-signature"),
        (ann, saved.file.name, "bad-signature"),
        (ann, f"{token}a", "bad-signature"),
        (ann, f"a{token}", "bad-signature"),
        (ann, offer_in(ReportForm(), ann), "bad-signature"),
        (ann, _of(other_field, ann), "other-field"),
    ):
        assert [code] == codes(bound(user, given)), code
    assert 1 == Report.objects.count()
    assert [] == codes(bound(ann, token))


def _of(upload: Upload, user: User) -> str:
    return Upload(handle=upload.handle, field=upload.field, user=f"user:{user.pk}").sign()


def test_a_token_expires(client: Client, ann: User, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the sweep may remove the upload."""
    token = upload(client, ann)
    monkeypatch.setattr("rex.attach.django.tokens.UPLOAD_SECONDS", -1)
    assert ["receipt-expired"] == codes(bound(ann, token))
    assert UPLOAD_SECONDS < 24 * 3600  # the grace of attach_sweep


def test_a_token_outlasts_a_change_of_the_secret_key(client: Client, ann: User) -> None:
    """As long as the old key is a fallback."""
    token = upload(client, ann)
    with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        assert [] == codes(bound(ann, token))
    with override_settings(SECRET_KEY="new"):
        assert ["bad-signature"] == codes(bound(ann, token))


def test_an_upload_whose_bytes_never_came_is_refused(client: Client, ann: User) -> None:
    """The client is not believed."""
    token = ask(client, ReportForm(), "a.txt", 7, ann).json()["token"]
    assert ["not-found"] == codes(bound(ann, token))


def test_the_size_is_the_servers(ann: User) -> None:
    """A link without a limit, by PUT, may have brought more."""
    handle = rex().add("a.txt", b"four", notify=False)
    for limit, expected in ((4, []), (3, ["too-large"])):
        token = Upload(handle=handle, field=FIELD, user=f"user:{ann.pk}", max_size=limit).sign()
        assert expected == codes(bound(ann, token))


def test_a_form_that_was_sent_twice_changes_nothing(client: Client, ann: User) -> None:
    """The row has the upload already."""
    token = upload(client, ann)
    saved = bound(ann, token).save()
    again = bound(ann, token, instance=Report.objects.get())
    assert saved.file.name == again.save().file.name
    assert 1 == Report.objects.count()


def test_a_form_that_is_shown_again_keeps_the_upload(client: Client, ann: User) -> None:
    """Not one that is refused."""
    token = upload(client, ann)
    with serving(request_of(ann)):
        form = bound(ann, token, title="x" * 200)
        page = str(form)
    assert ["max_length"] == codes(form, "title")
    assert f'name="file-upload" value="{token}" data-name="report.txt"' in page
    for refused in (
        bound(ann, f"{token}a"),
        bound(ann, upload(client, ann, b"x"), data={"file-clear": "on"}),
    ):
        with serving(request_of(ann)):
            assert "data-name" not in str(refused)


def test_an_upload_that_a_validator_refuses_is_not_kept(client: Client, ann: User) -> None:
    """Be it a validator of the form field, of the model, or of the view."""
    form = bound(ann, upload(client, ann))
    with serving(request_of(ann)):
        assert "data-name" in str(form)
        form.add_error("file", "refused")
        assert "data-name" not in str(form)


def test_an_upload_and_the_clear_checkbox_contradict(client: Client, ann: User) -> None:
    """The checkbox alone clears the field."""
    saved = bound(ann, upload(client, ann)).save()
    cleared = bound(ann, "", instance=saved, data={"file-clear": "on"})
    assert not cleared.save().file
    form = bound(ann, upload(client, ann), instance=saved, data={"file-clear": "on"})
    assert ["contradiction"] == codes(form)


def test_a_file_in_the_form_is_stored_by_django(ann: User) -> None:
    """As without JavaScript."""
    files = _files("file", "plain.txt", b"plain")
    with serving(request_of(ann)):
        saved = ReportForm({"title": ""}, files).save()
    assert b"plain" == Report.objects.get(pk=saved.pk).file.read()


def test_validators_see_the_upload(client: Client, ann: User) -> None:
    """Those of the name, and those that read."""

    def check(file: Any) -> None:
        if file.open().read() == b"virus":
            raise ValidationError("A virus", code="virus")

    class CheckedForm(forms.Form):
        file = AttachmentFormField(field=FIELD, validators=[FileExtensionValidator(["txt"]), check])

    for name, content, expected in (
        ("a.txt", b"fine", []),
        ("a.exe", b"fine", ["invalid_extension"]),
        ("b.txt", b"virus", ["virus"]),
    ):
        token = upload(client, ann, content, name=name)
        with serving(request_of(ann)):
            assert expected == codes(CheckedForm({"file-upload": token}))


def test_several_uploads_are_a_list(client: Client, ann: User) -> None:
    """Files of the form too; nothing chosen is no change."""

    class SeveralForm(forms.Form):
        several = MultipleAttachmentFormField(field="several", required=False)

    tokens = [upload(client, ann, form=SeveralForm(), name=name) for name in ("a.txt", "b.txt")]
    data = {"several-upload": tokens[0]}
    with serving(request_of(ann)):
        form = SeveralForm(data, _files("several", "c.txt", b"c"))
        assert form.is_valid(), form.errors
        assert ["c.txt", "a.txt"] == [file.name for file in form.cleaned_data["several"]]
        empty = SeveralForm({}, MultiValueDict())
        assert empty.is_valid()
        assert not empty.has_changed()


def test_a_formset_takes_tokens_by_the_names_of_its_rows(client: Client, ann: User) -> None:
    """A row without a token has not changed."""
    token = upload(client, ann)
    management = {"form-TOTAL_FORMS": "2", "form-INITIAL_FORMS": "0"}
    with serving(request_of(ann)):
        formset = formset_factory(ReportForm)({**management, "form-1-file-upload": token})
        assert formset.is_valid(), formset.errors
        assert [False, True] == [form.has_changed() for form in formset]


@pytest.fixture
def relay(seaweedfs: SeaweedFS) -> Iterator[CountingRelay]:
    """Use a default storage on S3, through a relay that counts the requests."""
    with CountingRelay(seaweedfs.endpoint) as counting:
        url, options = s3_place(seaweedfs, counting.endpoint)
        with override_settings(STORAGES=project.storages_at(url, **options)):
            yield counting


def test_a_link_costs_no_request_and_a_form_one(
    relay: CountingRelay, client: Client, ann: User
) -> None:
    """The request is for the metadata."""
    response = ask(client, ReportForm(), "report.txt", 7, ann)
    assert [] == relay.taken()
    send(client, response.json()["link"], b"content")
    assert ["POST"] == relay.taken()
    bound(ann, response.json()["token"]).save()
    assert ["HEAD"] == relay.taken()


def test_an_image_is_checked_by_its_first_80_kilobytes(
    relay: CountingRelay, client: Client, ann: User
) -> None:
    """Together with its dimensions."""
    noise = random.Random(7).randbytes(800 * 600 * 3)  # noqa: S311 - noise
    image = io.BytesIO()
    Image.frombytes("RGB", (800, 600), noise).save(image, "JPEG", quality=95)
    token = upload(client, ann, image.getvalue(), form=PhotoForm(), name="photo.jpg")
    no_image = upload(client, ann, b"no image", form=PhotoForm(), name="photo.jpg")
    relay.received()
    with serving(request_of(ann)):
        photo = PhotoForm({"image-upload": token}).save()
        assert (800, 600) == (photo.width, photo.height)
        assert relay.received() <= 80_000
        assert ["invalid_image"] == codes(PhotoForm({"image-upload": no_image}), "image")


def test_a_storage_that_keeps_names_records_the_name_of_an_upload(
    client: Client, ann: User
) -> None:
    """The attachment is the one that was uploaded."""
    named: Any = storages["named"]

    class NamedForm(forms.Form):
        file = AttachmentFormField(field="named", storage="named")

    token = upload(client, ann, form=NamedForm())
    with serving(request_of(ann)):
        form = NamedForm({"file-upload": token})
        assert form.is_valid(), form.errors
        name = named.save("folder/report.txt", form.cleaned_data["file"])
    assert ("folder/report.txt", b"content") == (name, named.open(name).read())
    assert 1 == len(list(named.rex))


def test_a_plain_file_field_takes_uploads_by_our_form_field(client: Client, ann: User) -> None:
    """The name is cut to the column before the upload."""

    class DocumentForm(forms.ModelForm):  # type: ignore[type-arg]  # at run time it takes none
        file = AttachmentFormField(field="app.Document.file", max_length=100)

        class Meta:
            model = Document
            fields = ("file",)

    token = upload(client, ann, form=DocumentForm(), name=f"{'n' * 200}.txt")
    with serving(request_of(ann)):
        saved = DocumentForm({"file-upload": token}).save()
    assert [saved.file.name] == stored()
    assert 100 == len(saved.file.name)
    assert saved.file.name.endswith("n.txt")


def _files(field: str, name: str, content: bytes) -> MultiValueDict[str, UploadedFile[Any]]:
    return MultiValueDict({field: [SimpleUploadedFile(name, content)]})


# Links.


def test_only_whom_the_form_was_shown_can_make_links(
    client: Client, ann: User, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others have no offer, or not their own."""
    form, stranger, other = ReportForm(), Client(), Client()
    other.force_login(bob)
    for given, status in ((client, 200), (other, 403), (stranger, 403)):
        assert status == ask(given, form, "a.txt", 1, ann).status_code
    for offer in ("", "offer", upload(client, ann)):
        fields = {"offer": offer, "name": "a.txt", "size": 1}
        response = client.post("/attachments/upload-link/", fields)
        assert (403, "bad-signature") == (response.status_code, response.json()["code"])
    assert 405 == client.get("/attachments/upload-link/").status_code
    monkeypatch.setattr("rex.attach.django.tokens.OFFER_SECONDS", -1)
    assert 403 == ask(client, form, "a.txt", 1, ann).status_code


def test_a_page_of_another_site_cannot_make_links(ann: User) -> None:
    """It does not have the CSRF token."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    assert 403 == ask(client, ReportForm(), "a.txt", 1, ann).status_code
    unprotected = [path for path in settings.MIDDLEWARE if "Csrf" not in path]
    with override_settings(MIDDLEWARE=unprotected):
        assert 403 == ask(client, ReportForm(), "a.txt", 1, ann).status_code


def test_sizes_are_checked_before_a_link_is_made(client: Client, ann: User) -> None:
    """What is not a size is refused too."""

    class SmallForm(forms.Form):
        file = AttachmentFormField(field="small", max_size=10)

    for size, status in (
        ("10", 200),
        ("11", 413),
        ("0", 400),
        ("", 400),
        ("-1", 400),
        ("1" * 99, 400),
    ):
        response = ask(client, SmallForm(), "a.txt", size, ann)
        assert status == response.status_code, size


def test_the_hooks_know_the_user_and_may_refuse(tmp_path: Path, client: Client, ann: User) -> None:
    """The user reads their words."""
    begun: list[Any] = []
    recorded: list[Any] = []

    def begin(request: Any) -> None:
        begun.append(request.owner)
        if request.name == "refused.txt":
            raise Error("Not that name", kind=Kind.REFUSED)

    def check(upload: Any) -> None:
        if upload.info.name == "late.txt":
            raise Error("Not that content", kind=Kind.REFUSED)

    hooks = {"on_begin": begin, "on_complete": check, "on_stored": recorded.append}
    with override_settings(STORAGES=project.storages_at(str(tmp_path / "files"), **hooks)):
        response = ask(client, ReportForm(), "refused.txt", 1, ann)
        assert (422, "Not that name") == (response.status_code, response.json()["error"])
        assert [] == codes(bound(ann, upload(client, ann, name="fine.txt")))
        late = rex().add("late.txt", b"content", notify=False)
        form = bound(ann, Upload(handle=late, field=FIELD, user=f"user:{ann.pk}").sign())
        assert {"file": ["Not that content"]} == form.errors
    assert [ann.pk, ann.pk] == [owner.pk for owner in begun[:2]]
    assert [ann.pk] == [upload.owner.pk for upload in recorded[-1:]]


def test_a_failing_hook_reveals_nothing(tmp_path: Path, client: Client, ann: User) -> None:
    """The log has the exception."""

    def begin(_: Any) -> None:
        raise RuntimeError("a secret")

    with override_settings(STORAGES=project.storages_at(str(tmp_path / "files"), on_begin=begin)):
        response = ask(client, ReportForm(), "a.txt", 1, ann)
        assert 503 == response.status_code
        assert b"secret" not in response.content


# Visitors.


def test_a_visitor_is_recognised_by_the_session_also_after_a_login(ann: User) -> None:
    """Another visitor is refused."""
    client = Client()
    token = upload(client, None)
    session = SessionStore(client.session.session_key)
    assert [] == codes(_by_visitor(token, session))
    assert ["not-owner"] == codes(_by_visitor(token, SessionStore()))
    assert ["not-owner"] == codes(bound(ann, token))
    client.force_login(ann)
    session = SessionStore(client.session.session_key)
    with serving(request_of(ann, session)):
        assert ReportForm({"title": "", "file-upload": token}).is_valid()


def _by_visitor(token: str, session: SessionStore) -> forms.ModelForm[Any]:
    form = ReportForm({"title": "", "file-upload": token})
    with serving(request_of(None, session)):
        form.is_valid()
    return form


def test_without_the_middleware_the_field_is_a_plain_file_input(client: Client, ann: User) -> None:
    """A token is refused, since it has no user."""
    assert "rex-upload" not in str(ReportForm())
    assert 'type="file"' in str(ReportForm())
    form = ReportForm({"title": "", "file-upload": upload(client, ann)})
    assert ["not-owner"] == codes(form)


def test_the_script_has_the_texts_that_it_shows() -> None:
    """In the language of the page, and no others."""
    script = (Path(widgets.__file__).parent / "static/rex_attach/upload.js").read_text("utf-8")
    shown = set(re.findall(r"(?:text|Failure|#button)\('(\w+)'", script))
    chosen = set(re.findall(r"[?:] '(\w+)'", script)) & set(widgets.TEXTS)
    assert set(widgets.TEXTS) == shown | chosen


@pytest.mark.parametrize("is_async", [False, True])
def test_the_middleware_offers_uploads_in_the_admin(ann: User, *, is_async: bool) -> None:
    """There is no inline script or style in the page."""
    ann.is_staff = ann.is_superuser = True
    ann.save()
    with override_settings(MIDDLEWARE=MIDDLEWARE):
        client: Any = AsyncClient() if is_async else Client()
        client.force_login(ann)
        get = async_to_sync(client.get) if is_async else client.get
        response = get("/admin/archive/report/add/")
    page = response.content.decode()
    assert 'data-offer="' in page
    assert 'type="module"' in page
    assert "<script>" not in page
    assert "style=" not in page


def test_the_check_finds_a_missing_view() -> None:
    """Only with the middleware."""
    with override_settings(MIDDLEWARE=MIDDLEWARE):
        assert [] == _found()
        with override_settings(ROOT_URLCONF="attach.django.no_urls"):
            assert ["rex_attach.E005"] == _found()
    with override_settings(ROOT_URLCONF="attach.django.no_urls"):
        assert [] == _found()


def _found() -> list[str]:
    return [
        message.id for message in run_checks(tags=["rex_attach"]) if message.id == "rex_attach.E005"
    ]


def test_an_upload_that_no_form_sent_is_found_by_the_sweep(
    tmp_path: Path, client: Client, ann: User
) -> None:
    """The upload that a form sent stays."""
    with override_settings(STORAGES=project.storages_at(str(tmp_path / "files"))):
        saved = bound(ann, upload(client, ann)).save()
        upload(client, ann, name="abandoned.txt")
        yesterday = time.time() - 25 * 3600
        for name in stored():
            os.utime(tmp_path / "files" / name, (yesterday, yesterday))
        call_command("attach_sweep", "--delete", stdout=io.StringIO())
        assert [saved.file.name] == stored()
