"""What the form of a machine that is reached over SSH asks for, and what to have at hand for it."""

from typing import Any, ClassVar

from django import forms
from django.utils.choices import CallableChoiceIterator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from compute.attach_forms import AzureForm, SecretField
from compute.drivers.base import Need
from compute.models import ComputeTarget
from compute.ssh import read_key
from studio.errors import CredentialsRejected

NEEDS = (
    Need(
        gettext_lazy("A user who may sign in"),
        gettext_lazy("Neither root nor sudo is needed: the studio keeps to a folder of its own in the home folder."),
        "whoami",
    ),
    Need(
        gettext_lazy("The port sshd listens on"),
        gettext_lazy("22 unless somebody changed it."),
        "sudo sshd -T | grep ^port",
    ),
    Need(
        gettext_lazy("Its host key’s fingerprint"),
        gettext_lazy("You are shown one, and compare it with what the machine itself says."),
        "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub",
    ),
)


NOT_IN_ADDRESSES = frozenset(" /@\\'\"`$;|&<>()[]{}*?!")
NOT_IN_NAMES = frozenset(" /:@\\'\"`$;|&<>")


ANOTHER = "*"  # instead of the name of an attached jump host: one that is described here
JUMP = ("jump_address", "jump_port", "jump_username", "jump_private_key", "jump_passphrase", "jump_password")


class SshForm(AzureForm):
    """Address, user and credentials. A kind adds what is its own."""

    shown_with: ClassVar[dict[str, tuple[str, str]]] = {
        "private_key": ("authentication", "key"),
        "passphrase": ("authentication", "key"),
        "password": ("authentication", "password"),
        **dict.fromkeys(JUMP, ("jump_host", ANOTHER)),
    }
    folded: ClassVar[tuple[str, ...]] = ("jump_host", *JUMP, "resource_id")
    wanted = frozenset({"jump_address", "jump_username"})

    address = forms.CharField(label=gettext_lazy("Host name or IP address"), max_length=255)
    ssh_port = forms.IntegerField(label=gettext_lazy("SSH port"), initial=22, min_value=1, max_value=65535)
    username = forms.CharField(
        label=gettext_lazy("User name"), max_length=64, help_text=gettext_lazy("Who signs in there, over SSH.")
    )
    authentication = forms.ChoiceField(
        label=gettext_lazy("Sign in with"),
        choices=[("key", gettext_lazy("SSH key")), ("password", pgettext_lazy("to sign in with", "Password"))],
        initial="key",
        widget=forms.RadioSelect,
    )
    private_key = SecretField(
        label=gettext_lazy("Private key"),
        required=False,
        max_length=20_000,
        help_text=gettext_lazy(
            "OpenSSH, PEM or PKCS#8; ed25519, ECDSA, or RSA of 2048 bits or more. It is kept sealed."
        ),
    )
    passphrase = SecretField(
        label=gettext_lazy("Passphrase of the key"), required=False, one_line=True, max_length=1000
    )
    password = SecretField(label=gettext_lazy("Password"), required=False, one_line=True, max_length=1000)
    jump_host = forms.CharField(
        label=gettext_lazy("Jump host"),
        required=False,
        max_length=24,
        widget=forms.Select,
        help_text=gettext_lazy("A machine to go through, where this one cannot be reached directly."),
    )
    jump_address = forms.CharField(label=gettext_lazy("The jump host’s address"), required=False, max_length=255)
    jump_port = forms.IntegerField(
        label=gettext_lazy("The jump host’s port"), required=False, initial=22, min_value=1, max_value=65535
    )
    jump_username = forms.CharField(label=gettext_lazy("Who signs in to the jump host"), required=False, max_length=64)
    jump_private_key = SecretField(label=gettext_lazy("The jump host’s key"), required=False, max_length=20_000)
    jump_passphrase = SecretField(
        label=gettext_lazy("Passphrase of the jump host’s key"), required=False, one_line=True, max_length=1000
    )
    jump_password = SecretField(
        label=gettext_lazy("Or the jump host’s password"), required=False, one_line=True, max_length=1000
    )

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        widget: Any = self.fields["jump_host"].widget
        widget.choices = CallableChoiceIterator(self._jump_hosts)
        if self.initial.get("jump_address") and not self.initial.get("jump_host"):
            self.initial["jump_host"] = ANOTHER

    def _jump_hosts(self) -> list[tuple[str, str]]:
        """Return whom one may go through, for people to choose from."""
        machines = ComputeTarget.objects.existing().filter(workspace=self.workspace, config__has_key="username")
        names = {t.name for t in machines if not t.config.get("jump_host") and not t.config.get("jump_address")}
        names |= {str(self["jump_host"].value() or "")}  # also one that is gone meanwhile
        named = [(name, name) for name in sorted(names - {"", ANOTHER, self.edited})]
        return [("", _("None: it is reached directly")), *named, (ANOTHER, _("Another one, described here"))]

    @classmethod
    def is_of_use(cls, name: str, config: dict[str, Any]) -> bool:
        return bool(config.get("jump_address")) if name in JUMP else super().is_of_use(name, config)

    def clean_address(self) -> str:
        return _address(self.cleaned_data["address"])

    def clean_jump_address(self) -> str:
        return _address(self.cleaned_data["jump_address"])

    def clean_username(self) -> str:
        return _user_name(self.cleaned_data["username"])

    def clean_jump_username(self) -> str:
        return _user_name(self.cleaned_data["jump_username"])

    def clean_jump_host(self) -> str:
        name = str(self.cleaned_data["jump_host"]).strip()
        if name == ANOTHER:
            return ""
        if name and name == self.edited:
            raise forms.ValidationError(_("A machine cannot be its own jump host."))
        there = ComputeTarget.objects.existing().filter(workspace=self.workspace, name=name)
        if name and not there.filter(config__has_key="username").exists():
            raise forms.ValidationError(_("No machine of that name is attached here."))
        return name

    def clean(self) -> dict[str, Any]:
        """Hold that there is something to sign in with, and that a key can be read."""
        cleaned = super().clean()
        wanted = "password" if cleaned.get("authentication") == "password" else "private_key"
        if not self.has(wanted):
            self.add_error(wanted, _("It is needed to sign in."))
        elif wanted == "private_key" and cleaned.get("private_key"):
            try:
                read_key(cleaned["private_key"], cleaned.get("passphrase") or "")
            except CredentialsRejected as exc:
                field = "passphrase" if "passphrase" in exc.message else "private_key"
                self.add_error(field, f"{exc.message} {exc.hint}".strip())
        self._clean_jump(cleaned)
        return cleaned

    def _clean_jump(self, cleaned: dict[str, Any]) -> None:
        """Hold that a jump host is either attached or said whole, with a key or a password."""
        if not cleaned.get("jump_address"):
            if self.data.get("jump_host") == ANOTHER and "jump_address" not in self.errors:
                self.add_error("jump_address", _("Say where it is, or choose that there is none."))
            return
        if cleaned.get("jump_host"):
            self.add_error("jump_host", _("Choose an attached machine, or describe another one."))
        if "jump_username" in cleaned and not cleaned["jump_username"]:
            self.add_error("jump_username", _("It is needed to sign in."))
        if not self.has("jump_private_key") and not self.has("jump_password"):
            self.add_error("jump_private_key", _("A key or a password is needed to sign in."))
        if cleaned.get("jump_private_key"):
            try:
                read_key(cleaned["jump_private_key"], cleaned.get("jump_passphrase") or "")
            except CredentialsRejected as exc:
                field = "jump_passphrase" if "passphrase" in exc.message else "jump_private_key"
                self.add_error(field, f"{exc.message} {exc.hint}".strip())

    def unused(self) -> frozenset[str]:
        uses_key = self.cleaned_data.get("authentication") == "key"
        own = {"password"} if uses_key else {"private_key", "passphrase"}
        if not self.cleaned_data.get("jump_address"):
            return frozenset(own | {"jump_private_key", "jump_passphrase", "jump_password"})
        if self.cleaned_data.get("jump_private_key"):
            return frozenset(own | {"jump_password"})
        if self.cleaned_data.get("jump_password"):
            return frozenset(own | {"jump_private_key", "jump_passphrase"})
        return frozenset(own)


def _address(typed: str) -> str:
    """Return a host name or IP address as it is kept. Raises ValidationError for what is neither."""
    address = str(typed).strip().lower().rstrip(".")
    if not address.isprintable() or NOT_IN_ADDRESSES & set(address) or address.startswith("-"):
        raise forms.ValidationError(_("This is neither a host name nor an IP address."))
    return address


def _user_name(typed: str) -> str:
    name = str(typed).strip()
    if not name.isprintable() or NOT_IN_NAMES & set(name) or name.startswith("-"):
        raise forms.ValidationError(_("A user name has no spaces and none of / : @ in it."))
    return name
