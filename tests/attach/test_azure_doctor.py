"""Containers that are set up wrongly, each in one way, and what the doctor says of them."""

from __future__ import annotations

import base64
import contextlib
import datetime
import itertools
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from attach.azure_storage import azure_storage
from attach.fake_server import Answer, Request, fake_server, refused_address
from attach.service import Service
from programs import PATIENCE
from rex.attach.backends.azure import container as azure_container
from rex.attach.backends.azure import control as azure_control
from rex.attach.links.sas import sign
from rex.attach.maintenance import Check, Verdict, diagnose
from rex.attach_demo.azurite import Azurite

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from rex.attach.backends.azure.storage import AzureStorage

    Staged = AbstractContextManager[AzureStorage]

OK, WARN, FAIL, SKIP = Verdict
SITE = "https://pages.example.org"
OTHER_KEY = base64.b64encode(b"another key of the account").decode()
CONTAINERS = itertools.count()
NOW = datetime.datetime.now(datetime.UTC)
VERSION = "2023-11-03"


@pytest.fixture(scope="module")
def server() -> Iterator[Azurite]:
    """Run an Azurite whose rules the tests may change."""
    with Azurite() as server:
        yield server


class Ward:
    """A container of its own, and how to open a storage in it."""

    def __init__(self, server: Azurite) -> None:
        self.server = server
        self.container = f"ward-{next(CONTAINERS)}"
        server.create_container(self.container)

    def storage_of(self, **options: Any) -> AzureStorage:
        """Open the container."""
        given: dict[str, Any] = {
            "container": self.container,
            "account": self.server.account,
            "endpoint": self.server.endpoint,
            "key": self.server.key,
            "timeout": PATIENCE,
        }
        return azure_storage(**{**given, **options})

    def sas_token(self, permissions: str, hours: float = 1, key: str | None = None) -> str:
        """Make a SAS token for the container, as the portal does."""
        ends = f"{NOW + datetime.timedelta(hours=hours):%Y-%m-%dT%H:%M:%SZ}"
        place = f"/blob/{self.server.account}/{self.container}"
        lines = [permissions, "", ends, place, "", "", "", VERSION, "c", *[""] * 7]
        signature = sign(key or self.server.key, "\n".join(lines))
        quoted = signature.replace("+", "%2B").replace("=", "%3D")
        return f"sv={VERSION}&sr=c&se={ends}&sp={permissions}&sig={quoted}"


@pytest.fixture
def ward(server: Azurite) -> Iterator[Ward]:
    """Give a container; the account has no CORS rules afterwards."""
    ward = Ward(server)
    yield ward
    rules = ward.storage_of().abilities.bucket
    assert rules is not None
    rules.set_cors([])


class Case(NamedTuple):
    """A container that is set up wrongly."""

    stage: Callable[[Ward], Staged]
    step: str
    verdict: Verdict
    code: str
    words: tuple[str, ...]
    """What the finding says."""


def with_options(**options: Any) -> Callable[[Ward], Staged]:
    """Give another value to an option."""
    return lambda ward: nullcontext(ward.storage_of(**options))


def with_sas(*given: Any, **more: Any) -> Callable[[Ward], Staged]:
    """Use a SAS token in place of the key."""

    def stage(ward: Ward) -> Staged:
        return nullcontext(ward.storage_of(key=None, sas_token=ward.sas_token(*given, **more)))

    return stage


def with_rules(**parts: Any) -> Callable[[Ward], Staged]:
    """Set a CORS rule."""

    def stage(ward: Ward) -> Staged:
        storage = ward.storage_of()
        rules = storage.abilities.bucket
        assert rules is not None
        rules.set_cors([{**storage.cors.make_rule([SITE]), **parts}])
        return nullcontext(storage)

    return stage


@contextlib.contextmanager
def web_server(ward: Ward) -> Iterator[AzureStorage]:
    """Answer everything with a page."""
    with fake_server(lambda _: Answer(200, "<html>Welcome</html>")) as address:
        yield ward.storage_of(endpoint=address)


@contextlib.contextmanager
def failing_server(ward: Ward) -> Iterator[AzureStorage]:
    """Answer as a blob service that has an error."""

    def answer(_: Request) -> Answer:
        return Answer(
            503, "<Error><Code>ServerBusy</Code></Error>", {"x-ms-error-code": "ServerBusy"}
        )

    with fake_server(answer) as address:
        yield ward.storage_of(endpoint=address)


@contextlib.contextmanager
def refusing(ward: Ward, code: str, message: str, status: int = 403) -> Iterator[AzureStorage]:
    """Answer as Azure does where Azurite does not."""
    body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
    with fake_server(lambda _: Answer(status, body, {"x-ms-error-code": code})) as address:
        yield ward.storage_of(endpoint=address)


@contextlib.contextmanager
def clock_off(ward: Ward, minutes: float) -> Iterator[AzureStorage]:
    """Set the clock of this machine wrong."""
    with pytest.MonkeyPatch.context() as patched:
        for module, name in ((azure_control, "_utc"), (azure_container, "_now")):
            patched.setattr(
                module,
                name,
                lambda: datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes),
            )
        yield ward.storage_of()


@contextlib.contextmanager
def soft_delete(ward: Ward) -> Iterator[AzureStorage]:
    """Let the account keep deleted blobs."""
    storage = ward.storage_of()
    control = storage._container.control
    form = "<StorageServiceProperties><DeleteRetentionPolicy>{}</DeleteRetentionPolicy>"
    end = "</StorageServiceProperties>"
    control.set_properties(form.format("<Enabled>true</Enabled><Days>7</Days>") + end)
    yield storage
    control.set_properties(form.format("<Enabled>false</Enabled>") + end)


CASES = {
    "a wrong key": Case(
        with_options(key=OTHER_KEY),
        *("keys", FAIL, "wrong-account-key"),
        ("attach_azure_key", "az storage account keys list"),
    ),
    "a wrong account": Case(
        with_options(account="another"),
        *("keys", FAIL, "wrong-account-key"),
        ("attach_azure_account", "does not name another"),
    ),
    "a missing container": Case(
        with_options(container="missing"),
        *("container", FAIL, "no-container"),
        ("attach_azure_container", "az storage container create --name missing"),
    ),
    "an expired SAS token": Case(
        with_sas("rcwdl", hours=-1), "credentials", FAIL, "credentials-expired", ("expired at",)
    ),
    "a SAS token with a wrong signature": Case(
        with_sas("rcwdl", key=OTHER_KEY), "keys", FAIL, "wrong-sas-token", ("SAS token is wrong",)
    ),
    "a SAS token without write": Case(
        with_sas("rl"), "write", FAIL, "no-permission", ("lacks the permission c", "rcwdl")
    ),
    "a SAS token without list": Case(
        with_sas("rcwd"), "container", FAIL, "no-permission", ("lacks the permission l",)
    ),
    "a SAS token without delete": Case(
        with_sas("rcwl"), "credentials", WARN, "no-permission", ("without d",)
    ),
    "half a SAS token": Case(
        lambda ward: nullcontext(ward.storage_of(key=None, sas_token="sv=2023-11-03&sp=rl")),
        *("credentials", FAIL, "wrong-sas-token"),
        ("no signature",),
    ),
    "a SAS token, which signs no links": Case(
        with_sas("rcwdl"), "credentials", WARN, "no-links", ("cannot sign links",)
    ),
    "nobody listens": Case(
        with_options(endpoint=refused_address()),
        *("endpoint", FAIL, "unreachable"),
        ("attach_azure_endpoint", "cannot be reached"),
    ),
    "an account that does not exist": Case(
        with_options(endpoint=None, account="rexattachdoesnotexist"),
        *("endpoint", FAIL, "unreachable"),
        ("attach_azure_account",),
    ),
    "a web server": Case(
        web_server, "endpoint", FAIL, "not-azure", ("attach_azure_endpoint", "not an Azure")
    ),
    "the account is missing in the endpoint": Case(
        lambda ward: nullcontext(
            ward.storage_of(endpoint=ward.server.endpoint.rpartition("/")[0] + "/other")
        ),
        *("endpoint", FAIL, "not-azure"),
        ("attach_azure_endpoint",),
    ),
    "a server with an error": Case(
        failing_server, "endpoint", FAIL, "unavailable", ("has an error", "ServerBusy")
    ),
    "a clock that is an hour ahead": Case(
        lambda ward: clock_off(ward, 60), "clock", FAIL, "clock-skew", ("timedatectl",)
    ),
    "a clock that is a minute behind": Case(
        lambda ward: clock_off(ward, -1), "clock", WARN, "clock-skew", ("behind",)
    ),
    "an account without keys": Case(
        lambda ward: refusing(ward, "KeyBasedAuthenticationNotPermitted", "Not permitted."),
        *("keys", FAIL, "keys-disabled"),
        ("remove attach_azure_key",),
    ),
    "a firewall": Case(
        lambda ward: refusing(ward, "AuthorizationFailure", "This request is not authorized."),
        *("container", FAIL, "no-permission"),
        ("Storage Blob Data Contributor",),
    ),
    "no CORS rule": Case(
        with_options(), "cors", FAIL, "origin-refused", ("all containers of the account",)
    ),
    "a CORS rule without PUT": Case(
        with_rules(AllowedMethods=["GET"]), "cors", FAIL, "origin-refused", ("may not send PUT",)
    ),
    "a CORS rule that hides the ETag": Case(
        with_rules(ExposeHeaders=[]), "cors", FAIL, "etag-hidden", ("ETag",)
    ),
    "uploads that outlast their blocks": Case(
        with_options(upload_expires=30 * 24 * 3600),
        *("lifetime", WARN, "uploads-outlast-blocks"),
        ("attach_upload_expires",),
    ),
    "soft delete": Case(
        soft_delete, "soft delete", WARN, "versions-kept", ("for 7 days", "retention")
    ),
}


def told(found: Check) -> str:
    """Give all that a finding says."""
    return "\n".join((found.step, found.code, found.text, *found.advice, found.storage))


def examined(ward: Ward, storage: AzureStorage, *origins: str) -> list[Check]:
    """Examine; see that nothing secret is told."""
    with storage:
        findings = [*diagnose(storage, origins)]
    text = "\n".join(map(told, findings))
    assert ward.server.key not in text
    assert OTHER_KEY not in text
    assert "sig=" not in text.replace("sig=…", "").replace("(parameter sig)", "")
    return findings


@pytest.mark.parametrize("name", CASES)
def test_what_is_wrong_is_named(name: str, ward: Ward) -> None:
    """In the step where it belongs, with what to change; later steps are skipped."""
    case = CASES[name]
    with case.stage(ward) as storage:
        findings = examined(ward, storage, SITE)
    (found,) = (each for each in findings if each.step == case.step)
    shown = "\n".join(map(told, findings))
    assert (case.verdict, case.code) == (found.verdict, found.code), shown
    assert [] == [word for word in case.words if word not in told(found)], told(found)
    if case.verdict is FAIL and case.step != "cors":
        assert {case.step} == {each.step for each in findings if each.verdict is FAIL} - {
            "cors",
            "clean-up",
        }, shown


def test_a_container_that_is_set_up_rightly_is_fine(ward: Ward) -> None:
    """Every step is taken, and there is nothing to say; nothing is left."""
    ward.storage_of().cors.allow([SITE])
    with Service() as service:
        place = service.reserve()
        storage = ward.storage_of(prefix="some/folder", url=service.address(place))
        service.serve(storage, place=place)
        findings = examined(ward, storage, SITE)
    assert {OK} == {found.verdict for found in findings}, "\n".join(map(told, findings))
    assert [] == [*ward.storage_of()._container.control.objects("", uncommitted=True)]


def test_without_the_service_forms_are_skipped(ward: Ward) -> None:
    """Since Azure has none."""
    findings = {found.step: found for found in examined(ward, ward.storage_of())}
    assert (SKIP, "no-form-links") == (findings["post link"].verdict, findings["post link"].code)
    assert OK is findings["put link"].verdict


def test_the_start_up_check_names_the_setting(ward: Ward) -> None:
    """As the doctor does."""
    from rex.core import Error

    for options, setting in (
        ({"key": OTHER_KEY}, "attach_azure_key"),
        ({"container": "missing"}, "attach_azure_container"),
        ({"endpoint": refused_address()}, "attach_azure_endpoint"),
    ):
        with pytest.raises(Error) as caught:
            ward.storage_of(**options).check()
        assert setting == caught.value.setting
