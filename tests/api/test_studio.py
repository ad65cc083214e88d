"""What programs are told of the studio, of their tokens, of what is mailed and of webhooks: no secret, and no more."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from studio.notifications.models import Delivery, MailChoice
from studio.people.actions import issue_token
from studio.people.models import Activity, Allowance, ApiToken
from studio.people.permissions import Right
from tests.api.test_answers import problem
from tests.studio.notifications.things import make_webhook


def test_a_token_is_told_of_itself_and_ends_itself_alone(program, ana, ben, as_user, workspace):
    other, word = issue_token(workspace, ana, "other", {Right.SUBMIT_RUN}, days=30)
    of_ben, _word = issue_token(workspace, ben, "ben's", set(), days=30)
    ours = program(ana, Right.VIEW)
    answer = ours.get("tokens")
    assert [(one["name"], one["rights"], one["username"]) for one in answer.json()["items"]] == [
        ("program", ["view"], "ana")
    ]
    for said in (answer, as_user(ana).get("/api/v1/w/vision-team/tokens")):
        assert word not in said.text
        assert other.token_sha256 not in said.text
    problem(ours.get("tokens?whose=all"), 403)
    for token in (other, of_ben):
        problem(ours.ask("DELETE", f"tokens/{token.pk}"), 404)
    own = answer.json()["items"][0]["id"]
    assert ours.ask("DELETE", f"tokens/{own}").status_code == 204
    problem(ours.get(), 401)
    assert Activity.objects.get(verb="token.revoke").token == "program"
    assert list(ApiToken.objects.filter(revoked_at=None).order_by("pk")) == [other, of_ben]


def names(answer):
    return [one["name"] for one in answer.json()["items"]]


def test_who_is_signed_in_sees_their_tokens_an_owner_everybodys_and_each_ends_their_own(ana, ben, as_user, workspace):
    mine, _word = issue_token(workspace, ben, "mine", set(), days=30)
    issue_token(workspace, ana, "hers", set(), days=30)
    path = "/api/v1/w/vision-team/tokens"
    assert names(as_user(ben).get(path)) == ["mine"]
    problem(as_user(ben).get(f"{path}?whose=all"), 403)
    first = as_user(ana).get(f"{path}?whose=all&limit=1")
    assert names(first) == ["hers"]
    assert names(as_user(ana).get(first.json()["next"])) == ["mine"]
    for _ in range(2):  # once is enough
        assert as_user(ben).delete(f"{path}/{mine.pk}").status_code == 204
    assert Activity.objects.filter(verb="token.revoke").count() == 1


def test_everybody_sees_how_webhooks_fare_and_an_owner_what_was_sent(program, ana, rita, as_user, queued, workspace):
    webhook, delivery = make_webhook(workspace, ana, problem="It does not answer.")
    row = program(rita).get("notifications/webhooks").json()["items"][0]
    assert (row["name"], row["state"], row["address"]) == ("ops", "failing", "hooks.slack.com/…wxyz")
    assert "events" not in row
    base = f"/api/v1/w/vision-team/notifications/webhooks/{webhook.pk}"
    problem(program(ana).get(base), 403)  # to whom the workspace speaks outside, no token decides
    problem(as_user(rita).get(f"{base}/deliveries"), 403)
    owner = as_user(ana)
    answers = [owner.get(base), owner.get(f"{base}/deliveries"), owner.post(f"{base}/test")]
    for answer in answers:
        assert answer.status_code == 200, answer.content
        for secret in ("127.0.0.1/hook", "whsec_", *webhook.sealed.values()):
            assert secret not in answer.text
    assert answers[0].json()["events"] == ["run.failed"]
    assert answers[1].json()["items"][0]["code"] == 200
    assert answers[2].json()["event"] == "test"
    assert answers[2].json()["problem"]  # it lies inside, and is not reached
    again = owner.post(f"{base}/deliveries/{delivery.pk}/again")
    assert (again.status_code, again.json()["state"]) == (202, "waiting")
    problem(owner.post(f"{base}/deliveries/{delivery.pk}/again"), 409)
    problem(owner.post(f"{base}/deliveries/{delivery.pk + 999}/again"), 404)
    first = owner.get(f"{base}/deliveries?limit=1").json()
    assert [one["id"] for one in owner.get(first["next"]).json()["items"]] == [delivery.pk]
    assert Delivery.objects.count() == 2


def test_what_is_mailed_is_ones_own_choice_and_no_tokens(program, ana, as_user):
    path, ours = "/api/v1/me/mail", program(ana)
    assert "run.failed" in ours.get(path).json()["events"]
    wanted = {"events": ["run.completed"], "least_minutes": 60}
    assert "Sign in" in problem(ours.ask("PUT", path, wanted), 403)["hint"]
    assert not MailChoice.objects.exists()
    browser = as_user(ana)
    seen = browser.get(path)["ETag"]
    wrongs: list[dict[str, Any]] = [{"events": ["tea"], "least_minutes": 60}, {"events": []}]
    for wrong in (*wrongs, {"events": [], "least_minutes": 7}):
        problem(browser.put(path, wrong, content_type="application/json"), 422)
    how = {"content_type": "application/json", "headers": {"If-Match": seen}}
    assert browser.put(path, wanted, **how).json()["events"] == ["run.completed"]
    problem(browser.put(path, wanted, **how), 412)
    assert ours.get(path).json()["least_minutes"] == 60


def test_every_member_is_told_how_the_studio_fares_and_what_is_not_safe(program, rita, settings, workspace):
    settings.SEAL_KEYS = []
    workspace.allowances = [Allowance.THIS_MACHINE.value]
    workspace.save()
    answer = program(rita).get("studio")
    said = answer.json()
    assert [part["name"] for part in said["parts"]][:2] == ["Web", "Database"]
    assert said["version"]
    assert not said["seals_credentials"]
    allowed = {one["name"]: one for one in said["allowances"]}
    assert allowed[Allowance.THIS_MACHINE.value]["allowed"]
    assert "metadata service" in allowed[Allowance.THIS_MACHINE.value]["risk"]
    assert all(one["what"] for one in said["holds"])
    assert str(settings.BASE_DIR) not in answer.text
    assert settings.SECRET_KEY not in answer.json().values()


def test_a_token_that_is_too_old_is_listed_as_such(ana, as_user, workspace):
    token, _word = issue_token(workspace, ana, "old", set(), days=1)
    ApiToken.objects.filter(pk=token.pk).update(expires_at=timezone.now() - timedelta(days=1))
    row = as_user(ana).get("/api/v1/w/vision-team/tokens").json()["items"][0]
    assert row["expires_at"] < timezone.now().isoformat()
