"""Requests for more: from what was blocked to the answer."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.http import urlencode

from compute.quotas.asking import Blocked, approve, ask, ask_url, decline, safe_back, withdraw
from compute.quotas.models import Limit, QuotaRequest
from studio.errors import NeedsRight, NotAllowedNow
from studio.people.actions import create_workspace, set_role
from studio.people.models import Activity, User, Workspace
from studio.people.permissions import Role
from tests.compute.quotas.accounts import limit

pytestmark = pytest.mark.django_db
MORE = Blocked(size="Standard_D2_v2", max_nodes=40)


@pytest.fixture
def limited(workspace: Workspace) -> Limit:
    return limit(24, workspace=workspace)


def asked(workspace: Workspace, by: User, **facts: Any) -> QuotaRequest:
    given: dict[str, Any] = {"cores": 80, "reason": "A sweep.", "back": ""}
    return ask(workspace, MORE, by=by, **given | facts)


def test_what_was_blocked_arrives_with_the_request_and_approving_raises_the_limit(
    ana: User, ben: User, workspace: Workspace, limited: Limit, as_user: Callable[[User], Client]
) -> None:
    back = f"/w/{workspace.name}/compute/create/?step=2&name=%3Cscript%3E&max_nodes=40"
    address = ask_url(workspace, back=back, size="Standard_D2_v2", max_nodes=40)
    bens, anas = as_user(ben), as_user(ana)
    page = bens.get(address).content.decode()
    assert "24 of 24 cores of vision-team left; this needs 80." in page
    assert 'value="80"' in page
    sent = {"size": "Standard_D2_v2", "max_nodes": "40", "back": back, "cores": "80", "reason": "<script>x</script>"}
    answer = bens.post(reverse("compute:ask_quota", args=[workspace.name]), sent)
    assert answer.status_code == 302
    one = QuotaRequest.objects.get()
    assert (one.asked_by, one.cores, one.limit_was, one.blocked["max_nodes"]) == (ben, 80, 24, 40)
    page = anas.get(answer["Location"]).content.decode()
    assert "From 24 to 80 cores of vision-team" in page
    assert "<script>x" not in page
    assert anas.post(answer["Location"], {"action": "approve", "cores": "60", "version": "1"}).status_code == 302
    limited.refresh_from_db()
    one.refresh_from_db()
    assert (limited.cores, one.granted, one.answered_by) == (60, 60, ana)
    page = bens.get(answer["Location"]).content.decode()
    assert "Approved: 60 cores" in page
    assert f'href="{back.replace("&", "&amp;")}"' in page
    assert list(Activity.objects.filter(verb__startswith="quota.").order_by("pk").values_list("verb", flat=True)) == [
        "quota.ask",
        "quota.approve",
    ]


def test_the_same_request_twice_is_one(ben: User, workspace: Workspace, limited: Limit) -> None:
    first = asked(workspace, ben)
    assert asked(workspace, ben, cores=100, reason="Two sweeps.") == first
    first.refresh_from_db()
    assert (first.cores, first.reason) == (100, "Two sweeps.")
    withdraw(first, by=ben)
    assert asked(workspace, ben) != first


def test_who_may_ask_answer_and_take_back(
    ana: User, ben: User, rita: User, cleo: User, workspace: Workspace, limited: Limit
) -> None:
    with pytest.raises(NeedsRight):
        asked(workspace, rita)
    with pytest.raises(NeedsRight):
        asked(workspace, cleo)
    one = asked(workspace, ben)
    set_role(workspace, rita, Role.CONTRIBUTOR, by=ana)
    for verb in (lambda: approve(one, cores=80, by=rita), lambda: decline(one, answer="No.", by=ben)):
        with pytest.raises(NeedsRight):
            verb()
    with pytest.raises(NeedsRight):
        withdraw(one, by=ana)
    with pytest.raises(NotAllowedNow, match="Say why"):
        decline(one, answer="  ", by=ana)
    decline(one, answer="Use low priority.", by=ana)
    for again in (lambda: approve(one, cores=80, by=ana), lambda: withdraw(one, by=ben)):
        with pytest.raises(NotAllowedNow, match="closed already: ana, Declined"):
            again()
    limited.refresh_from_db()
    assert limited.cores == 24


def test_the_limit_was_changed_while_the_answer_was_thought_of(
    ana: User, ben: User, workspace: Workspace, limited: Limit, as_user: Callable[[User], Client]
) -> None:
    one = asked(workspace, ben)
    url = reverse("compute:quota_request", args=[workspace.name, one.pk])
    Limit.objects.filter(pk=limited.pk).update(cores=70, version=2, updated_by=ben)
    answer = as_user(ana).post(url, {"action": "approve", "cores": "80", "version": "1"})
    assert answer.status_code == 422
    assert "ben set it to 70 meanwhile." in answer.content.decode()
    with pytest.raises(NotAllowedNow, match="approving raises it"):
        approve(one, cores=60, by=ana)
    limit(75)  # of the whole studio
    with pytest.raises(NotAllowedNow, match="more than the 75 of the whole studio"):
        approve(one, cores=80, by=ana)
    one.refresh_from_db()
    assert one.state == "open"
    for wrong in ("-1", "1.5", "many", "99999999999", ""):
        assert as_user(ana).post(url, {"action": "approve", "cores": wrong}).status_code == 422


def test_the_limit_of_the_whole_studio_is_raised_by_its_administrators(
    ana: User, ben: User, cleo: User, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    whole = limit(24)
    one = asked(workspace, ben)
    url = reverse("compute:quota_request", args=[workspace.name, one.pk])
    assert "its administrators answer" in as_user(ana).get(url).content.decode()
    assert as_user(ana).post(url, {"action": "approve", "cores": "80"}).status_code == 403
    elsewhere = create_workspace("elsewhere", cleo)
    theirs = reverse("compute:quota_request", args=[elsewhere.name, one.pk])
    assert as_user(cleo).get(theirs).status_code == 404
    User.objects.filter(pk=cleo.pk).update(is_superuser=True)
    assert as_user(User.objects.get(pk=cleo.pk)).post(theirs, {"action": "approve", "cores": "80"}).status_code == 302
    whole.refresh_from_db()
    assert whole.cores == 80


def test_each_sees_their_own_and_owners_all(
    ana: User, ben: User, rita: User, workspace: Workspace, limited: Limit, as_user: Callable[[User], Client]
) -> None:
    set_role(workspace, rita, Role.DATA_SCIENTIST, by=ana)
    one = asked(workspace, ben, reason="Only for ben and owners.")
    url = reverse("compute:quota_requests", args=[workspace.name])
    for who, sees in ((ana, True), (ben, True), (rita, False)):
        assert ("Only for ben" in as_user(who).get(url).content.decode()) is sees
    assert as_user(rita).get(f"{url}{one.pk}/").status_code == 404


@pytest.mark.parametrize("cores", ["", "-5", "24", "1.5", "1e3", "many", "1000001", "9" * 30])
def test_what_is_no_higher_limit_is_refused_in_words(
    ben: User, workspace: Workspace, limited: Limit, as_user: Callable[[User], Client], cores: str
) -> None:
    url = reverse("compute:ask_quota", args=[workspace.name])
    answer = as_user(ben).post(url, {"family": "*", "cores": cores, "reason": "A sweep."})
    assert answer.status_code == 422
    assert 'id="ask_cores_error"' in answer.content.decode()
    assert not QuotaRequest.objects.exists()


def test_nothing_is_asked_for_where_nothing_is_limited(
    ben: User, workspace: Workspace, as_user: Callable[[User], Client]
) -> None:
    url = f"{reverse('compute:ask_quota', args=[workspace.name])}?{urlencode({'family': 'no such', 'max_nodes': '-3'})}"
    assert "No limit stands in the way of this." in as_user(ben).get(url).content.decode()


def test_names_that_are_none_are_as_if_they_were_not_said(
    ben: User, workspace: Workspace, limited: Limit, as_user: Callable[[User], Client]
) -> None:
    for name in ("a/b", "../..", "<script>", "\0", "ñ" * 30):
        strange = {"size": "Standard_D2_v2", "max_nodes": "20", "target": name, "run": name}
        url = f"{reverse('compute:ask_quota', args=[workspace.name])}?{urlencode(strange)}"
        assert as_user(ben).get(url).status_code == 200, name


def test_one_goes_back_to_a_page_of_the_workspace_and_nowhere_else(workspace: Workspace) -> None:
    good = f"/w/{workspace.name}/compute/create/?step=2"
    assert safe_back(workspace, good) == good
    for bad in (
        "https://evil.example/",
        "//evil.example",
        "/w/other/",
        "javascript:alert(1)",
        "/w/vision-team",
        f"{good}\0",
    ):
        assert safe_back(workspace, bad) == ""
