"""A workspace with something on every page, and the pages, for tests that look at all of them."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.urls import reverse
from django.utils import timezone

from compute import host_keys, logs
from compute.actions import ensure_local
from compute.attaching import begin, keep, look, make_key
from compute.models import ComputeTarget, Examination
from compute.quotas.actions import Wanted, set_limits
from compute.quotas.asking import Blocked, ask, decline
from compute.quotas.models import QuotaRequest
from compute.states import AllocationState, EndReason, JobState, NodeState, ProvisioningState
from runs import snapshots
from runs.models import Attempt, Experiment, Run
from runs.states import RunStatus
from studio.dashboards import samples
from studio.dashboards.actions import add_tile, make_dashboard, make_link
from studio.dashboards.models import Dashboard, Shows
from studio.notifications.mail import leaving_token
from studio.notifications.models import Delivery
from studio.people.actions import (
    create_workspace,
    invite,
    issue_token,
    make_team,
    note,
    revoke_token,
    set_role,
    set_team,
)
from studio.people.models import SignInLink, User, Workspace
from studio.people.permissions import Right, Role
from studio.signin import actions as sign_in
from studio.signin.models import GroupRole, Provider
from tests.compute.clusters import make_cluster, make_job, make_node
from tests.compute.tiny import OTHER_KEY, looked_at, make_attached
from tests.studio.notifications.things import make_webhook

LINES = "".join(
    f"epoch {n:3}  loss {2.3 / n:.4f}\n{'WARNING: the learning rate is low' if n % 9 == 0 else 'ok'}\n"
    for n in range(1, 60)
)
LOG = LINES + "Traceback (most recent call last):\nValueError: no such fold\n"


@dataclass(frozen=True)
class Place:
    """A page: what it is called here, its address, and who looks."""

    name: str
    path: str
    who: str = "ana"  # empty: a visitor


def furnish(ana: User) -> Workspace:
    """Make a workspace where something runs, waits, failed and ended, on clusters in several states."""
    workspace = create_workspace("vision-team", ana)
    empty = create_workspace("empty-team", ana)
    ensure_local(empty)
    ben = _people(workspace, ana)
    local = ensure_local(workspace)
    cluster = _clusters(workspace, ana, ben)
    _attached(workspace, ana, ben)
    _webhooks(workspace, ana)
    _draft(workspace, ana)
    cluster.scaling.create(before=0, after=2, cause="for run brave_lemur", took=timedelta(seconds=0.4))
    changes = {"before": {"nodes": [0, 4]}, "after": {"nodes": [1, 8]}}
    note(workspace, ana, "target.resize", cluster, kind="target", name=cluster.name, detail=changes)
    running = _runs(workspace, ana, ben, cluster, local)
    for state in (NodeState.IDLE, NodeState.PREPARING, NodeState.LEAVING, NodeState.UNUSABLE):
        make_node(cluster, state)
    now = timezone.now()
    samples.take(now - timedelta(minutes=5))
    samples.take(now)
    _boards(workspace, ana, running)
    _sign_in(workspace)
    _limits(workspace, ana, ben)
    return workspace


def _people(workspace: Workspace, ana: User) -> User:
    """Bring people, invitations and tokens; return Ben."""
    ben = User.objects.create_user("ben", "ben@example.org", "correct horse", first_name="Ben", last_name="Ortiz")
    set_role(workspace, ben, Role.DATA_SCIENTIST, by=ana)
    set_role(workspace, User.objects.create_user("rita", "rita@example.org", "correct horse"), Role.READER, by=ana)
    invite(workspace, "dora@example.org", Role.CONTRIBUTOR, by=ana)
    set_team(workspace, ben, make_team(workspace, "Detection", by=ana), by=ana)
    issue_token(workspace, ben, "nightly sweep", {Right.SUBMIT_RUN}, days=30)
    issue_token(workspace, ana, "monitor", set(), days=7)
    revoke_token(issue_token(workspace, ana, "an old one", set(), days=7)[0], by=ana)
    return ben


def _clusters(workspace: Workspace, ana: User, ben: User) -> ComputeTarget:
    """Make clusters, and return the one on which things run."""
    cluster = make_cluster(
        workspace,
        created_by=ana,
        max_nodes=8,
        min_nodes=1,
        tags={"team": "vision"},
        description="For the nightly sweeps.",
        identity={"type": "SystemAssigned"},
        config={"ssh": {"enabled": True, "admin_user": "azureuser", "public_key": "ssh-ed25519 AAAA ana@host"}},
        allocation_state=AllocationState.RESIZING,
    )
    make_cluster(workspace, "gpu-low", vm_size="Standard_NC6", vm_priority="LowPriority", created_by=ben)
    make_cluster(
        workspace,
        "leaving-soon",
        provisioning_state=ProvisioningState.DELETING,
        state_reason="ana deletes it; its runs end and its nodes leave.",
    )
    return cluster


def _attached(workspace: Workspace, ana: User, ben: User) -> None:
    """Attach a machine, and another whose host key changed."""
    attached = make_attached(workspace, ana)
    attached.examinations.update(by=ben)
    host_keys.block(make_attached(workspace, ana, "annex", "annex.example"), OTHER_KEY)


def _webhooks(workspace: Workspace, ana: User) -> None:
    """Make webhooks: one that works, and one with a delivery that failed and another that waits."""
    make_webhook(workspace, ana)
    failing, given_up = make_webhook(workspace, ana, name="teams", format="teams", problem="It answers 404 Not Found.")
    facts = {"state": "failed", "code": 404, "words": "no_team", "problem": "It answers 404 Not Found.", "attempts": 14}
    Delivery.objects.filter(pk=given_up.pk).update(**facts)
    Delivery.objects.create(notice=given_up.notice, webhook=failing, give_up_at=timezone.now() + timedelta(days=1))


def _draft(workspace: Workspace, ana: User) -> None:
    """Begin to attach a machine, with something that will not do."""
    draft = begin(workspace, "Tiny", by=ana)
    typed = {"name": "new-lab", "address": "not ubuntu", "authentication": "key", "resource_id": ""}
    keep(draft, typed=typed, config=typed, secrets={})
    make_key(draft)
    look(draft)
    looked_at(draft)


def _runs(workspace: Workspace, ana: User, ben: User, cluster: ComputeTarget, local: ComputeTarget) -> Run:
    """Make runs in all states, and return the one that runs."""
    snapshot, _facts = snapshots.from_text(workspace, "train.py", "import sys\n\nprint('hello', sys.argv)\n")
    digits = Experiment.objects.create(
        workspace=workspace, name="digits-svm", created_by=ana, description="Kernels compared.", tags={"data": "digits"}
    )

    like = {
        "workspace": workspace,
        "experiment": digits,
        "snapshot": snapshot,
        "target": cluster,
        "target_name": cluster.name,
        "submitted_by": ana,
        "config": {
            "script": "train.py",
            "arguments": ["--kernel", "rbf"],
            "variables": {"TOKEN": "s3cret"},
            "node_count": 1,
        },
        "tags": {"kernel": "rbf", "data": "digits"},
    }
    now = timezone.now()
    ended = {"started_at": now - timedelta(minutes=30), "ended_at": now - timedelta(minutes=9)}
    running = _run(
        like,
        1,
        "brave_lemur_7k2",
        RunStatus.RUNNING,
        started_at=now - timedelta(minutes=5),
        description="The second fold again.",
        properties={"azureml.git.commit": "4be1c07aa", "azureml.git.branch": "main", "azureml.git.dirty": "True"},
    )
    _attempt(running, JobState.RUNNING, LINES)
    failed = _run(
        like,
        2,
        "calm_otter_with_quite_a_long_name_x1",
        RunStatus.FAILED,
        exit_code=1,
        reason="train.py ended with exit code 1.",
        hint="The last lines of its log say why.",
        **ended,
    )
    _attempt(
        failed,
        JobState.ENDED,
        LOG,
        exit_code=1,
        end_reason=EndReason.EXITED,
        started_at=ended["started_at"],
        ended_at=ended["ended_at"],
        receipt={"signalled": [{"pid": 12, "name": "python", "signal": "TERM"}], "left": 0},
    )
    _attempt(_run(like, 3, "sly_fox_9c", RunStatus.COMPLETED, exit_code=0, **ended), JobState.ENDED, LINES, exit_code=0)
    _run(like, 4, "shy_mole_2d", RunStatus.QUEUED, reason="Waits for 1 node of cpu-cluster to start.", submitted_by=ben)
    _run(
        like,
        5,
        "keen_crow_5e",
        RunStatus.CANCELED,
        reason="ana canceled it.",
        target=local,
        target_name="local",
        **ended,
    )
    _run(like, 6, "child_of_lemur", RunStatus.COMPLETED, parent=running, exit_code=0, **ended)
    digits.last_number = 6
    digits.save()
    return running


def _run(like: dict[str, Any], number: int, name: str, status: RunStatus, **facts: Any) -> Run:
    """Make a run as `like`, but for `facts`; the later its number, the younger."""
    now = timezone.now()
    like = like | {"created_at": now - timedelta(minutes=42 - number)}
    one = Run.objects.create(
        number=number, run_id=f"digits-svm_{number}", display_name=name, status=status, **like | facts
    )
    one.events.create(old=RunStatus.STARTING, new=RunStatus.QUEUED, at=one.created_at + timedelta(seconds=2))
    if status != RunStatus.QUEUED:
        one.events.create(old=RunStatus.QUEUED, new=RunStatus.RUNNING, at=one.created_at + timedelta(seconds=30))
    if one.has_ended:
        one.events.create(old=RunStatus.RUNNING, new=status, at=one.ended_at or now)
    return one


def _attempt(of: Run, state: JobState, log: str, **facts: Any) -> None:
    """Give a run its attempt, with a log and an output."""
    assert of.target is not None
    job = make_job(of.target, state, placed_on=["tvm-0a1b2c3d4e5f"], **facts)
    job.run_id, job.run_name = of.run_id, of.display_name
    job.save()
    Attempt.objects.create(run=of, number=1, job=job)
    outputs = job.folder / "rank-0" / "outputs"
    outputs.mkdir(parents=True)
    (outputs / "scores.csv").write_text("fold,accuracy\n1,0.9722\n2,0.9750\n")
    logs.append(f"runs/{of.run_id}/1/std_log.txt", 0, log.encode())
    if state == JobState.RUNNING:
        make_node(of.target, NodeState.RUNNING, job=job)


def _boards(workspace: Workspace, ana: User, running: Run) -> None:
    """Make a dashboard with a curve, and one with nothing."""
    board = make_dashboard(workspace, "Overview", by=ana, overview=True)
    measured = {"of": "run", "name": running.run_id, "metric": "", "logarithmic": False}
    add_tile(board, "metric", options=measured, by=ana)
    values = "".join(f'{{"name": "loss", "value": {2 / n}, "step": {n}}}\n' for n in range(1, 40))
    (running.attempts.get().job.folder / "rank-0" / "outputs" / "metrics.jsonl").write_text(values)
    make_link(board, "screen in the lab", days=30, shows={Shows.NAMES}, by=ana)
    make_dashboard(workspace, "Nothing on it", by=ana)


def _sign_in(workspace: Workspace) -> None:
    """Bring an administrator of the studio, and a provider with a group."""
    root = User.objects.create_superuser("root", "root@example.org", "correct horse")
    contoso = Provider(name="Contoso", issuer="https://login.example/v2.0", client_id="studio", is_enabled=True)
    sign_in.keep_provider(contoso, "hush", by=root)
    rule = GroupRole(provider=contoso, group="0b1c", label="ML people", workspace=workspace, role=Role.READER)
    sign_in.map_group(rule, by=root)


def _limits(workspace: Workspace, ana: User, ben: User) -> None:
    """Set limits, and ask for more than they have."""
    limits = [Wanted("*", 64, workspace=workspace), Wanted("standardDv2Family", 24, workspace=workspace)]
    set_limits([*limits, Wanted("standardNCFamily", 0, workspace=workspace)], by=ana)
    more = Blocked(size="Standard_D2_v2", max_nodes=40)
    decline(ask(workspace, more, cores=80, reason="All folds.", back="", by=ben), answer="Use low priority.", by=ana)
    ask(workspace, more, cores=40, reason="The second fold.", back=f"/w/{workspace.name}/compute/create/", by=ben)


def places(ana: User, workspace: Workspace) -> list[Place]:
    """Return every page a person can open, tabs and empty ones too."""
    space, rest = workspace.name, []

    def of(name: str, *args: Any) -> str:
        return reverse(name, args=[space, *args])

    for tab in ("clusters", "instances", "attached", "local"):
        rest.append(Place(f"compute {tab}", f"{of('compute:list')}?tab={tab}"))
    for tab in ("overview", "nodes", "runs", "activity"):
        rest.append(Place(f"target {tab}", f"{of('compute:detail', 'cpu-cluster')}?tab={tab}"))
    for tab in ("overview", "connection", "activity"):
        rest.append(Place(f"attached {tab}", f"{of('compute:detail', 'lab')}?tab={tab}"))
    board = Dashboard.objects.filter(workspace=workspace).earliest("pk")
    by_link: dict[str, Any] = {"days": 30, "shows": set(Shows), "by": ana}
    draft = Examination.objects.filter(workspace=workspace, is_draft=True).latest("pk")
    wizard = "vm_size=Standard_DS3_v2&vm_priority=Dedicated&min_nodes=1&max_nodes=4&idle_seconds=120&name=new-cluster"
    for step in (1, 2, 3, 4):
        rest.append(Place(f"wizard {step}", f"{of('compute:create')}?step={step}&{wizard}"))
    for tab in ("logs", "details", "outputs", "snapshot", "children", "raw"):
        rest.append(Place(f"run {tab}", f"{of('runs:detail', 'digits-svm_1')}?tab={tab}"))
    return [
        Place("home", of("home")),
        Place("home of nothing", reverse("home", args=["empty-team"])),
        *rest,
        Place("compute of nothing", reverse("compute:list", args=["empty-team"])),
        Place("compute filtered", f"{of('compute:list')}?q=nothing-like-it"),
        Place("target local", of("compute:detail", "local")),
        Place("target scale", of("compute:scale", "cpu-cluster")),
        Place("target identity", of("compute:identity", "cpu-cluster")),
        Place("attach", of("compute:attach", "Tiny")),
        Place("attach draft", f"{of('compute:attach', 'Tiny')}?draft={draft.pk}"),
        Place("attach as reader", of("compute:attach", "Tiny"), "rita"),
        Place("attached changed key", of("compute:detail", "annex")),
        Place("attached edit", of("compute:connection", "lab")),
        Place("attached detach", of("compute:detach", "lab")),
        Place("target delete", of("compute:delete", "cpu-cluster")),
        Place("submit", of("runs:submit")),
        Place("submit like", f"{of('runs:submit')}?like=digits-svm_2"),
        Place("runs", of("runs:list")),
        Place("runs of nothing", reverse("runs:list", args=["empty-team"])),
        Place("runs filtered", f"{of('runs:list')}?q=nothing-like-it"),
        Place("run failed", of("runs:detail", "digits-svm_2")),
        Place("run failed details", f"{of('runs:detail', 'digits-svm_2')}?tab=details"),
        Place("run waiting", of("runs:detail", "digits-svm_4")),
        Place("run output", f"{of('runs:detail', 'digits-svm_1')}?tab=outputs&attempt=1&file=outputs/scores.csv"),
        Place("run file", f"{of('runs:detail', 'digits-svm_1')}?tab=snapshot&file=train.py"),
        Place("usage", of("runs:usage")),
        Place("usage of everybody", f"{of('runs:usage')}?whose=all&range=year"),
        Place("queue", of("runs:queue")),
        Place("queue of nothing", reverse("runs:queue", args=["empty-team"])),
        Place("queue as reader", of("runs:queue"), "rita"),
        Place("experiments", of("runs:experiments")),
        Place("experiments of nothing", reverse("runs:experiments", args=["empty-team"])),
        Place("experiment", of("runs:experiment", "digits-svm")),
        Place("search", f"{of('search')}?q=lemur"),
        Place("search nothing", f"{of('search')}?q=zebra"),
        Place("activity", of("activity")),
        Place("activity filtered", f"{of('activity')}?q=nothing-like-it"),
        Place("activity of one", f"{of('activity')}?object=workspace:{workspace.pk}"),
        Place("activity as reader", of("activity"), "rita"),
        Place("tokens", of("tokens")),
        Place("tokens of all", f"{of('tokens')}?of=all"),
        Place("tokens as reader", of("tokens"), "rita"),
        Place("dashboards", of("dashboards:list")),
        Place("dashboards of nothing", reverse("dashboards:list", args=["empty-team"])),
        Place("dashboard", of("dashboards:show", board.pk)),
        Place("dashboard arranged", f"{of('dashboards:show', board.pk)}?edit=1"),
        Place("dashboard empty", of("dashboards:show", board.pk + 1)),
        Place("dashboard shared", of("dashboards:share", board.pk)),
        Place("dashboard as reader", of("dashboards:show", board.pk), "rita"),
        Place("dashboard shared as reader", of("dashboards:share", board.pk), "rita"),
        Place("dashboard wall", of("dashboards:wall", board.pk)),
        Place("dashboard tile", of("dashboards:add_tile", board.pk, "metric")),
        Place("dashboard by link", reverse("dashboard_link", args=[make_link(board, "hall", **by_link)[1]]), ""),
        Place("dashboard by old link", reverse("dashboard_link", args=["old"]), ""),
        Place("members", of("members")),
        Place("api", reverse("api_page")),
        Place("settings", of("settings")),
        Place("notifications", of("notifications:webhooks")),
        Place("notifications of nothing", reverse("notifications:webhooks", args=["empty-team"])),
        Place("notifications as reader", of("notifications:webhooks"), "rita"),
        Place("webhook new", of("notifications:new")),
        Place("webhook", of("notifications:webhook", workspace.webhooks.get(name="ops").pk)),
        Place("webhook given up", of("notifications:webhook", workspace.webhooks.get(name="teams").pk)),
        Place("azure", of("compute:azure")),
        Place("quota", of("compute:quota")),
        Place("quota of nothing", f"{reverse('compute:quota', args=['empty-team'])}?all=1"),
        Place("quota opened", f"{of('compute:quota')}?open=standarddv2family-Dedicated"),
        Place("quota as reader", of("compute:quota"), "rita"),
        Place("quota uses", of("compute:quota_uses", "standarddv2family", "Dedicated")),
        Place("quota nodes", of("compute:quota_nodes", "cpu-cluster")),
        Place("quota limit", f"{of('compute:limit')}?of=workspace&family=standardDv2Family&cores=1"),
        Place("quota people", of("compute:quota_people")),
        Place("quota people as reader", of("compute:quota_people"), "rita"),
        Place("quota budget", f"{of('compute:budget')}?of=workspace"),
        Place("quota table", of("compute:import_limits")),
        Place("quota requests", of("compute:quota_requests")),
        Place("quota requests of nothing", reverse("compute:quota_requests", args=["empty-team"])),
        Place("quota request", of("compute:quota_request", QuotaRequest.objects.open().latest("pk").pk)),
        Place("quota ask", f"{of('compute:ask_quota')}?size=Standard_D2_v2&max_nodes=40"),
        Place("quota ask for nothing", f"{reverse('compute:ask_quota', args=['empty-team'])}?size=Standard_D2_v2"),
        Place("prices", of("compute:prices")),
        Place("prices as reader", of("compute:prices"), "rita"),
        Place("members as reader", of("members"), "rita"),
        Place("wizard as reader", of("compute:create"), "rita"),
        Place("run as reader", of("runs:detail", "digits-svm_1"), "rita"),
        Place("profile", reverse("profile")),
        Place("sign-in providers", reverse("sign_in_providers"), "root"),
        Place("sign-in provider", reverse("sign_in_provider", args=["contoso"]), "root"),
        Place("add sign-in provider", reverse("add_sign_in_provider"), "root"),
        Place("password again", reverse("account_reauthenticate")),
        Place("no such page", of("runs:detail", "no-such-run")),
        Place("password change", reverse("account_change_password")),
        Place("sign out", reverse("account_logout")),
        Place("sign in", reverse("account_login"), ""),
        Place("password reset", reverse("account_reset_password"), ""),
        Place("password reset done", reverse("account_reset_password_done"), ""),
        Place("by link", reverse("sign_in_by_link", args=[SignInLink.issue(ana)]), ""),
        Place("by old link", reverse("sign_in_by_link", args=["old"]), ""),
        Place("end of e-mails", reverse("unsubscribe", args=[leaving_token(ana)]), ""),
        Place("invitation too old", reverse("join", args=["old"]), ""),
        Place("nowhere", "/nowhere/", ""),
    ]
