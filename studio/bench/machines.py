"""Machines over SSH for measuring: OpenSSH servers of this one, attached to the studio that is measured."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from compute.models import ComputeTarget
    from studio.bench.product import Product
    from tests.sshd import Sshd


@contextlib.contextmanager
def machines(product: "Product", count: int) -> "Iterator[list[ComputeTarget]]":
    """Start `count` servers and attach each; end what runs there afterwards."""
    from tests.sshd import Sshd, key_pair, scratch_user

    with tempfile.TemporaryDirectory() as folder, scratch_user() as name:
        Path(folder).chmod(0o755)  # sshd reads what it authorizes as the user who signs in
        private, public = key_pair(Path(folder))
        servers = [Sshd(Path(folder) / f"sshd-{n}", name) for n in range(count)]
        try:
            for server in servers:
                server.let_in(public)
                server.start()
            yield [attach(product, server, private, f"machine-{n}") for n, server in enumerate(servers)]
        finally:
            product.ask(lambda: _detach(count))
            for server in servers:
                server.close()


def attach(product: "Product", server: "Sshd", private: str, name: str, port: int = 0) -> "ComputeTarget":
    """Return the server as an attached machine, as one that has passed the doctor."""
    from compute.models import ComputeTarget
    from compute.states import ProvisioningState
    from studio.people.models import Allowance, Workspace
    from studio.seal import seal

    def made() -> "ComputeTarget":
        workspace = Workspace.objects.get(name="default")
        Workspace.objects.filter(pk=workspace.pk).update(allowances=list(Allowance.values))
        config = {"address": "127.0.0.1", "ssh_port": port or server.port, "username": server.username}
        config |= {"authentication": "key", "environment": "system", "python": "python3", "host_key": server.host_key}
        target = ComputeTarget.objects.create(
            workspace=workspace,
            name=name,
            kind="VirtualMachine",
            provisioning_state=ProvisioningState.SUCCEEDED,
            config=config,
        )
        target.sealed = {"private_key": seal(private, where=target.place_of("private_key"))}
        target.save(update_fields=["sealed"])
        return target

    return product.ask(made)


def _detach(count: int) -> None:
    from django.utils import timezone

    from compute.models import ComputeTarget

    names = [f"machine-{n}" for n in range(count)]
    ComputeTarget.objects.existing().filter(name__in=names).update(deleted_at=timezone.now())
