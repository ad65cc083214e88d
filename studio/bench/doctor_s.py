"""The connection doctor on a healthy machine: an OpenSSH server of this one, from the question to its last check."""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from studio.bench.figures import Samples

if TYPE_CHECKING:
    from studio.bench import Bench

LOOKS = 20


def measure(bench: "Bench") -> Samples:
    """Measure what a person waits for: queued, looked at by a worker, stored."""
    product = bench.product
    from compute import attaching
    from compute.models import Examination
    from studio.people.models import Allowance, User, Workspace
    from tests.sshd import Sshd, key_pair, scratch_user

    with tempfile.TemporaryDirectory() as folder, scratch_user() as name:
        Path(folder).chmod(0o755)  # sshd reads what it authorizes as the user who signs in
        sshd = Sshd(Path(folder) / "sshd", name)
        private, public = key_pair(Path(folder))
        sshd.let_in(public)
        sshd.start()

        def draft() -> Examination:
            workspace, by = Workspace.objects.get(name="default"), User.objects.get(username="admin")
            Workspace.objects.filter(pk=workspace.pk).update(allowances=list(Allowance.values))
            made = attaching.begin(workspace, "VirtualMachine", by=by)
            config = {"address": "127.0.0.1", "ssh_port": sshd.port, "username": name, "authentication": "key"}
            config |= {"jump_host": "", "environment": "system", "python": "python3"}
            attaching.keep(made, typed={}, config=config, secrets={"private_key": private})
            made.config["host_key"] = sshd.host_key
            made.save()
            return made

        def look() -> float:
            attaching.look(one)
            product.wait_until(lambda: Examination.objects.filter(pk=one.pk, ended_at__isnull=False).exists())
            one.refresh_from_db()
            if not (one.asked_at and one.ended_at and attaching.has_passed(one)):
                raise RuntimeError(f"The machine is not healthy: {one.checks}")
            return (one.ended_at - one.asked_at).total_seconds()

        try:
            one = product.ask(draft)
            took = [product.ask(look) for _ in range(LOOKS)]
        finally:
            sshd.stop()
    return Samples(took, [f"{LOOKS} looks, {len(one.checks)} checks each"])
