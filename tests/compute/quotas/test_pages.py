"""The pages of sizes and quota: what is shown to whom, editing in place, and two who edit at once."""

import re
from collections.abc import Callable
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from compute.models import ComputeTarget
from compute.quotas import ledger
from compute.quotas.models import Budget, Limit
from compute.states import JobState
from studio.people.actions import create_workspace, make_team
from studio.people.models import User, Workspace
from tests.compute.clusters import make_cluster, make_job
from tests.compute.quotas.accounts import hold, limit, words

pytestmark = pytest.mark.django_db
HTMX = {"HX-Request": "true"}


@pytest.fixture
def owner(ana: User, as_user: Callable[[User], Client]) -> Client:
    return as_user(ana)


@pytest.fixture
def cluster(workspace: Workspace) -> ComputeTarget:
    return make_cluster(workspace, min_nodes=4, max_nodes=10)


def test_it_shows_what_is_used_of_each_limit_and_by_whom(
    ana: User, ben: User, cleo: User, workspace: Workspace, cluster: ComputeTarget, owner: Client
) -> None:
    elsewhere = create_workspace("secret-lab", cleo)
    hold(make_cluster(elsewhere, "hidden-cluster"), 3)
    limit(24, "standarddv2family"), limit(16, "standarddv2family", workspace)
    nodes = hold(cluster, 4)
    job = make_job(cluster, submitted_by=ben)
    ledger.assign(job, [nodes[0].pk, nodes[1].pk], borrowed=True)
    url = reverse("compute:quota", args=[workspace.name])
    page = owner.get(url)
    said = words(page)
    assert "Whole studio" in said
    assert "14 of 24 4 by runs · 4 borrowed · 10 free" in said
    assert "8 of 16 4 by runs · 4 borrowed · 8 free" in said
    assert "no limit" in said
    assert "-1" not in said
    assert "families without use or limit" in said
    assert "NCsv3" not in said
    assert "NCsv3" in words(owner.get(f"{url}?all=1"))
    opened = words(owner.get(f"{url}?open=standarddv2family-Dedicated"))
    assert "cpu-cluster" in opened
    assert "its minimum keeps 8" in opened
    assert "other workspaces 6" in opened
    assert "secret-lab" not in opened
    assert "hidden-cluster" not in opened
    assert "Standard_D2_v2" in opened
    nodes_url = reverse("compute:quota_nodes", args=[workspace.name, cluster.name])
    assert f"{job.run_name} ben borrowed" in words(owner.get(nodes_url, headers=HTMX))
    shown = "all-Dedicated,standarddv2family-Dedicated"
    figures = owner.get(f"{url}?part=figures&shown={shown}", headers=HTMX).content.decode()
    assert figures.count("hx-swap-oob") == 4
    assert 'id="figures-workspace-standarddv2family-Dedicated" hx-swap-oob="true"' in figures
    for family, priority in (("no-such", "Dedicated"), ("all", "Never")):
        assert owner.get(reverse("compute:quota_uses", args=[workspace.name, family, priority])).status_code == 404


def test_who_is_affected_is_said_before_and_a_minimum_is_not_gone_below(
    owner: Client, workspace: Workspace, cluster: ComputeTarget, ben: User
) -> None:
    url = reverse("compute:limit", args=[workspace.name])
    which = {"of": "workspace", "family": "standarddv2family", "priority": "Dedicated"}
    seen = words(owner.get(url, which | {"part": "preview", "cores": "7"}, headers=HTMX))
    assert "cpu-cluster needs 8 cores at its minimum: cannot go below." in seen
    limit(30, "standarddv2family", workspace), limit(20, "standarddv2family", workspace, person=ben)
    hold(cluster, 8)
    seen = words(owner.get(url, which | {"part": "preview", "cores": "12", "version": "1"}, headers=HTMX))
    assert "16 cores are in use: nothing is stopped, and nothing more starts until fewer than 13 are." in seen
    assert "Grow less far: cpu-cluster (6 of 10 nodes)." in seen
    assert "count no further: ben (20)." in seen
    answer = owner.post(url, which | {"cores": "7", "version": "1"}, headers=HTMX)
    assert answer.status_code == 422
    assert "cannot go below" in words(answer)
    for wrong in ("-1", "1.5", "many", "99999999", "١٢x"):
        answer = owner.post(url, which | {"cores": wrong, "version": "1"}, headers=HTMX)
        assert answer.status_code == 422, wrong
    assert Limit.objects.get(workspace=workspace, person=None).cores == 30
    answer = owner.post(url, which | {"cores": "12", "version": "1"}, headers=HTMX)
    assert (answer.status_code, answer["HX-Trigger"]) == (200, "quota:moved")
    assert Limit.objects.get(workspace=workspace, person=None).cores == 12
    assert owner.post(url, which | {"cores": "", "version": "2"}).status_code == 302
    assert Limit.objects.get(workspace=workspace, person=None).cores is None


def test_the_later_of_two_administrators_sees_what_the_other_set_and_decides(
    ana: User, owner: Client, workspace: Workspace
) -> None:
    one = limit(30, workspace=workspace)
    url, which = reverse("compute:limit", args=[workspace.name]), {"of": "workspace", "family": "*"}
    assert owner.post(url, which | {"cores": "40", "version": "1"}).status_code == 302
    answer = owner.post(url, which | {"cores": "50", "version": "1"}, headers=HTMX)
    assert answer.status_code == 422
    assert "ana set it to 40 meanwhile. Look at it again, and decide." in words(answer)
    assert 'name="version" value="2"' in answer.content.decode()
    one.refresh_from_db()
    assert one.cores == 40
    assert owner.post(url, which | {"cores": "50", "version": "2"}).status_code == 302


def test_the_whole_studios_limits_are_its_administrators(
    ana: User, owner: Client, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    url, which = reverse("compute:limit", args=[workspace.name]), {"of": "studio", "family": "*"}
    assert owner.post(url, which | {"cores": "40"}).status_code == 403
    User.objects.filter(pk=ana.pk).update(is_superuser=True)
    assert as_user(User.objects.get(pk=ana.pk)).post(url, which | {"cores": "40"}).status_code == 302
    assert Limit.objects.get(workspace=None).cores == 40


def test_teams_and_people_with_what_they_have_use_wait_for_and_may_spend(
    ana: User, ben: User, rita: User, workspace: Workspace, cluster: ComputeTarget, owner: Client,
    as_user: Callable[[User], Client],
) -> None:  # fmt: skip
    team = make_team(workspace, "Vision", by=ana)
    nodes = hold(cluster, 2)
    job = make_job(cluster, submitted_by=ben, team=team)
    ledger.assign(job, [node.pk for node in nodes])
    make_job(cluster, JobState.WAITING, submitted_by=ben, team=team, node_count=3)
    url = reverse("compute:limit", args=[workspace.name])
    for of, guaranteed in ((f"team-{team.pk}", "8"), (f"person-{ben.pk}", "2")):
        sent = {"of": of, "family": "*", "cores": "20", "guaranteed": guaranteed}
        assert owner.post(url, sent).status_code == 302
    page = owner.get(reverse("compute:quota_people", args=[workspace.name]))
    rows = [_plain(row) for row in re.findall(r"<tr>.*?</tr>", page.content.decode(), re.S)]
    assert any(row.startswith("Vision team 8 20 4 0 6") for row in rows)
    assert any(row.startswith("ben 2 20 4 0 6") for row in rows)
    more = owner.post(url, {"of": f"team-{team.pk}", "cores": "2", "guaranteed": "8", "version": "1"}, headers=HTMX)
    assert (more.status_code, "More cannot be guaranteed than is allowed." in words(more)) == (422, True)
    for stranger in ("team-999", "person-999", "person-x", "team-", "nobody-1"):
        assert owner.post(url, {"of": stranger, "cores": "2"}).status_code == 404
    money = reverse("compute:budget", args=[workspace.name])
    assert owner.post(money, {"of": f"team-{team.pk}", "usd": "99.50"}).status_code == 302
    assert Budget.objects.get().usd_per_month == Decimal("99.50")
    again = owner.post(money, {"of": f"team-{team.pk}", "usd": "120", "version": "0"})
    assert again.status_code == 422
    assert "Somebody changed this budget meanwhile: it is 99.50 USD." in words(again)
    assert 'name="version" value="1"' in again.content.decode()
    for wrong in ("-1", "much", "1e99", "NaN"):
        assert owner.post(money, {"of": "workspace", "usd": wrong}).status_code == 422, wrong
    assert owner.post(money, {"of": f"team-{team.pk}", "override": "on"}).status_code == 302
    assert Budget.objects.get().overridden_for
    assert "$99.50" in words(owner.get(reverse("compute:quota_people", args=[workspace.name])))
    assert "$99.50" not in words(as_user(rita).get(reverse("compute:quota_people", args=[workspace.name])))


def _plain(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", html).split())
