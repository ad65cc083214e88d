import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.test import Client
from django.urls import reverse

from compute.engines import embedded
from compute.prices import actions as prices
from compute.prices.models import Unit
from compute.states import JobState
from compute.usage import record
from runs import usage
from runs.models import Attempt, Run
from studio.people.models import Team, User, Workspace
from tests.compute.clusters import make_cluster, make_job

MakeRun = Callable[..., Run]
SignIn = Callable[[User], Client]
NOON = datetime(2026, 3, 31, 12, tzinfo=UTC)


def use(run: Run, hours: float = 1, **facts: Any) -> None:
    """Let a run have an attempt of so many hours on its target."""
    assert run.target is not None
    number = run.attempts.count() + 1
    values = {"exit_code": 0, "end_reason": "exited", "spec": {"experiment": run.experiment.name}} | facts
    job = make_job(
        run.target, JobState.ENDED,
        started_at=NOON, ended_at=NOON + timedelta(hours=hours),
        submitted_by=run.submitted_by, attempt=number, **values,
    )  # fmt: skip
    Attempt.objects.create(run=run, number=number, job=job)
    record.ended(job)


def test_ones_own_usage_is_shown_and_everybodys_to_who_may(
    workspace: Workspace, ana: User, ben: User, make_run: MakeRun, as_user: SignIn
) -> None:
    host = embedded.this_host()
    prices.price_machine(workspace, host, Decimal("0.05"), Unit.CORE, by=ana)
    cluster = make_cluster(workspace, host=host)
    team = Team.objects.create(workspace=workspace, name="<script>")
    use(make_run("mine", target=cluster, experiment="digits"), 24, team=team)
    use(make_run("theirs", target=cluster, submitted_by=ben, experiment="digits"), 2)
    url = reverse("runs:usage", args=[workspace.name])
    march = {"since": "2026-03-01", "until": "2026-03-31"}

    def table(user: User, **asked: str) -> list[list[str]]:
        answer = as_user(user).get(url, march | asked | {"format": "csv"})
        assert answer.status_code == 200
        return list(csv.reader(answer.content.decode().splitlines()))[1:]

    assert [row[4:7] for row in table(ben, by="experiment")] == [["2.0000", "4.0000", "0.2000"]]
    assert [row[4:7] for row in table(ana, by="target")] == [["12.0000", "24.0000", "1.2000"]]
    assert [row[0] for row in table(ana, by="person", whose="all")] == ["ana", "ben"]
    assert {row[0] for row in table(ana, by="team", whose="all")} == {"<script>", "no team"}
    assert as_user(ben).get(url, {"whose": "all"}).status_code == 403
    assert as_user(ben).get(url, {"whose": "all", "format": "csv"}).status_code == 403
    page = as_user(ana).get(url, march | {"by": "team", "whose": "all"}).content.decode()
    assert "&lt;script&gt;" in page
    assert '<td class="wrap"><script>' not in page
    for wrong in ({"since": "2026-02-30"}, {"since": "a", "until": "b"}, {"by": "password"}, {"range": "x"}):
        assert as_user(ben).get(url, wrong).status_code == 200
    assert "Nothing was used in this time." in as_user(ben).get(url, {"range": "last"}).content.decode()


def test_a_cell_of_the_csv_is_no_formula(workspace: Workspace, ana: User, make_run: MakeRun, as_user: SignIn) -> None:
    run = make_run("mine", target=make_cluster(workspace))
    use(run, spec={"experiment": "=1+1"})
    asked = {"by": "experiment", "since": "2026-03-01", "until": "2026-03-31", "format": "csv"}
    answer = as_user(ana).get(reverse("runs:usage", args=[workspace.name]), asked)
    assert "\n'=1+1," in answer.content.decode()


def test_a_run_says_its_cost_its_childrens_and_what_a_preemption_lost(
    workspace: Workspace, ana: User, make_run: MakeRun, as_user: SignIn
) -> None:
    host = embedded.this_host()
    prices.price_machine(workspace, host, Decimal("0.06"), Unit.NODE, by=ana)
    cluster = make_cluster(workspace, host=host)
    sweep = make_run("sweep", target=cluster)
    child = make_run("child", target=cluster, parent=sweep)
    use(child, 0.5, end_reason="preempted", exit_code=None)
    use(child, 2)
    use(make_run("other child", target=cluster, parent=sweep), 1)
    assert usage.of_run(sweep).jobs == 0
    whole = usage.of_run(sweep, with_children=True)
    assert (whole.jobs, whole.node_hours, whole.usd) == (3, Decimal("3.5"), Decimal("0.21"))
    assert host.name in whole.rests_on
    assert "list price, eastus" in whole.azure_rests_on
    page = as_user(ana).get(reverse("runs:detail", args=[workspace.name, child.run_id]) + "?tab=details")
    text = page.content.decode()
    assert "restarted, not resumed: 30 m 0 s of work and $0.03 were lost" in text
    assert "$0.15" in text
