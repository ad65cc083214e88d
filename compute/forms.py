"""The forms of compute targets: what every kind asks for, and what a cluster asks for in the steps of its wizard."""

import re
import uuid
from typing import Any, ClassVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_ssh_public_key
from django import forms
from django.core.exceptions import ValidationError
from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from compute import names, sizes
from compute.codes import ClusterSpec
from compute.engines import embedded
from compute.models import ComputeTarget
from compute.quotas.verdict import Verdict, verdict
from compute.sizes import VmSize
from compute.states import Priority
from studio.people.models import Workspace

MOST_NODES = 100  # Source: Azure ML limits, one cluster with communication between its nodes
LONGEST_IDLE = 7 * 24 * 3600  # seconds
MOST_TAGS, LONGEST_KEY, LONGEST_VALUE = 50, 100, 256


class TargetForm(forms.ModelForm[ComputeTarget]):
    """What every kind of target asks for. A kind's form adds its own fields."""

    class Meta:
        model = ComputeTarget
        fields = ["name", "description"]


def nodes_that_fit(size: VmSize) -> int:
    """Return how many nodes of `size` stand on one machine at once, the roomiest, when nothing else does."""
    return max(embedded.how_many(host, size) for host in embedded.hosts())


class ScaleForm(forms.Form):
    """How many nodes, and for how long an idle one is kept; of `target`, or of a cluster that is yet to be."""

    size: VmSize | None = None
    target: ComputeTarget | None = None
    judged: Verdict | None = None  # what becomes of it within the limits of cores; None: nothing is known yet

    min_nodes = forms.IntegerField(
        label=gettext_lazy("Minimum number of nodes"),
        initial=0,
        min_value=0,
        max_value=MOST_NODES,
        help_text=gettext_lazy("These stay up, and cost, even when nothing runs."),
    )
    max_nodes = forms.IntegerField(
        label=gettext_lazy("Maximum number of nodes"),
        initial=4,
        min_value=1,
        max_value=MOST_NODES,
        help_text=gettext_lazy("The cluster grows up to here while runs wait."),
    )
    idle_seconds = forms.IntegerField(
        label=gettext_lazy("Idle seconds before scale down"),
        initial=120,
        min_value=1,
        max_value=LONGEST_IDLE,
        help_text=gettext_lazy("An idle node above the minimum is released after this time."),
    )

    def clean(self) -> dict[str, Any]:
        """Hold minimum ≤ maximum, and a minimum that this machine can keep up."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        low, high = cleaned.get("min_nodes"), cleaned.get("max_nodes")
        if low is not None and high is not None and low > high:
            self.add_error("min_nodes", _("The minimum cannot be above the maximum of %(most)d.") % {"most": high})
        elif low and self.size and low > (fits := nodes_that_fit(self.size)):
            said = ngettext(
                "This machine holds %(fits)d node of %(size)s at once; a minimum above that can never be kept.",
                "This machine holds %(fits)d nodes of %(size)s at once; a minimum above that can never be kept.",
                fits,
            )
            self.add_error("min_nodes", said % {"fits": fits, "size": self.size.name})
        self._judge(low or 0, high)
        return cleaned

    def _judge(self, low: int, high: int | None) -> None:
        """Keep what becomes of it, and refuse a minimum that is raised to where a limit does not let it."""
        if self.target is None or self.size is None:
            return
        self.judged = verdict(
            self.target.workspace, self.size, self.target.vm_priority,
            min_nodes=low, max_nodes=max(low, high or 1), target=self.target,
        )  # fmt: skip
        if self.judged.refuses and low > self.target.min_nodes and "min_nodes" not in self.errors:
            self.add_error("min_nodes", self.judged.text)


class IdentityForm(forms.Form):
    """The managed identity of a cluster: none, its own, or one that exists already."""

    NONE, SYSTEM, USER = "", "system", "user"

    identity = forms.ChoiceField(
        label=gettext_lazy("Managed identity"),
        required=False,
        choices=[
            (NONE, gettext_lazy("None")),
            (SYSTEM, gettext_lazy("System-assigned")),
            (USER, gettext_lazy("User-assigned")),
        ],
        widget=forms.RadioSelect,
    )
    identity_id = forms.CharField(
        label=gettext_lazy("Resource id of the identity"),
        required=False,
        max_length=500,
        widget=forms.TextInput(attrs={"placeholder": "/subscriptions/…/userAssignedIdentities/…"}),
        help_text=gettext_lazy("Exactly one here. A cluster may have several through the SDK or the CLI."),
    )

    def clean(self) -> dict[str, Any]:
        """Ask for the resource id with a user-assigned identity, and check its shape."""
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("identity") != self.USER:
            return cleaned
        given = (cleaned.get("identity_id") or "").strip()
        if not given:
            self.add_error("identity_id", _("A user-assigned identity needs its resource id."))
        elif problem := names.check_identity_id(given):
            self.add_error("identity_id", problem)
        return cleaned

    @property
    def chosen(self) -> dict[str, Any]:
        """Return the identity as the model keeps it."""
        match self.cleaned_data.get("identity"):
            case self.SYSTEM:
                return {"type": "SystemAssigned"}
            case self.USER:
                return {"type": "UserAssigned", "ids": [self.cleaned_data.get("identity_id", "").strip()]}
            case _:
                return {}

    @classmethod
    def initial_of(cls, target: ComputeTarget) -> dict[str, str]:
        """Return what the form shows of a target's identity."""
        kind = {"SystemAssigned": cls.SYSTEM, "UserAssigned": cls.USER}.get(target.identity.get("type", ""), cls.NONE)
        return {"identity": kind, "identity_id": next(iter(target.identity.get("ids", [])), "")}


def parse_tags(text: str) -> dict[str, str]:
    """Read one tag a line, "key=value". Raises ValidationError that names the line."""
    tags: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        key, _equals, value = (part.strip() for part in line.partition("="))
        if not key:
            raise ValidationError(_("Line %(n)d has no key before “=”."), params={"n": number})
        if len(key) > LONGEST_KEY or len(value) > LONGEST_VALUE:
            raise ValidationError(
                _("Line %(n)d is too long: a key has %(key)d characters at most, a value %(value)d."),
                params={"n": number, "key": LONGEST_KEY, "value": LONGEST_VALUE},
            )
        if key in tags:
            raise ValidationError(_("The key “%(key)s” is there twice."), params={"key": key})
        tags[key] = value
    if len(tags) > MOST_TAGS:
        raise ValidationError(
            _("There are %(n)d tags; %(most)d are the most."), params={"n": len(tags), "most": MOST_TAGS}
        )
    return tags


class ClusterForm(ScaleForm, IdentityForm):
    """Everything a cluster is made of. The wizard shows its fields step by step; the server checks them all."""

    STEPS: ClassVar[dict[int, list[str]]] = {
        1: ["priority", "type", "vm_size"],
        2: ["name", "min_nodes", "max_nodes", "idle_seconds", "ssh", "admin_user", "public_key", "tags", "description"],
        3: ["identity", "identity_id", "vnet_group", "vnet", "subnet"],
        4: [],
    }

    priority = forms.ChoiceField(
        label=gettext_lazy("Priority"),
        choices=Priority.choices,
        initial=Priority.DEDICATED,
        widget=forms.RadioSelect,
        help_text=gettext_lazy("Low priority costs less, but a node can be taken away: its run starts over."),
    )
    type = forms.ChoiceField(
        label=gettext_lazy("Type"),
        choices=[("CPU", gettext_lazy("CPU")), ("GPU", gettext_lazy("GPU"))],
        initial="CPU",
        widget=forms.RadioSelect,
    )
    vm_size = forms.CharField(
        label=gettext_lazy("VM size"),
        max_length=40,
        error_messages={
            "required": gettext_lazy("Choose a size. This machine can host those without a reason beside them.")
        },
    )
    name = forms.CharField(
        label=gettext_lazy("Compute name"),
        max_length=60,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "none"}),
    )
    ssh = forms.BooleanField(label=gettext_lazy("Enable SSH access"), required=False)
    admin_user = forms.CharField(
        label=gettext_lazy("Administrator's user name"), required=False, initial="azureuser", max_length=32
    )
    public_key = forms.CharField(
        label=gettext_lazy("SSH public key"),
        required=False,
        max_length=5000,
        widget=forms.Textarea(
            attrs={"rows": 3, "class": "code-input", "spellcheck": "false", "placeholder": "ssh-ed25519 AAAA…"}
        ),
    )
    tags = forms.CharField(
        label=gettext_lazy("Tags"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 2, "placeholder": "team=vision", "spellcheck": "false"}),
        help_text=gettext_lazy("One a line, key=value."),
    )
    description = forms.CharField(label=gettext_lazy("Description"), required=False, max_length=500)
    vnet_group = forms.CharField(label=gettext_lazy("Resource group"), required=False, max_length=90)
    vnet = forms.CharField(label=gettext_lazy("Virtual network"), required=False, max_length=64)
    subnet = forms.CharField(label=gettext_lazy("Subnet"), required=False, max_length=80)

    def __init__(self, workspace: Workspace, query: QueryDict) -> None:
        """Bind the form to a query string or a POST; what it does not say yet is the default."""
        data = query.copy()
        for name, field in self.base_fields.items():
            if name not in data and field.initial is not None:
                data[name] = str(field.initial)
        gpu, chosen = data.get("type") == "GPU", sizes.find(data.get("vm_size", ""))
        if "vm_size" not in data or (chosen and chosen.is_gpu != gpu):  # the type was changed under it
            data["vm_size"] = default_size(gpu=gpu)
        self.workspace = workspace
        super().__init__(data, auto_id="%s")

    @property
    def size(self) -> VmSize | None:  # type: ignore[override]
        """Return the size asked for, if there is one of that name."""
        return sizes.find(self.data.get("vm_size", ""))

    def clean_vm_size(self) -> str:
        """Refuse a size that does not exist, or that this machine cannot host."""
        size = self.size
        if size is None:
            raise ValidationError(_("There is no size “%(size)s”."), params={"size": self.cleaned_data["vm_size"]})
        if verdict := embedded.host_verdict(size):
            raise ValidationError(
                _("%(size)s %(why)s."), params={"size": size.name, "why": verdict}
            )  # "Standard_NC6 needs 1 GPU; this machine has none."
        return size.name

    def clean_name(self) -> str:
        """Hold the one rule for names, and that the name is free in this workspace."""
        name: str = self.cleaned_data["name"].strip()
        if any(not clause.ok for clause in names.check_name(name)):
            raise ValidationError(_("The name does not keep the clauses marked below."))
        if is_taken(self.workspace, name):
            raise ValidationError(
                _("This workspace has a compute target of this name already; upper and lower case count as the same.")
            )
        return name

    def clean_tags(self) -> dict[str, str]:
        return parse_tags(self.cleaned_data["tags"])

    def clean_public_key(self) -> str:
        """Return the key on one line, when SSH is on and it is an OpenSSH public key."""
        text = " ".join(self.cleaned_data["public_key"].split())
        if not self.cleaned_data.get("ssh"):
            return ""
        if "PRIVATE KEY" in text:
            raise ValidationError(_("This is a private key. Paste the public one, from the file that ends in .pub."))
        if not text:
            raise ValidationError(_("SSH access needs a public key."))
        try:
            load_ssh_public_key(text.encode())
        except (ValueError, UnsupportedAlgorithm) as exc:
            raise ValidationError(
                _("This is not an OpenSSH public key. One looks like “ssh-ed25519 AAAA… you@host”.")
            ) from exc
        return text

    def clean_admin_user(self) -> str:
        """Hold what Linux takes as a user name, when SSH is on."""
        user: str = self.cleaned_data["admin_user"].strip()
        if not self.cleaned_data.get("ssh"):
            return user
        if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", user) or user == "root":
            raise ValidationError(
                _("Small letters, digits, “-” or “_”, the first a letter or “_”, 32 at most, and not root.")
            )
        return user

    def clean(self) -> dict[str, Any]:
        """Hold what concerns several fields: the network is given whole or not at all."""
        cleaned = super().clean()
        network = ["vnet_group", "vnet", "subnet"]
        given = [name for name in network if cleaned.get(name)]
        if given and len(given) < len(network):
            for name in network:
                if name not in given and name not in self.errors:
                    self.add_error(name, _("A virtual network needs all three: resource group, network and subnet."))
        return cleaned

    def _judge(self, low: int, high: int | None) -> None:
        """Keep what becomes of it; refuse a size that no node is allowed of, and a minimum that no limit lets be."""
        size, priority = self.size, self.data.get("priority")
        if size is None or priority not in Priority.values:
            return
        self.judged = verdict(self.workspace, size, priority, min_nodes=low, max_nodes=max(low, high or 1))
        if self.judged.refuses and self.judged.bound:
            field = "vm_size" if size.vcpus > self.judged.bound.limit else "min_nodes"
            if field not in self.errors:
                self.add_error(field, self.judged.text)

    def first_failing_step(self, *, upto: int = 4) -> int | None:
        """Return the first step up to `upto` with an error, or None."""
        return next(
            (n for n, fields in self.STEPS.items() if n <= upto and any(f in self.errors for f in fields)), None
        )

    def spec(self) -> ClusterSpec:
        """Return what is asked for as far as it is valid; what is not shows its default."""
        self.errors  # noqa: B018  # reading them cleans the form
        cleaned = self.cleaned_data
        ssh = {"enabled": False, "admin_user": "", "public_key": ""}
        if cleaned.get("ssh") and cleaned.get("public_key"):
            ssh = {
                "enabled": True,
                "admin_user": cleaned.get("admin_user") or "azureuser",
                "public_key": cleaned["public_key"],
            }
        subnet = {
            "resource_group": cleaned.get("vnet_group"),
            "vnet": cleaned.get("vnet"),
            "subnet": cleaned.get("subnet"),
        }
        return ClusterSpec(
            name=cleaned.get("name") or self.data.get("name", "").strip() or "cpu-cluster",
            size=cleaned.get("vm_size") or self.data.get("vm_size", ""),
            priority=cleaned.get("priority") or Priority.DEDICATED,
            min_nodes=cleaned.get("min_nodes") or 0,
            max_nodes=cleaned.get("max_nodes") or 4,
            idle_seconds=cleaned.get("idle_seconds") or 120,
            description=cleaned.get("description") or "",
            tags=cleaned.get("tags") or {},
            identity={} if "identity_id" in self.errors else self.chosen,
            ssh=ssh,
            subnet={k: str(v) for k, v in subnet.items()} if all(subnet.values()) else {},
        )


def is_taken(workspace: Workspace, name: str) -> bool:
    """Say whether a target of this name exists; upper and lower case count as the same."""
    return ComputeTarget.objects.existing().filter(workspace=workspace, name__iexact=name).exists()


def default_size(*, gpu: bool) -> str:
    """Return the size the wizard begins with, or an empty string where this machine can host none of the type."""
    if not gpu:
        return embedded.default_size().name
    machines = embedded.hosts()
    offered = [*sizes.recommended(gpu=True), *(size for size in sizes.all_sizes() if size.is_gpu)]
    return next((size.name for size in offered if not embedded.host_verdict(size, *machines)), "")


def token_of(query: QueryDict) -> uuid.UUID | None:
    """Return the token that makes a form sent twice create one target; None when it is no UUID."""
    try:
        return uuid.UUID(query.get("token", ""))
    except ValueError:
        return None
