"""Badges: what an image shows to anybody, until it is revoked or too old; and nothing else by the same link."""

import xml.etree.ElementTree as ET
from datetime import timedelta

import pytest
from django.core.signing import Signer
from django.test import Client
from django.utils import timezone

from compute.states import NodeState
from runs.models import Run
from studio.api import badges
from studio.api.models import Badge
from studio.people.models import Activity
from studio.people.permissions import Role
from tests.api.test_answers import make_runs
from tests.compute.clusters import make_cluster, make_node


@pytest.fixture
def run(workspace, ana):
    run = make_runs(workspace, 1, display_name="secret_lemur", submitted_by=ana, target_name="host-of-ana")[0]
    return Run.objects.select_related("workspace").get(pk=run.pk)


def words(svg):
    return [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314


def test_anybody_sees_the_state_and_no_name(run, ana):
    badge = badges.make(run, by=ana, days=30)
    client = Client()
    client.force_login(ana)
    answer = client.get(badge.path)
    assert words(answer.content) == ["run", "Completed"]
    assert answer["Content-Type"] == "image/svg+xml"
    assert not any(name in answer.text for name in ("lemur", ">ana", "host", "digits", "vision", "train"))
    assert Client().get(badge.path.replace(".svg", ".txt")).text == "run: Completed\n"
    assert answer["Content-Security-Policy"] == "default-src 'none'; sandbox"
    assert answer["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer["Cache-Control"] == "public, max-age=60"
    assert not {"X-Frame-Options", "Vary", "Set-Cookie"} & set(answer.headers)
    assert not answer.cookies


def test_it_moves_with_the_run_and_saves_its_body(run, ana):
    badge = badges.make(run, by=ana, days=30)
    first = Client().get(badge.path)
    again = Client().get(badge.path, headers={"If-None-Match": first["ETag"]})
    assert (again.status_code, again["Cross-Origin-Resource-Policy"]) == (304, "cross-origin")
    Run.objects.update(status="Failed")
    assert words(Client().get(badge.path, headers={"If-None-Match": first["ETag"]}).content) == ["run", "Failed"]


def test_a_badge_of_a_cluster_says_what_the_list_says_until_it_is_gone(workspace, ana):
    cluster = make_cluster(workspace, "cpu-cluster")
    make_node(cluster, NodeState.IDLE)
    badge = badges.make(cluster, by=ana, days=30)
    assert words(Client().get(badge.path).content) == ["compute", "Idle"]
    cluster.deleted_at = timezone.now()
    cluster.save()
    make_cluster(workspace, "cpu-cluster")
    assert words(Client().get(badge.path).content) == ["compute", "Deleted"]


def test_links_that_are_guessed_old_or_revoked_are_answered_alike(run, ana):
    badge, old = badges.make(run, by=ana, days=30), badges.make(run, by=ana, days=30)
    Badge.objects.filter(pk=old.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    path, revoked = badge.path, badges.make(run, by=ana, days=30)
    badges.revoke(revoked, by=ana)
    forged = Signer(sep="~", salt="studio.dashboard").sign(str(badge.pk))
    tries = [old.path, revoked.path, f"/badges/{forged}.svg", f"/badges/{badge.pk}.svg", f"/badges/{'9' * 400}.svg"]
    tries += [path.replace(f"/{badge.pk}~", f"/{old.pk}~"), "/badges/~.svg", f"/badges/{badge.pk}~é.svg"]
    answers = [Client().get(one) for one in tries]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, b"There is no such badge.\n")}
    assert Client().get(path).status_code == 200
    assert Client().post(path).status_code == 405


def test_a_link_opens_nothing_but_its_image(run, ana):
    token = badges.make(run, by=ana, days=30).token
    assert Client().get("/api/v1/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401
    assert Client().get(f"/w/vision-team/runs/{run.run_id}/?badge={token}").status_code == 302
    assert Client().get(f"/join/{token}/").status_code == 410


def test_badges_are_made_and_revoked_on_the_page_and_written_down(run, ana, rita, as_user):
    page = f"/w/vision-team/runs/{run.run_id}/?tab=details"
    client = as_user(ana)
    sent = {"kind": "run", "name": run.run_id, "days": "365"}
    answer = client.post("/w/vision-team/badges/", sent, follow=True)
    badge = Badge.objects.get()
    assert badge.expires_at > timezone.now() + timedelta(days=364)
    assert f"![run]({badge.address})" in answer.text
    assert badge.path in as_user(rita).get(page).text
    assert "This needs the role" in as_user(rita).get(page).text
    client.post(f"/w/vision-team/badges/{badge.pk}/revoke/")
    assert badge.path not in client.get(page).text
    assert list(Activity.objects.filter(verb__startswith="badge").values_list("verb", "object_name")) == [
        ("badge.revoke", "secret_lemur"),
        ("badge.make", "secret_lemur"),
    ]
    for wrong in ({"kind": "person", "name": "ana"}, {"kind": "run", "name": "nowhere"}, {}):
        assert client.post("/w/vision-team/badges/", wrong).status_code == 404


def test_there_are_only_so_many_of_one_thing(run, ana, member, as_user, monkeypatch):
    monkeypatch.setattr(badges, "MOST", 1)
    sent = {"kind": "run", "name": run.run_id}
    client = as_user(member("carla", Role.CONTRIBUTOR))
    assert client.post("/w/vision-team/badges/", sent).status_code == 302
    assert client.post("/w/vision-team/badges/", sent).status_code == 409


def test_what_is_drawn_is_well_formed_whatever_it_says():
    assert words(badges._svg("<script>", '"&]]>', "bad")) == ["<script>", '"&]]>']
