"""A kind of attachable compute as small as one can be, whose address says what its doctor finds.

`with_tiny` registers it: pages of attaching are tested with it, and with real machines in the drivers' own tests.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from django import forms

from compute.attach_forms import AttachForm, SecretField
from compute.attaching import attach, begin, keep
from compute.drivers import DRIVERS
from compute.drivers.base import (
    Attaches,
    Check,
    CheckState,
    Driver,
    Executes,
    Handle,
    JobReport,
    Need,
    Phase,
    RunForm,
    TargetReport,
)
from compute.examining import examine
from compute.models import ComputeTarget, Examination, Job
from compute.states import EndReason, ProvisioningState
from studio.people.models import User, Workspace

# What this kind says, which no catalogue holds.
ENGLISH = {
    "As the machine itself says",
    "One that may sign in over SSH",
    "Private key",
    "Resource id",
    "Sign in with",
    "Signing in",
    "The name resolves",
    "Its address",
    "SSH key",
    "Tiny machine",
    "Runs in",
    "At once",
    "A queue",
    "Queue",
    "Copies",
}
KEY = {"type": "ssh-ed25519", "key": "AAAA", "sha256": "SHA256:abcdefgh"}
OTHER_KEY = {"type": "ssh-ed25519", "key": "BBBB", "sha256": "SHA256:zyxwvuts"}


class TinyForm(AttachForm):
    shown_with: ClassVar[dict[str, tuple[str, str]]] = {
        "private_key": ("authentication", "key"),
        "passphrase": ("authentication", "key"),
        "password": ("authentication", "password"),
    }
    folded = ("resource_id",)

    address = forms.CharField(label="Address")
    authentication = forms.ChoiceField(
        label="Sign in with",
        choices=[("key", "SSH key"), ("password", "Password")],
        initial="key",
        widget=forms.RadioSelect,
    )
    private_key = SecretField(label="Private key", required=False)
    passphrase = SecretField(label="Passphrase", required=False, one_line=True)
    password = SecretField(label="Password", required=False, one_line=True)
    resource_id = forms.CharField(label="Resource id", required=False)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        wanted = "password" if cleaned.get("authentication") == "password" else "private_key"
        if not self.has(wanted):
            self.add_error(wanted, "It is needed.")
        return cleaned

    def unused(self) -> frozenset[str]:
        uses_key = self.cleaned_data["authentication"] == "key"
        return frozenset({"password"} if uses_key else {"private_key", "passphrase"})


class TinyRunForm(RunForm):
    shown_with: ClassVar[dict[str, tuple[str, str]]] = {"queue_name": ("where", "queue")}

    where = forms.ChoiceField(label="Runs in", choices=[("now", "At once"), ("queue", "A queue")], initial="now")
    queue_name = forms.CharField(label="Queue", required=False, max_length=40)
    copies = forms.IntegerField(label="Copies", required=False, min_value=1)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("where") == "queue" and not cleaned.get("queue_name"):
            self.add_error("queue_name", "Name the queue.")
        return cleaned


class TinyDriver(Driver, Attaches, Executes):
    """Finds what the address says: "slow disk", "not ubuntu", "other key"; what it signs in with is kept in `seen`."""

    label = "Tiny machine"
    form = TinyForm
    run_form = TinyRunForm
    environments = frozenset({"interpreter", "pip"})
    needs = (
        Need("Its address", "As the machine itself says.", "hostname -f"),
        Need("A user", "One that may sign in over SSH."),
    )
    seen: ClassVar[list[str]] = []

    @classmethod
    def address_of(cls, config: dict[str, Any]) -> str:
        return str(config.get("address", "")).lower()

    def checks(self) -> Iterator[Check]:
        yield Check("name", "The name resolves", CheckState.OK, evidence="192.0.2.7")
        answers = OTHER_KEY if "other key" in self.config["address"] else KEY
        pinned = self.config.get("host_key")
        if pinned is None:
            yield Check("host_key", "Host key", CheckState.ASK, evidence=KEY["sha256"], facts={"host_key": answers})
            yield Check("sign_in", "Signing in", CheckState.SKIPPED)
            return
        if pinned["sha256"] != answers["sha256"]:
            yield Check("host_key", "Host key", CheckState.BAD, facts={"host_key": answers}, remedy="Look at it.")
            yield Check("sign_in", "Signing in", CheckState.SKIPPED)
            return
        yield Check("host_key", "Host key", CheckState.OK, evidence=pinned["sha256"])
        self.seen.append(self.target.secret("private_key") or self.target.secret("password"))
        yield Check("sign_in", "Signing in", CheckState.OK)
        if "breaks" in self.config["address"]:
            raise ValueError(self.target.secret("private_key"))
        if "not ubuntu" in self.config["address"]:
            yield Check("ubuntu", "Ubuntu", CheckState.BAD, evidence="Debian 12", remedy="Ask an Owner to allow it.")
        yield Check("gpu", "GPU", CheckState.WARN, evidence="none", remedy="Install a driver.", needed=False)

    def refresh(self) -> TargetReport:
        return TargetReport(ProvisioningState.SUCCEEDED)

    def submit(self, job: Job) -> Handle:
        return {"job": job.pk}

    def follow(self, handle: Handle, after: int) -> Iterator[JobReport]:
        yield JobReport(Phase.RUNNING)

    def cancel(self, handle: Handle, because: EndReason) -> None:
        """Nothing runs."""


@pytest.fixture
def with_tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DRIVERS, "Tiny", "tests.compute.tiny.TinyDriver")
    TinyDriver.seen.clear()


def looked_at(draft: Examination) -> Examination:
    """Carry out the look that was asked for."""
    draft.refresh_from_db()
    examine(draft.pk, draft.round)
    draft.refresh_from_db()
    return draft


def make_attached(workspace: Workspace, by: User, name: str = "lab", address: str = "lab.example") -> ComputeTarget:
    """Attach a tiny machine whose host key is pinned, as its page does."""
    draft = begin(workspace, "Tiny", by=by)
    config = {"address": address, "authentication": "key", "resource_id": ""}
    keep(draft, typed=config, config=config, secrets={"private_key": "the secret key"})
    draft.config["host_key"] = KEY
    draft.round, draft.asked_at = 1, draft.created_at
    draft.save()
    return attach(looked_at(draft), by=by, name=name, description="", tags={})
