"""The diagnosis of a container: its settings, the features of Azure besides the operations."""

from __future__ import annotations

import functools
import re
import shlex
import time
from typing import TYPE_CHECKING

from rex.attach.backend.diagnostics import (
    CLOCK_ADVICE,
    Doctor,
    Step,
    compare_clocks,
    fail,
    fail_with,
    in_order,
    ok,
    warn,
)
from rex.attach.backends.azure.blocks import block_id, new_tag
from rex.attach.backends.azure.chain import AzureChain
from rex.attach.backends.azure.check import check_container
from rex.attach.backends.azure.container import MAX_SKEW
from rex.attach.backends.azure.control import AzureFailure
from rex.attach.backends.azure.credentials import AccountKey, SasToken
from rex.attach.backends.objects.requests import element
from rex.attach.links.client import Client, Unreachable
from rex.attach.storage import Storage
from rex.core import Error, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rex.attach.backend.diagnostics import Check
    from rex.attach.backends.azure.container import Container
    from rex.attach.links.client import Answer

__all__ = ["AzureDoctor"]

WEEK = 7 * 24 * 3600
MIN_SHOWN = 8
CONTENT = b"one block, the last one"
CONTRIBUTOR = "Storage Blob Data Contributor"
NEEDED = "rcwdl"
"""The permissions that a SAS token needs: read, create, write, delete and list."""

_PERMISSIONS = {
    "list": "l",
    "write": "c",
    "conditional write": "r",  # after a conflict, put reads the existing blob
    "read": "r",
    "range read": "r",
    "info": "r",
    "blocks": "w",
    "remove": "d",
}
"""The permission of a SAS token that a step needs."""

_STEPS = {
    "attach_azure_key": "keys",
    "attach_azure_sas_token": "keys",
    "attach_azure_container": "container",
}
"""The step to blame by the setting that the check of the container names."""


class AzureDoctor(Doctor[Storage]):
    """Diagnoses a container and its configuration."""

    required = ("credentials", "endpoint", "clock", "keys", "container")
    methods = ("GET", "PUT")

    def __init__(self, storage: Storage, container: Container) -> None:
        super().__init__(storage)
        self._azure = storage
        self._container = container

    def first(self) -> list[Step]:
        checks = {
            "credentials": self._credentials,
            "endpoint": self._endpoint,
            "clock": self._clock,
            "keys": self._keys,
            "container": self._find,
        }
        return in_order(checks)

    def more(self, reserve: Callable[[], str]) -> list[Step]:
        return [
            Step("blocks", functools.partial(self._blocks, reserve), ("write",)),
            Step("lifetime", self._lifetime, ("write",)),
            Step("soft delete", self._soft_delete, ("write",)),
        ]

    @functools.cached_property
    def client(self) -> Client:
        return Client(timeout=min(10.0, self._container.config.timeout))

    # The settings.

    def _credentials(self) -> Check:
        credentials = self._container.credentials
        if isinstance(credentials, AccountKey):
            return ok(f"from the settings: a key of the account {credentials.account}")
        if isinstance(credentials, AzureChain):
            return ok(f"from the Azure chain ({credentials.source})")
        assert isinstance(credentials, SasToken)  # noqa: S101 - there is no other kind
        if not credentials.fields.get("sig"):
            return fail(
                "wrong-sas-token",
                "the SAS token has no signature (parameter sig)",
                "attach_azure_sas_token must be the whole query of the SAS URL",
            )
        if credentials.has_expired:
            return fail(
                "credentials-expired",
                f"the SAS token expired at {credentials.fields['se']}",
                "make a new SAS token, or use a key or a managed identity, which do not expire",
            )
        return self._check_permissions(credentials.fields)

    def _check_permissions(self, fields: dict[str, str]) -> Check:
        granted, ends = fields.get("sp", ""), fields.get("se", "an unknown time")
        missing = [letter for letter in NEEDED if granted and letter not in granted]
        known = f"from the settings: a SAS token with {granted or 'a stored policy'}, until {ends}"
        if missing:
            return warn(
                "no-permission",
                f"{known}, without {''.join(missing)}",
                f"make a SAS token for the container with the permissions {NEEDED}",
            )
        return warn(
            "no-links",
            known,
            "a SAS token cannot sign links; an account key or the Azure chain can",
        )

    def _endpoint(self) -> Check:
        container, began = self._container, time.perf_counter()
        try:
            answer = self.client.send("GET", f"{container.endpoint}/?comp=list")
        except Unreachable as failure:
            setting = "attach_azure_account" if container.is_default else "attach_azure_endpoint"
            advice = f"correct {setting}: the address of the blob service follows from the account"
            if not container.is_default:
                advice = "attach_azure_endpoint must be the address on which the server listens"
            return fail("unreachable", f"{container.endpoint} cannot be reached: {failure}", advice)
        taken = (time.perf_counter() - began) * 1000
        server = answer.headers.get("Server", "")
        if self._blamed == "endpoint":
            advice = (
                "attach_azure_endpoint must be the address of the blob service, with the account "
                "in its host, or (as on Azurite) in its path, and without the container"
            )
            return fail_with(self._error, advice)
        return ok(f"{container.endpoint} ({server or 'unnamed'}) responds in {taken:.0f} ms")

    def _clock(self) -> Check:
        if self._blamed == "clock":
            return fail_with(self._error, *CLOCK_ADVICE)
        return compare_clocks(self._container.clock_skew(), MAX_SKEW)

    def _keys(self) -> Check:
        if self._blamed != "keys":
            return ok("the server accepts them")
        advice = "set credentials that the server accepts; rex settings shows where they are set"
        if self._error.code == "wrong-account-key":
            advice = (
                "compare attach_azure_key with the keys of the account, which are replaced from "
                "time to time:"
            )
            account = shlex.quote(self._container.account)
            command = f"$ az storage account keys list --account-name {account}"
            return fail_with(self._error, advice, *self._strange_endpoint(), command)
        if self._error.code == "keys-disabled":
            advice = "remove attach_azure_key, so that the Azure chain provides tokens"
        return fail_with(self._error, advice)

    def _strange_endpoint(self) -> Sequence[str]:
        account, endpoint = self._container.account, self._container.endpoint
        if account in endpoint:
            return ()
        return (f"or correct attach_azure_account: {endpoint} does not name {account}",)

    def _find(self) -> Check:
        if self._blamed == "denied":
            return fail_with(self._error, *self._grant("l"))
        if self._blamed != "container":
            return ok(self._container.name)
        name, account = map(shlex.quote, (self._container.name, self._container.account))
        return fail_with(
            self._error,
            "create the container, or set attach_azure_container to an existing container:",
            f"$ az storage container create --name {name} --account-name {account}",
        )

    @functools.cached_property
    def _failure(self) -> Error | None:
        """The error of the check of the container, or None."""
        try:
            check_container(self._container)
        except Error as error:
            return error
        return None

    @property
    def _error(self) -> Error:
        assert self._failure is not None  # noqa: S101 - there is a step to blame
        return self._failure

    @property
    def _blamed(self) -> str:
        """The step to which the error of the check belongs, or an empty string."""
        error = self._failure
        if error is None:
            return ""
        if error.code in ("clock-skew", "keys-disabled", "wrong-token"):
            return "clock" if error.code == "clock-skew" else "keys"
        if error.kind is Kind.DENIED:
            return "denied"
        return _STEPS.get(error.setting or "", "endpoint")

    # The features.

    def _blocks(self, reserve: Callable[[], str]) -> Check:
        """Complete two uploads of one handle, like two concurrent clients."""
        handle = reserve()
        path, control = self._container.path(handle[1:]), self._container.control
        names = [block_id(new_tag(), 0, len(CONTENT)) for _ in range(2)]
        with self._azure.map_errors(handle):
            for name in names:
                control.put_block(path, name, CONTENT)
            control.commit(path, names[:1], {})
            try:
                control.commit(path, names[1:], {})
            except FileExistsError:
                return ok("completing an upload of blocks does not replace an existing blob")
        return fail(
            "completion-not-conditional",
            "a completed upload replaced an existing blob",
            "a proxy in front of the server must pass the header If-None-Match on",
        )

    def _lifetime(self) -> Check:
        seconds = self._azure.upload_expires
        if seconds <= WEEK:
            return ok(f"uploads expire after {seconds / 3600:.0f} h; Azure keeps blocks for 7 days")
        return warn(
            "uploads-outlast-blocks",
            "Azure removes uncommitted blocks after 7 days, before the uploads expire",
            "attach_upload_expires=7d",
        )

    def _soft_delete(self) -> Check:
        try:
            properties = self._container.control.properties()
        except AzureFailure as failure:
            if failure.kind not in (Kind.DENIED, Kind.UNSUPPORTED):
                raise
            return warn("unknown", "the credentials do not allow reading the account's properties")
        policy = re.search("<DeleteRetentionPolicy>(.*?)</DeleteRetentionPolicy>", properties)
        if policy is None or element(policy[1], "Enabled") != "true":
            return ok("the account keeps no deleted blobs: a removed attachment is gone")
        days = element(policy[1], "Days")
        return warn(
            "versions-kept",
            f"the account keeps deleted blobs for {days} days: the bytes of a removed attachment "
            "remain, readable with credentials",
            "shorten the retention of deleted blobs, as data protection may require",
        )

    # Advice.

    def advice(self, step: str, error: Error) -> Sequence[str]:
        if error.kind is Kind.DENIED and step in _PERMISSIONS:
            return self._grant(_PERMISSIONS[step])
        return super().advice(step, error)

    def _grant(self, permission: str) -> Sequence[str]:
        """Return advice about a missing permission of a SAS token, or a missing role."""
        if isinstance(self._container.credentials, SasToken):
            lacking = f"the SAS token lacks the permission {permission}: make a token for the"
            return (f"{lacking} container with the permissions {NEEDED}",)
        account = f"/subscriptions/…/storageAccounts/{self._container.account}"
        scope = f"{account}/blobServices/default/containers/{self._container.name}"
        roles = f"the identity needs the role {CONTRIBUTOR} on the container, and the role"
        role = shlex.quote(CONTRIBUTOR)
        return (
            f"{roles} Storage Blob Delegator on the account to sign links:",
            f"$ az role assignment create --role {role} --assignee … --scope {scope}",
        )

    def explain_refusal(self, method: str, answer: Answer) -> Check:
        if method == "POST":  # the service answers forms
            return super().explain_refusal(method, answer)
        code = answer.headers.get("x-ms-error-code", "")
        found = f"{method} to {self._container.url} returned the status {answer.status} {code}"
        if code:
            text = element(answer.body.decode(errors="replace"), "Message").partition("\n")[0]
            return fail("link-refused", f"{found}: {text}", *self._grant("c"))
        return fail(
            "not-azure",
            f"{found.rstrip()}, and the response is not from Azure",
            "a proxy answers in place of the blob service: it must pass the links on unchanged",
        )

    def unreachable(self, failure: Unreachable) -> Check:
        return fail(
            "unreachable",
            f"{self._container.endpoint} cannot be reached: {failure}",
            "clients must reach the address of the blob service: see the firewall of the account",
        )

    def not_shared(self, origin: str) -> Sequence[str]:
        where = "add a CORS rule; on Azure, it holds for all containers of the account"
        command = f"$ rex attach cors --origin {shlex.quote(origin)} --apply"
        return f"{where}, and only an account key or a contributor may set it:", command

    def discard(self, handle: str) -> None:
        with self._azure.map_errors(handle):
            self._container.delete(self._container.path(handle[1:]))

    def mask(self, text: str) -> str:
        credentials = self._container.credentials
        secret = ""
        if isinstance(credentials, AccountKey):
            secret = credentials.key
        elif isinstance(credentials, SasToken):
            text = text.replace(credentials.token, "…")
            secret = credentials.fields.get("sig", "")
        text = text.replace(secret, "…") if len(secret) >= MIN_SHOWN else text
        return re.sub(r"sig=[\w%+/=-]+", "sig=…", text)
