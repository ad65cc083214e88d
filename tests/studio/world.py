"""A workspace with one of everything in it, and another one beside it, for tests that walk every door."""

import hashlib
from datetime import timedelta
from typing import Any

from django.test import Client
from django.utils import timezone

from compute import logs
from compute.actions import ensure_local
from compute.models import Job
from compute.quotas.asking import Blocked, ask
from compute.quotas.models import Limit
from compute.states import JobState, NodeState
from runs import snapshots, uploads
from runs.models import Attempt, Experiment, Run
from runs.states import RunStatus
from studio.api.models import Badge
from studio.dashboards.actions import make_dashboard, make_link
from studio.people.actions import create_workspace, invite, issue_token, make_team, set_role
from studio.people.models import Membership, User, Workspace
from studio.people.permissions import Role
from studio.signin.models import Provider
from tests.compute.clusters import make_cluster, make_node
from tests.compute.tiny import make_attached
from tests.studio.notifications.things import make_webhook

PASSWORD = "correct horse"


class Things:
    """What one workspace holds, each by the word that the table of doors uses for it."""

    def __init__(self, name: str, owner: User) -> None:
        self.space: Workspace = create_workspace(name, owner)
        self.workspace = name
        guest = User.objects.create_user(f"guest-of-{name}", password=PASSWORD)
        set_role(self.space, guest, Role.READER, by=owner)
        self.member = Membership.objects.get(workspace=self.space, user=guest).pk
        invitation, self.invitation_token = invite(self.space, f"new-in-{name}", Role.READER, by=owner)
        self.invitation = invitation.pk
        self.team = make_team(self.space, "Vision", by=owner).pk
        self.api_token = issue_token(self.space, owner, "nightly", set(), days=30)[0].pk
        webhook, delivery = make_webhook(self.space, owner)
        self.webhook, self.delivery = webhook.pk, delivery.pk
        ensure_local(self.space)
        cluster = make_cluster(self.space, f"cluster-{name}"[:16].rstrip("-"))
        self.cluster = cluster.name
        self.kind = "Tiny"
        self.attached = make_attached(self.space, owner, f"lab-{name}").name
        self.node = make_node(cluster, NodeState.IDLE).node_id
        Limit.objects.create(workspace=self.space, family="*", cores=20)
        self.quota_request = ask(self.space, Blocked(family="*"), cores=40, reason="A sweep.", back="", by=owner).pk
        experiment = Experiment.objects.create(workspace=self.space, name=f"trial-{name}", created_by=owner)
        self.experiment = experiment.name
        self.snapshot, _facts = snapshots.from_text(self.space, "train.py", f"print({name!r})\n")
        self.snapshot_file = "train.py"
        self.run, self.ended_run = (
            self._run(experiment, owner, number, status)
            for number, status in enumerate([RunStatus.RUNNING, RunStatus.COMPLETED], 1)
        )

        badge = Badge.objects.create(
            workspace=self.space, run=Run.objects.get(run_id=self.run), expires_at=timezone.now() + timedelta(days=1)
        )
        self.badge, self.badge_token = badge.pk, badge.token
        board = make_dashboard(self.space, f"board-{name}", by=owner, overview=True)
        self.dashboard, self.tile = board.pk, board.tiles.get(kind="queue").pk
        link, self.link_token = make_link(board, "lab", days=30, shows=set(), by=owner)
        self.link = link.pk
        files = [{"path": "big.bin", "size": 3, "sha256": hashlib.sha256(b"big").hexdigest()}]
        self.upload = uploads.begin(self.space, owner, files, {}).id

    def _run(self, experiment: Experiment, owner: User, number: int, status: RunStatus) -> str:
        target = ensure_local(self.space)
        run = Run.objects.create(
            workspace=self.space,
            experiment=experiment,
            number=number,
            run_id=f"{experiment.name}_{number}",
            display_name=f"brave_lemur_{number}",
            status=status,
            target=target,
            target_name=target.name,
            snapshot=self.snapshot,
            submitted_by=owner,
            config={"script": "train.py"},
            ended_at=timezone.now() if status.is_final else None,
        )
        ended = JobState.ENDED if status.is_final else JobState.RUNNING
        job = Job.objects.create(target=target, run_id=run.run_id, run_name=run.display_name, state=ended)
        Attempt.objects.create(run=run, number=1, job=job)
        outputs = job.folder / "rank-0" / "outputs"
        outputs.mkdir(parents=True)
        (outputs / "a.txt").write_text("what it wrote")
        self.output, self.attempt, self.stream = "outputs/a.txt", 1, "1/std_log.txt"
        logs.append(f"runs/{run.run_id}/1/std_log.txt", 0, b"a line\n")
        Experiment.objects.filter(pk=experiment.pk).update(last_number=number)
        return run.run_id


class World:
    """Here, with somebody in each role, and there, where the stranger owns; Ana owns both: only ids keep them apart."""

    def __init__(self) -> None:
        self.ana = User.objects.create_user("ana", "ana@example.org", PASSWORD)
        self.stranger = User.objects.create_user("cleo", "cleo@example.org", PASSWORD)
        self.here, self.there = Things("here", self.ana), Things("there", self.ana)
        set_role(self.there.space, self.stranger, Role.OWNER, by=self.ana)
        administrator = User.objects.create_superuser("root", "root@example.org", PASSWORD)
        Provider.objects.create(slug="contoso", name="Contoso", issuer="https://127.0.0.1:9/", client_id="studio")
        self.people: dict[str, User | None] = {
            "stranger": self.stranger,
            "administrator": administrator,
            "nobody": None,
        }
        for role in Role:
            person = User.objects.create_user(f"a-{role.value.lower()}", f"{role.value}@example.org", PASSWORD)
            set_role(self.here.space, person, role, by=self.ana)
            self.people[role] = person

    def client(self, who: str, **how: Any) -> Client:
        person, client = self.ana if who == "owner of both" else self.people[who], Client(**how)
        if person is not None:
            client.force_login(person)
        return client
