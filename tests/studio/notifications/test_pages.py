"""The pages of webhooks and of one's own e-mail: what is shown once, what never, and what cannot be typed."""

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from studio.notifications.events import About, Event
from studio.notifications.models import Delivery, DeliveryState, MailChoice, Webhook
from studio.people.models import Activity, User, Workspace
from tests.receivers import answers
from tests.studio.notifications.conftest import drain
from tests.studio.notifications.test_webhooks import fail
from tests.studio.notifications.things import make_webhook

pytestmark = pytest.mark.django_db
TYPED = {"name": "ops", "format": "json", "events": ["run.failed"], "language": "en", "is_on": "on"}
Browse = Callable[[User], Client]


def url(name: str, *args: object) -> str:
    return reverse(f"notifications:{name}", args=["vision-team", *args])


def test_a_secret_is_shown_once_and_an_address_never(workspace, ana, as_user: Browse, inside, received):
    browser = as_user(ana)
    made = browser.post(url("new"), TYPED | {"address": received.url})
    [secret] = re.findall(r"whsec_[\w+/=]+", made.text)
    webhook = Webhook.objects.get()
    assert "very-secret" not in made.text
    tried = browser.post(url("test", webhook.pk))
    assert "It arrived: 200" in tried.text
    assert received.posts[0].is_signed_with(secret)
    assert received.posts[0].said["type"] == "test"
    fail(workspace)
    drain()
    assert received.posts[1].said["type"] == "run.failed"
    received.always = answers(404, b"nothing at /hook/very-secret-token here")
    tried = browser.post(url("test", webhook.pk), headers={"HX-Request": "true"})
    assert "It answers 404 Not Found." in tried.text
    assert "nothing at … here" in tried.text
    browser.post(url("webhook", webhook.pk), TYPED | {"name": "ops-2"})
    pages = [url("webhooks"), url("webhook", webhook.pk), reverse("home", args=["vision-team"])]
    for page in [*pages, reverse("activity", args=["vision-team"])]:
        text = browser.get(page).text
        assert "very-secret" not in text
        assert "whsec_" not in text
    assert f"{webhook.host}/…oken" in browser.get(url("webhooks")).text
    noted = Activity.objects.get(verb="webhook.change")
    assert noted.detail["after"]["new_address"] is False
    assert "very-secret" not in str(list(Activity.objects.values_list("detail", flat=True)))
    assert Webhook.objects.get().secret("address") == received.url


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("", "needs an address"),
        ("ftp://example.org/", "begins with https://"),
        ("https://", "begins with https://"),
        ("https://ana:word@1.1.1.1/", "begins with https://"),
        ("http://1.1.1.1/hook", "Plain HTTP would show"),
        ("https://169.254.169.254/latest/", "an address of the studio&#x27;s own machine"),
        ("https://10.0.0.8/hook", "an address of an internal network"),
        ("https://no-such-host.invalid/", "does not resolve"),
        ("https://1.1.1.1:99999/", "begins with https://"),
        ("javascript:alert(1)", "begins with https://"),
    ],
)
def test_an_address_that_will_not_do_says_why(workspace, ana, as_user: Browse, address, said):
    answer = as_user(ana).post(url("new"), TYPED | {"address": address})
    assert answer.status_code == 422
    assert said in answer.text
    assert not Webhook.objects.exists()


def test_names_are_one_of_a_kind_and_hostile_ones_are_words(workspace, ana, as_user: Browse):
    make_webhook(workspace, ana, name="<script>x</script>")
    browser = as_user(ana)
    typed = TYPED | {"address": "https://1.1.1.1/x", "name": "<SCRIPT>x</script>", "events": ["nonsense"]}
    answer = browser.post(url("new"), typed)
    assert answer.status_code == 422
    assert "is taken" in answer.text
    assert "nonsense is not one of the available choices" in answer.text
    assert "<script>x" not in browser.get(url("webhooks")).text.lower()
    assert browser.get(url("webhook", 99)).status_code == 404


def test_what_was_sent_can_be_sent_again_under_its_id(workspace, ana, as_user: Browse, webhook, received):
    one, _secret = webhook(received.url)
    delivery = fail(workspace)
    drain()
    browser = as_user(ana)
    assert browser.post(url("again", one.pk, delivery.pk)).status_code == 302
    assert browser.post(url("again", one.pk, delivery.pk)).status_code == 409
    drain()
    assert [post.id for post in received.posts] == [delivery.message_id] * 2
    browser.post(url("webhook", one.pk), {key: value for key, value in TYPED.items() if key != "is_on"})
    fail(workspace)
    assert Delivery.objects.count() == 1
    assert browser.post(url("again", one.pk, delivery.pk)).status_code == 409


def test_the_log_goes_back_and_owners_are_told_of_what_is_given_up(workspace: Workspace, ana, rita, as_user: Browse):
    one, delivery = make_webhook(workspace, ana, problem="It answers 404 Not Found.")
    more = {"notice": delivery.notice, "webhook": one, "give_up_at": delivery.give_up_at}
    Delivery.objects.bulk_create([Delivery(state=DeliveryState.DROPPED, **more) for _n in range(60)])
    browser = as_user(ana)
    first = browser.get(url("webhook", one.pk)).text
    [older] = re.findall(r"\?before=(\d+)#log", first)
    assert first.count("Not wanted any more") == 50
    assert browser.get(f"{url('webhook', one.pk)}?before={older}").text.count("Not wanted any more") == 10
    assert browser.get(f"{url('webhook', one.pk)}?before=²").status_code == 200
    home = reverse("home", args=["vision-team"])
    assert "The webhook ops is given up" in browser.get(home).text
    assert "is given up" not in as_user(rita).get(home).text


def test_everybody_chooses_what_is_mailed(workspace, ben, as_user: Browse, settings):
    browser = as_user(ben)
    profile = reverse("profile")
    assert "sends no e-mail yet" not in browser.get(profile).text
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"
    assert "sends no e-mail yet" in browser.get(profile).text
    browser.post(reverse("choose_mail"), {"events": ["run.completed"], "least_minutes": "0"})
    assert MailChoice.of(User.objects.get(pk=ben.pk)).events == ["run.completed"]
    browser.post(reverse("choose_mail"), {"events": ["nonsense"], "least_minutes": "-3"})
    assert MailChoice.of(User.objects.get(pk=ben.pk)).wants(Event.RUN_COMPLETED, About("x", data={"seconds": 1}).data)
