"""Programs ask for higher limits, and read prices, teams and what everybody may have."""

from datetime import date
from decimal import Decimal

from compute.prices.actions import price_size
from compute.quotas.actions import set_budget
from compute.quotas.models import Limit, QuotaRequest
from studio.people.actions import make_team
from studio.people.models import Activity
from studio.people.permissions import Right
from tests.api.test_answers import problem


def rows_of(ours, path):
    """Return all rows of a list, part by part."""
    said = ours.get(path).json()
    return said["items"] + (rows_of(ours, said["next"]) if said["next"] else [])


def test_a_program_asks_for_more_changes_its_mind_and_an_owner_answers_in_the_browser(
    program, ana, ben, as_user, workspace
):
    limit = Limit.objects.create(workspace=workspace, family="*", cores=20)
    bens = program(ben)
    made = bens.post(
        "quotas/requests", {"cores": 40, "reason": " <script>sweep</script> ", "vm_size": "standard_d2_v2"}
    )
    assert made.status_code == 201, made.content
    path = f"quotas/requests/{made.json()['id']}"
    assert made["Location"] == f"/api/v1/w/vision-team/{path}"
    said = bens.get(path).json()
    assert (said["state"], said["who"], said["limit"], said["cores"]) == ("open", "vision-team", 20, 40)
    assert (said["reason"], said["may_answer"]) == ("<script>sweep</script>", False)
    assert said["blocked"]["vm_size"] == "Standard_D2_v2"
    again = bens.post("quotas/requests", {"cores": 48, "reason": "A sweep.", "vm_size": "Standard_D2_v2"})
    assert again.json()["id"] == said["id"], "the same again changes the request there is"
    problem(program(ana).get(path), 404)  # no token answers requests, so none sees other people's
    assert program(ana).get("quotas/requests").json()["items"] == []
    browser, url = as_user(ana), f"/api/v1/w/{workspace.name}/{path}"
    assert browser.get(url).json()["may_answer"] is True
    for verb, sent, status in (
        ("approve", {"cores": 48, "version": limit.version + 7}, 409),
        ("approve", {"cores": 10}, 409),
        ("approve", {"cores": 10**9}, 422),
        ("decline", {"answer": ""}, 422),
        ("decline", {"answer": "  "}, 409),
        ("withdraw", {}, 404),
    ):
        problem(browser.post(f"{url}/{verb}", sent, content_type="application/json"), status)
    granted = {"cores": 48, "version": limit.version, "answer": "Until June."}
    done = browser.post(f"{url}/approve", granted, content_type="application/json")
    assert (done.json()["state"], done.json()["granted"], done.json()["limit"]) == ("approved", 48, 48)
    problem(browser.post(f"{url}/decline", {"answer": "No."}, content_type="application/json"), 409)
    problem(bens.post(f"{path}/withdraw"), 409)
    second = bens.post("quotas/requests", {"cores": 64, "reason": "More."}).json()["id"]
    assert bens.post(f"quotas/requests/{second}/withdraw").json()["state"] == "withdrawn"
    first, one = bens.get("quotas/requests?limit=1").json(), bens.get("quotas/requests?state=approved").json()
    assert [row["id"] for row in rows_of(bens, "quotas/requests?limit=1")] == [second, said["id"]]
    assert (first["items"][0]["id"], one["items"][0]["answer"]) == (second, "Until June.")
    assert Activity.objects.filter(verb__startswith="quota.", token="program").count() == 4


def test_what_is_asked_for_wrongly_is_named_and_nothing_is_asked(program, ben, workspace):
    Limit.objects.create(workspace=workspace, family="*", cores=20)
    bens = program(ben)
    for changes, field in (
        ({"cores": "40"}, "cores"),
        ({"cores": -1}, "cores"),
        ({"reason": " "}, "reason"),
        ({"vm_size": "Standard_X"}, "vm_size"),
        ({"family": "nothing"}, "family"),
        ({"min_nodes": 1.5}, "min_nodes"),
        ({"back": "/w/vision-team/"}, "back"),
    ):
        answer = bens.post("quotas/requests", {"cores": 40, "reason": "A sweep.", **changes})
        assert problem(answer, 422)["errors"][0]["field"] == field
    problem(bens.post("quotas/requests", {"cores": 40, "reason": "A sweep.", "target": "nowhere"}), 404)
    problem(bens.post("quotas/requests", {"cores": 40, "reason": "A sweep.", "run_id": "none"}), 404)
    problem(bens.post("quotas/requests", {"cores": 20, "reason": "That much is there."}), 409)
    problem(program(ben, Right.VIEW).post("quotas/requests", {"cores": 40, "reason": "A sweep."}), 403)
    assert not QuotaRequest.objects.exists()


def test_prices_say_who_set_them_of_which_day_and_what_is_listed(program, ana, workspace):
    day = date(2025, 3, 1)
    price_size(workspace, "Standard_D1_v2", "Dedicated", Decimal("0.05"), region="westeurope", as_of=day, by=ana)
    ours = program(ana)
    rows = rows_of(ours, "prices?limit=150")
    assert len({(row["of"], row["name"], row["priority"]) for row in rows}) == len(rows) > 150
    (one,) = [row for row in rows if row["name"] == "Standard_D1_v2" and row["priority"] == "Dedicated"]
    assert (one["source"], one["region"], one["as_of"], one["currency"]) == ("owner", "westeurope", "2025-03-01", "USD")
    assert (Decimal(one["usd_per_hour"]), one["set_by"]) == (Decimal("0.05"), "ana")
    assert Decimal(one["list_usd_per_hour"]) > Decimal("0.05")
    assert {row["source"] for row in rows if row["of"] == "size"} == {"owner", "list"}
    assert {row["of"] for row in ours.get("prices?of=machine").json()["items"]} <= {"machine"}
    problem(ours.get("prices?of=planet"), 422)
    problem(ours.get("prices?cursor=WzFd"), 422)


def test_shares_name_teams_and_people_and_costs_only_for_who_may_see_them(program, ana, ben, workspace):
    team = make_team(workspace, "Vision", by=ana)
    workspace.memberships.filter(user=ben).update(team=team)
    Limit.objects.create(workspace=workspace, team=team, family="*", cores=8, guaranteed=4)
    set_budget(workspace, Decimal(100), by=ana, team=team, version=0)
    set_budget(workspace, Decimal(10), by=ana, person=ben, version=0)
    (row,) = program(ben).get("teams").json()["items"]
    assert (row["id"], row["name"], row["members"]) == (team.pk, "Vision", ["ben"])
    of_ana = {row["who"]: row for row in program(ana).get("quotas/shares").json()["items"]}
    of_ben = {row["who"]: row for row in program(ben).get("quotas/shares").json()["items"]}
    assert (of_ana["Vision"]["scope"], of_ana["Vision"]["limit"], of_ana["Vision"]["guaranteed"]) == ("team", 8, 4)
    assert Decimal(of_ana["Vision"]["budget"]["usd_per_month"]) == 100
    assert (of_ben["Vision"]["usd"], of_ben["Vision"]["budget"], of_ben["Vision"]["limit"]) == (None, None, 8)
    assert of_ben["ben"]["budget"]["is_used_up"] is False
    problem(program(ben).get("quotas/shares?family=nothing"), 422)
    lines = program(ben).get("quotas").json()["items"]
    assert {line["scope"] for line in lines} == {"subscription", "workspace"}
    assert {line["family"] for line in lines} > {"*"}
