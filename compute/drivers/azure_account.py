"""An account of an Azure service, found in the workspace's subscription: what its form asks, and what is looked at."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, ClassVar

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from compute import arm, azure
from compute.attach_forms import AzureForm
from compute.drivers.base import Attaches, Check, CheckState, Driver, TargetReport
from compute.models import AzureSignIn
from compute.states import ProvisioningState
from studio.errors import StudioError

Question = Callable[[], Check]


class AzureAccountForm(AzureForm):
    """Resource group and account name, or the id that says both. Source: azure-ml facts J3, point 5."""

    folded: ClassVar[tuple[str, ...]] = ("resource_id",)
    wanted = frozenset({"resource_group", "account_name"})

    resource_group = forms.RegexField(  # Source: Azure's naming rules for resource groups
        r"\A[\w\-.()]{0,89}[\w\-()]\Z", label=gettext_lazy("Resource group"), max_length=90, required=False
    )
    account_name = forms.RegexField(  # Source: Azure's naming rules for these accounts
        r"\A[a-z0-9]{3,24}\Z",
        label=gettext_lazy("Account name"),
        max_length=24,
        required=False,
        help_text=gettext_lazy("3 to 24 lowercase letters and digits."),
    )

    def clean(self) -> dict[str, Any]:
        """Take either the id or both names; an id that says something else than the names is refused."""
        cleaned: dict[str, Any] = super().clean()
        resource_id = cleaned.get("resource_id") or ""
        if resource_id:
            parts = resource_id.split("/")
            for name, said in (("resource_group", parts[4]), ("account_name", parts[8])):
                if cleaned.get(name) and cleaned[name].lower() != said.lower():
                    self.add_error(name, _("The resource id says “%(said)s”.") % {"said": said[:90]})
                cleaned[name] = said
        elif "resource_id" in cleaned:
            for name in ("resource_group", "account_name"):
                if name in cleaned and not cleaned[name]:
                    self.add_error(name, _("It is needed, unless the resource id is given."))
        return cleaned

    def config(self) -> dict[str, Any]:
        config = super().config()
        parts = config["resource_id"].split("/")
        known = AzureSignIn.objects.filter(workspace=self.workspace).values_list("subscription_id", flat=True).first()
        return config | {"subscription_id": parts[2] if config["resource_id"] else known or ""}


class AzureAccount(Driver, Attaches):
    """What the kinds of such accounts share. Signs in as the workspace does."""

    form: ClassVar[type[AzureAccountForm]]
    version: ClassVar[str]  # of the provider's part of Resource Manager
    actions: ClassVar[tuple[str, ...]] = ()  # one of these shows that runs may be made
    titles: ClassVar[dict[str, Any]] = {
        "sign_in": gettext_lazy("Signing in"),
        "account": gettext_lazy("The account is there"),
        "permission": gettext_lazy("What the identity may do"),
        "name": gettext_lazy("The name resolves"),
    }
    optional: ClassVar[frozenset[str]] = frozenset()  # keys of checks that nothing hangs on

    @classmethod
    def address_of(cls, config: dict[str, Any]) -> str:
        parts = (config.get("subscription_id", ""), config.get("resource_group", ""), config.get("account_name", ""))
        return "/".join(parts).lower()

    @property
    def path(self) -> str:
        """Return the account's path in Resource Manager."""
        subscription = self.config.get("subscription_id") or azure.subscription_of(self.target.workspace)
        names = self.config["resource_group"], self.form.provider, self.form.resource, self.config["account_name"]
        return arm.path_of(subscription, *names)

    @cached_property
    def account(self) -> dict[str, Any]:
        """Return what Resource Manager says of the account. Raises StudioError."""
        return arm.get(self.target.workspace, self.path, self.version)

    @property
    def properties(self) -> dict[str, Any]:
        found = self.account.get("properties")
        return found if isinstance(found, dict) else {}

    @property
    @abstractmethod
    def endpoint(self) -> str:
        """Return the https address of the account's own service. Raises StudioError."""

    def questions(self) -> dict[str, Question]:
        """Return what the doctor asks, in order, by the keys of `titles`."""
        return {"sign_in": self._identity, "account": self._there, "permission": self._rights, "name": self._name}

    def checks(self) -> Iterator[Check]:
        questions = self.questions()
        ahead = list(questions)
        for key, question in questions.items():
            ahead.remove(key)
            try:
                check = question()
            except StudioError as exc:
                check = self.found(key, CheckState.BAD, exc.message, exc.hint)
            yield check
            if check.state == CheckState.BAD and check.needed:
                yield from (self.found(left, CheckState.SKIPPED) for left in ahead)
                return

    def found(self, key: str, state: CheckState, evidence: str = "", remedy: str = "") -> Check:
        return Check(key, str(self.titles[key]), state, evidence, remedy, needed=key not in self.optional)

    def _identity(self) -> Check:
        answer = azure.test(self.target.workspace)
        return self.found("sign_in", CheckState.OK, f"{answer.by}: {answer.who or '?'} @ {answer.tenant or '?'}")

    def _there(self) -> Check:
        state = str(self.properties.get("provisioningState") or "?")
        evidence = f"{self.account.get('name', '')} ({self.account.get('location', '?')}): {state}"
        if state == "Succeeded":
            return self.found("account", CheckState.OK, evidence)
        return self.found("account", CheckState.BAD, evidence, _("Look at it in the Azure portal."))

    def _rights(self) -> Check:
        allowed = arm.may(self.target.workspace, self.path)
        evidence = ", ".join(allowed[:8]) or _("nothing")
        if any(covers(pattern, action) for pattern in allowed for action in self.actions):
            return self.found("permission", CheckState.OK, evidence)
        return self.found("permission", CheckState.BAD, evidence, _("Give it the role Contributor on the account."))

    def _name(self) -> Check:
        found = azure.places(self.target.workspace, self.endpoint)
        return self.found("name", CheckState.OK, ", ".join(dict.fromkeys(place.address for place in found)))

    def refresh(self) -> TargetReport:
        self.__dict__.pop("account", None)
        try:
            state = str(self.properties.get("provisioningState") or "?")
        except StudioError as exc:
            return TargetReport(ProvisioningState.FAILED, exc.message[:500])
        if state == "Succeeded":
            return TargetReport(ProvisioningState.SUCCEEDED)
        return TargetReport(ProvisioningState.FAILED, _("Azure says the account is %(state)s.") % {"state": state[:50]})


def covers(pattern: str, action: str) -> bool:
    """Say whether an allowed pattern such as "Microsoft.Batch/*" covers `action`; case makes no difference."""
    head, star, tail = pattern.lower().partition("*")
    action = action.lower()
    if not star:
        return head == action
    return action.startswith(head) and action.endswith(tail) and len(action) >= len(head) + len(tail)
