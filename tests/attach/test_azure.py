"""Azure itself: what its storage promises beyond the suite, on Azurite."""

from __future__ import annotations

import datetime
import hashlib
import itertools
import pickle
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from attach.azure_storage import azure_storage
from rex.attach import open_storage
from rex.attach.backends.azure.blocks import Chained, block_id, chain, new_tag, read_id
from rex.attach.backends.azure.control import AzureFailure, Block
from rex.attach.conformance.samples import at_once
from rex.attach.links.client import Client
from rex.attach.maintenance import sweep
from rex.core import Error, Kind, Rex

if TYPE_CHECKING:
    from rex.attach.backends.azure.storage import AzureStorage
    from rex.attach.links.link import PresignedLink
    from rex.attach_demo.azurite import Azurite

MIB = 1024 * 1024
LARGE = 9 * MIB
TIMES = 10
WEEK = 7 * 24 * 3600


def outcomes_of(calls: list[Any]) -> list[Any]:
    """Give the kind of error of each call, None for success."""
    return [getattr(outcome, "kind", outcome) for outcome in at_once(calls)]


@pytest.mark.long
@pytest.mark.parametrize("size", [1000, LARGE])
def test_of_putters_one_wins(azure: AzureStorage, size: int) -> None:
    """Each time, at any size; the others learn that the attachment exists."""
    for _ in range(TIMES):
        handle = azure.reserve("a.bin")
        contents = [bytes([number]) * size for number in range(4)]
        found = outcomes_of([partial(azure.put, handle, content) for content in contents])
        assert [Kind.EXISTS] * 3 == [kind for kind in found if kind is not None]
        with azure.open(handle) as stream:
            assert contents[found.index(None)] == stream.read()
        azure.remove(handle)


@pytest.mark.long
def test_of_removers_one_wins(azure: AzureStorage) -> None:
    """Each time: the server answers 404 to the others."""
    for _ in range(TIMES):
        handle = azure.add("a.bin", b"data")
        found = outcomes_of([partial(azure.remove, handle)] * 4)
        assert [Kind.NOT_FOUND] * 3 == [kind for kind in found if kind is not None]


@pytest.mark.long
def test_of_uploads_by_one_link_one_wins(azure: AzureStorage) -> None:
    """A link works once, also for clients that use it at the same time."""
    client = Client()
    for number in range(TIMES):
        handle = azure.reserve("a.bin")
        link = azure.upload_link(handle, method="PUT")
        statuses: list[int] = []

        def send(content: bytes, link: PresignedLink = link, to: list[int] = statuses) -> None:
            to.append(client.put(link, content).status)

        contents = [f"{number} {place}".encode() for place in range(4)]
        assert [None] * 4 == at_once([partial(send, content) for content in contents])
        assert 1 == statuses.count(201)
        assert all(status == 201 or 400 <= status < 500 for status in statuses)
        with azure.open(handle) as stream:
            assert stream.read() in contents


def test_the_digest_is_recorded_at_any_size(azure: AzureStorage) -> None:
    """It is known before the blocks become a blob."""
    data = bytes(range(256)) * (LARGE // 256)
    handle = azure.add("a.bin", iter([data]))
    assert hashlib.sha256(data).hexdigest() == azure.info(handle).digest


def test_a_listing_after_a_handle_skips_what_is_before_it(azure: AzureStorage) -> None:
    """By folders, since Azure cannot begin after a name."""
    control, path = azure._container.control, azure._container.path
    uuid = "5f5e1d5e-8c5c-4a26-9d0e-1f7b0a4b6c11"
    days = ["2024/12/31", "2025/01/01", "2025/01/02", "2025/02/01", "2026/01/01"]
    keys = [f"{day}/{uuid}/{name}.txt" for day in days for name in "ab"]
    for key in [*keys, "0-foreign.txt", "2025/zz.txt"]:
        control.ask("PUT", path(key), {}, {"x-ms-blob-type": "BlockBlob"}, b"x")
    handles = [f"/{key}" for key in keys]
    assert handles == list(azure)
    for number, handle in enumerate(handles):
        assert handles[number + 1 :] == list(azure.list(after=handle))
    assert handles[3:4] == list(azure.list(day="2025-01-01", after=handles[2]))
    assert ["0-foreign.txt", "2025/zz.txt"] == list(azure.unknown_keys())
    for key in ("0-foreign.txt", "2025/zz.txt"):
        control.delete(path(key))


def test_a_name_that_only_others_choose_is_unknown(azure: AzureStorage) -> None:
    """It is listed as it is, with its slashes."""
    control, path = azure._container.control, azure._container.path
    names = ["a//b", "a b/%41+&.txt", "ä/<x>"]
    for name in names:
        control.ask("PUT", path(name), {}, {"x-ms-blob-type": "BlockBlob"}, b"x")
    assert sorted(names) == sorted(azure.unknown_keys())
    for name in names:
        control.delete(path(name))


def test_uncommitted_blocks_are_swept(azure: AzureStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of clients that died, once an upload would have expired; not those in use."""
    container = azure._container
    now, tags = time.time(), []
    for age in (azure.upload_expires + WEEK, 0):
        monkeypatch.setattr(
            "rex.attach.backends.azure.blocks.time.time", partial(lambda age: now - age, age)
        )
        tags.append(new_tag())
    monkeypatch.undo()
    old, new = (azure.reserve("a.bin")[1:] for _ in tags)
    for key, tag in zip((old, new), tags, strict=True):
        container.control.put_block(container.path(key), block_id(tag, 0, 3), b"abc")
    found = [*sweep(azure, delete=True)]
    assert [(old, 3)] == [(each.handle, each.size) for each in found]
    assert [] == container.control.blocks(container.path(old))
    assert 1 == len(container.control.blocks(container.path(new)))
    container.discard(container.path(new), tags[1])


def test_an_unfinished_upload_is_no_garbage(azure: AzureStorage) -> None:
    """Its blocks stay as long as its record does; a sweep removes both once it has expired."""
    upload = azure.uploads.create("a.bin", size=10)
    azure.uploads.append(upload.handle, 0, b"abc")
    assert [] == [*sweep(azure, delete=True)]
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)
    assert [upload.handle] == [each.handle for each in sweep(azure, delete=True, now=later)]


def test_an_upload_overtaken_by_another_client_is_swept(azure: AzureStorage) -> None:
    """Its record is of no use: the attachment exists."""
    upload = azure.uploads.create("a.bin", size=10)
    azure.uploads.append(upload.handle, 0, b"abc")
    azure.put(upload.handle, b"other")
    with pytest.raises(Error) as caught:
        azure.uploads.info(upload.handle)
    assert Kind.EXISTS is caught.value.kind
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=30)
    (found,) = sweep(azure, delete=True, now=later)
    assert found.handle.startswith(".drafts/")
    with azure.open(upload.handle) as stream:
        assert b"other" == stream.read()


def test_what_replaces_discarded_blocks_is_no_attachment(azure: AzureStorage) -> None:
    """For the moment between the two requests that discard uncommitted blocks."""
    handle = azure.reserve("a.bin")
    path = azure._container.path(handle[1:])
    azure._container.control._create_of(path, (), {"x-ms-meta-discarded": "1"})
    assert handle not in azure
    with pytest.raises(Error) as caught:
        azure.open(handle)
    assert Kind.NOT_FOUND is caught.value.kind
    azure._container.control.delete(path)


def test_the_longest_chain_of_blocks_counts() -> None:
    """Two servers may have appended at the same time."""
    tag, other = "0" * 16, "1" * 16
    made = [
        Block(block_id(tag, offset, size), size, False)
        for offset, size in ((0, 3), (0, 5), (3, 1), (5, 2), (9, 4))
    ]
    made.append(Block(block_id(other, 7, 9), 9, False))
    made.append(Block("Zm9yZWlnbg==", 7, False))
    assert [(0, 5), (5, 2)] == [read_id(each.id)[1:] for each in chain(made, tag)]
    assert [] == chain(made, "2" * 16)
    assert all(isinstance(each, Chained) for each in chain(made, tag))


def test_a_completion_whose_response_was_lost_succeeds(azure: AzureStorage) -> None:
    """Its blocks are those of the blob."""
    control, path = azure._container.control, azure._container.path
    handle, tag = azure.reserve("a.bin"), new_tag()
    name, place = block_id(tag, 0, 3), path(handle[1:])
    control.put_block(place, name, b"abc")
    assert control.commit(place, [name], {})
    assert not control.commit(place, [name], {})
    other = block_id(new_tag(), 0, 3)
    control.put_block(place, other, b"xyz")
    with pytest.raises(FileExistsError):
        control.commit(place, [other], {})


def test_an_empty_upload_knows_its_own_attachment(azure: AzureStorage) -> None:
    """It has no blocks that would tell; a retry of its end succeeds, and another blob is not it."""
    resumable = azure.abilities.resumable
    assert resumable is not None
    for is_ours in (True, False):
        key = azure.reserve("a.txt")[1:]
        resumable.create(key, b"record", "text/plain", partial=False, upload_metadata="")
        if is_ours:
            assert resumable.publish(key, "text/plain", None, "")
            assert not resumable.publish(key, "text/plain", None, "")
        else:
            azure.put(f"/{key}", b"")
            with pytest.raises(FileExistsError):
                resumable.publish(key, "text/plain", None, "")
        resumable.forget(key)


def test_damage_in_transit_is_noticed(azure: AzureStorage) -> None:
    """The server compares the MD5 of a block."""
    control, path = azure._container.control, azure._container.path(azure.reserve("a")[1:])
    query = {"comp": "block", "blockid": block_id(new_tag(), 0, 3)}
    wrong = {"Content-MD5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    with pytest.raises(AzureFailure) as caught:
        control.ask_once("PUT", path, query, wrong, b"abc")
    assert "Md5Mismatch" == caught.value.code


def test_a_storage_is_opened_by_url_and_by_settings(azurite: Azurite) -> None:
    """With the same names."""
    settings = azurite.settings()
    url = f"azure://{azurite.container}/folder?account={azurite.account}"
    with open_storage(url, endpoint=azurite.endpoint, key=azurite.key) as storage:
        storage.check()
        handle = storage.add("a.txt", b"data")
        assert f"folder{handle}" == storage.key_of_handle(handle)
        assert azurite.key not in repr(storage)
        restored = pickle.loads(pickle.dumps(storage))  # noqa: S301 - our own
        assert handle in restored
    with Rex("rex.attach", attach_azure_prefix="folder", **settings) as rex:
        assert f"azure://{azurite.container}/folder/" in repr(storage)
        del rex
        storage.remove(handle)


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"account": None}, "attach_azure_account"),
        ({"account": "No_Account"}, "attach_azure_account"),
        ({"key": "no Base64"}, "attach_azure_key"),
        ({"sas_token": "sv=1&sig=x"}, "attach_azure_sas_token"),
        ({"prefix": "a/../b"}, "attach_azure_prefix"),
    ],
)
def test_a_wrong_setting_is_named(options: dict[str, Any], setting: str) -> None:
    """Before any request."""
    given: dict[str, Any] = {"account": "acct", "key": "a2V5", **options}
    with pytest.raises(Error) as caught:
        azure_storage("container", **given)
    assert (Kind.CONFIGURATION, setting) == (caught.value.kind, caught.value.setting)


@pytest.mark.parametrize("name", ["A", "a", "a--b", "-ab", "a" * 64, "a.b"])
def test_a_container_needs_a_name_of_azure(name: str) -> None:
    """3 to 63 lower-case letters, digits and single hyphens."""
    with pytest.raises(Error) as caught:
        azure_storage(name, account="acct", key="a2V5")
    assert "attach_azure_container" == caught.value.setting


def test_a_secret_is_not_accepted_in_a_url() -> None:
    """URLs are printed and logged."""
    for option in ("key", "sas_token"):
        with pytest.raises(Error) as caught:
            open_storage(f"azure://container?account=acct&{option}=a2V5")
        assert "secret-in-url" == caught.value.code


def test_forms_need_the_service() -> None:
    """The error says what would make them possible."""
    storage = azure_storage("container", account="acct", key="a2V5")
    with pytest.raises(Error) as caught:
        storage.upload_link(storage.reserve("a.txt"))
    assert (Kind.UNSUPPORTED, "no-form-links") == (caught.value.kind, caught.value.code)
    assert "attach_url" in str(caught.value)


def test_rules_hold_for_the_account(azurite: Azurite) -> None:
    """CORS rules are kept apart by all but their origins, since Azure gives them no ids."""
    storage = azure_storage(
        azurite.container, account=azurite.account, endpoint=azurite.endpoint, key=azurite.key
    )
    before = storage.cors.rules()
    other = {
        "AllowedOrigins": ["https://other.example"],
        "AllowedMethods": ["GET"],
        "AllowedHeaders": [],
        "ExposeHeaders": [],
        "MaxAgeSeconds": 5,
    }
    rules = storage.abilities.bucket
    assert rules is not None
    try:
        rules.set_cors([other])
        storage.cors.allow(["https://a.example"])
        storage.cors.allow(["https://b.example"])
        found = storage.cors.rules()
        assert [["https://b.example"], ["https://other.example"]] == [
            rule["AllowedOrigins"] for rule in found
        ]
        assert other == found[1]
        assert storage.cors.is_account_wide
    finally:
        rules.set_cors(before)


def test_lifecycle_rules_have_the_form_of_azure() -> None:
    """The container is part of their prefix."""
    storage = azure_storage("container", account="acct", key="a2V5", prefix="folder")
    drafts, versions = storage.lifecycle(8, 1)
    assert ["container/folder/.drafts/"] == drafts["definition"]["filters"]["prefixMatch"]
    assert ["container/folder/"] == versions["definition"]["filters"]["prefixMatch"]
    assert {"daysAfterModificationGreaterThan": 8} == drafts["definition"]["actions"]["baseBlob"][
        "delete"
    ]
    assert 1 == len(list(itertools.chain(storage.lifecycle(8))))
