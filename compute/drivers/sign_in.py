"""Where a machine of a target is, and as whom to sign in to it: at once, or by a jump host, attached or of its own."""

from typing import Any

from django.utils.translation import gettext as _

from compute import host_keys, remote
from compute.drivers.base import Driver
from compute.ssh import Account
from studio.errors import HostKeyChanged, NotThere
from studio.people.models import Allowance


def has_own_jump(config: dict[str, Any]) -> bool:
    """Say whether the way there leads through a jump host that is no target of its own."""
    return bool(config.get("jump_address"))


class SignsIn(Driver):
    """A kind whose targets a user signs in to over SSH."""

    def account(self) -> Account:
        """Return where to sign in, and with what."""
        target, config = self.target, self.config
        with_key = config.get("authentication") != "password"
        return Account(
            address=config["address"],
            port=config["ssh_port"],
            username=config["username"],
            private_key=target.secret("private_key") if with_key else "",
            passphrase=target.secret("passphrase") if with_key else "",
            password="" if with_key else target.secret("password"),
            host_key=config.get(host_keys.PINNED),
            jump=self._jump(),
            inside=target.workspace.allows(Allowance.THIS_MACHINE),
        )

    def _jump(self) -> Account | None:
        if has_own_jump(self.config):
            return self._own_jump()
        name = self.config.get("jump_host")
        if not name:
            return None
        through = type(self.target).objects.existing().filter(workspace=self.target.workspace, name=name).first()
        if through is None or through.pk == self.target.pk or not isinstance(through.driver, SignsIn):
            raise NotThere(
                _("The jump host %(name)s is not attached any more.") % {"name": name}, _("Attach it again.")
            )
        if through.config.get("jump_host") or through.config.get("jump_address"):
            raise NotThere(_("%(name)s is itself behind a jump host.") % {"name": name}, _("Choose one that is not."))
        return through.driver.account()

    def _own_jump(self) -> Account:
        """Return the jump host that the target itself says how to sign in to."""
        target, config = self.target, self.config
        key = target.secret("jump_private_key")
        return Account(
            address=config["jump_address"],
            port=config["jump_port"] or 22,
            username=config["jump_username"],
            private_key=key,
            passphrase=target.secret("jump_passphrase"),
            password="" if key else target.secret("jump_password"),
            host_key=config.get(host_keys.JUMP_PINNED),
            inside=target.workspace.allows(Allowance.THIS_MACHINE),
        )

    def link(self) -> remote.Link:
        """Return the connection to the machine. A changed host key blocks the target."""
        try:
            return remote.link_to(self.account())
        except HostKeyChanged as exc:
            if exc.shown and self.target.pk:
                host_keys.block(self.target, exc.shown)
            raise
