"""Webhooks against a real web server that answers as servers do, and as those do that mean no good."""

import os
import signal
import socket
import ssl
import subprocess
import sys
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from studio.errors import NotAllowedNow
from studio.notifications import actions, outbox, posting
from studio.notifications.actions import announce
from studio.notifications.events import About, Event
from studio.notifications.models import Delivery, DeliveryState, Webhook
from tests.receivers import answers, receiver
from tests.studio.notifications.conftest import drain, hours_later

pytestmark = pytest.mark.django_db
FAILED = About("Run brave_lemur failed", "train.py ended with exit code 1.", data={"run_id": "digits_1"})


def fail(workspace: Any, about: About = FAILED) -> Delivery:
    announce(workspace, Event.RUN_FAILED, about=about)
    return Delivery.objects.latest("pk")


def wait_of(delivery: Delivery) -> float:
    """Return the seconds from the last try to the next."""
    assert delivery.next_at
    assert delivery.last_at
    return (delivery.next_at - delivery.last_at).total_seconds()


def test_what_is_sent_is_signed_and_says_what_happened(workspace, webhook, received):
    _one, secret = webhook(received.url)
    delivery = fail(workspace)
    drain()
    [post] = received.posts
    assert post.path == "/hook/very-secret-token"
    assert post.is_signed_with(secret)
    assert not post.is_signed_with(posting.new_signing_secret())
    assert post.id == delivery.message_id
    assert post.said["type"] == "run.failed"
    assert post.said["data"]["title"] == "Run brave_lemur failed"
    assert post.said["data"]["url"].endswith("/")
    delivery.refresh_from_db()
    assert (delivery.state, delivery.code, delivery.attempts) == (DeliveryState.SENT, 200, 1)
    drain()
    assert len(received.posts) == 1


def test_a_former_secret_signs_for_a_day(workspace, webhook, received, ana):
    one, former = webhook(received.url)
    new = actions.renew_secret(one, by=ana)
    fail(workspace)
    drain()
    assert received.posts[0].is_signed_with(former)
    assert received.posts[0].is_signed_with(new)
    Webhook.objects.update(former_until=one.created_at)
    fail(workspace)
    drain()
    assert not received.posts[1].is_signed_with(former)
    assert received.posts[1].is_signed_with(new)


def test_what_is_refused_is_sent_again_under_the_same_id_until_it_is_given_up(workspace, webhook, received):
    one, _secret = webhook(received.url)
    received.always = answers(500, b"<h1>broken at /hook/very-secret-token</h1>")
    delivery = fail(workspace)
    waits = []
    for _n in range(14):
        drain()
        delivery.refresh_from_db()
        if delivery.next_at is None:
            break
        waits.append(wait_of(delivery))
        hours_later(waits[-1] / 3600)
    assert delivery.state == DeliveryState.FAILED
    assert waits == sorted(waits[:6]) + waits[6:]
    assert waits[0] < 13
    assert len(waits) > 8
    assert {post.id for post in received.posts} == {delivery.message_id}
    assert delivery.problem == "It answers 500 Internal Server Error."
    assert delivery.words == "<h1>broken at …</h1>"
    one.refresh_from_db()
    assert "500" in one.problem
    received.always = answers(200)
    hours_later(5)
    fail(workspace)
    drain()
    one.refresh_from_db()
    assert (one.problem, one.failures) == ("", 0)


def test_one_that_does_not_answer_rests_and_the_others_are_served(workspace, webhook, received, monkeypatch):
    monkeypatch.setattr(posting, "WHOLE", 0.3)
    with receiver() as stuck:
        webhook(stuck.url, name="stuck")
        webhook(received.url)
        stuck.always = stuck.hangs
        for _n in range(20):
            fail(workspace)
        drain()
        assert len(stuck.posts) == 1
        assert len(received.posts) == 20
        assert Delivery.objects.filter(problem="It does not answer in time.").count() == 1
        stuck.always = answers(200)
        hours_later(0.1)
        drain()
        assert len(stuck.posts) == 21


def test_it_comes_again_as_late_as_it_was_asked(workspace, webhook, received):
    webhook(received.url)
    received.next = [answers(429, Retry_After="7200"), answers(503, Retry_After="Wed, 21 Oct 2015 07:28:00 GMT")]
    delivery = fail(workspace)
    drain()
    delivery.refresh_from_db()
    assert 7100 < wait_of(delivery) < 7300
    hours_later(2.1)
    drain()
    delivery.refresh_from_db()
    assert delivery.code == 503
    assert wait_of(delivery) < 60


def test_a_clock_that_is_set_back_holds_nothing_up(workspace, webhook, received):
    webhook(received.url)
    received.next = [answers(500)]
    delivery = fail(workspace)
    drain()
    Webhook.objects.update(busy_until=F("resting_until"))  # a worker died, too
    hours_later(-365 * 24)
    drain()
    delivery.refresh_from_db()
    assert (delivery.state, len(received.posts)) == (DeliveryState.SENT, 2)


def test_one_message_that_is_refused_holds_up_no_other(workspace, webhook, received):
    webhook(received.url)
    received.next = [answers(400)]
    fail(workspace)
    fail(workspace)
    drain()
    assert [d.code for d in Delivery.objects.order_by("pk")] == [400, 200]


def test_one_that_is_gone_is_turned_off(workspace, webhook, received):
    one, _secret = webhook(received.url)
    received.always = answers(410)
    fail(workspace)
    fail(workspace)
    drain()
    one.refresh_from_db()
    assert not one.is_on
    assert {d.state for d in Delivery.objects.all()} == {DeliveryState.FAILED, DeliveryState.DROPPED}


@pytest.mark.parametrize("way", ["never_ends", "speaks_without_end", "hangs"])
def test_one_that_means_no_good_is_left_in_time(workspace, webhook, received, monkeypatch, way):
    monkeypatch.setattr(posting, "WHOLE", 0.4)
    webhook(received.url)
    received.always = getattr(received, way)
    delivery = fail(workspace)
    drain()
    delivery.refresh_from_db()
    assert (delivery.took_ms or 0) < 5000
    assert len(delivery.words) <= 300
    assert delivery.state == (DeliveryState.SENT if way == "speaks_without_end" else DeliveryState.WAITING)


def test_no_redirect_is_followed(workspace, webhook, received):
    with receiver() as other:
        webhook(received.url)
        received.always = answers(302, b"", Location=other.url)
        delivery = fail(workspace)
        drain()
        delivery.refresh_from_db()
        assert (delivery.code, "leads elsewhere" in delivery.problem) == (302, True)
        assert not other.posts


def test_an_internal_address_is_refused_when_it_is_saved_and_when_it_is_sent_to(workspace, webhook, received, ana):
    one, _secret = webhook(received.url)
    workspace.allowances = ["internal-webhooks"]
    workspace.save()
    delivery = fail(workspace)
    drain()
    delivery.refresh_from_db()
    assert not received.posts
    assert "an address of the studio's own machine" in delivery.problem
    workspace.allowances = []
    inner = ["10.0.0.5", "192.168.1.1", "100.64.0.1", "169.254.169.254", "127.0.0.1", "[::1]", "[fd00::1]", "[::]"]
    inner += ["[::ffff:10.0.0.5]", "[64:ff9b::7f00:1]", "[2002:a00:1::]", "2130706433", "localhost"]
    for host in inner:
        with pytest.raises(NotAllowedNow):
            actions.change_webhook(one, f"https://{host}/x", by=ana)
    with pytest.raises(posting.BadAddress):
        actions.change_webhook(one, "https://ana:word@example.org/x", by=ana)


def test_nothing_is_locked_while_a_name_server_thinks(workspace, webhook, received, ana, monkeypatch):
    one, _secret = webhook(received.url)
    depths, look = [], posting.places_of

    def noting(*what):
        depths.append(len(connection.savepoint_ids))
        return look(*what)

    monkeypatch.setattr(posting, "places_of", noting)
    actions.change_webhook(one, received.url, by=ana)
    webhook(received.url, name="another")
    assert depths == [len(connection.savepoint_ids)] * 2


def test_a_name_that_answers_otherwise_the_second_time_reaches_nothing(workspace, webhook, received, monkeypatch):
    webhook(received.url)
    real, asked = socket.getaddrinfo, []

    def rebinding(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        asked.append(host)
        return real("127.0.0.1", port, *args, **kwargs) if len(asked) == 1 else real("203.0.113.9", port, *args)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    fail(workspace)
    drain()
    assert asked == ["localhost"]  # it is connected to as it was checked
    assert len(received.posts) == 1


def test_tls_is_verified(workspace, webhook, tmp_path, monkeypatch):
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out", str(cert)]
    command += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    with receiver(tls) as server:
        webhook(server.url)
        webhook(server.url.replace("localhost", "127.0.0.1"), name="another")
        posting._trust.cache_clear()
        fail(workspace)
        drain()
        assert not server.posts
        assert {d.problem for d in Delivery.objects.all()} == {"Its certificate is not one that this studio trusts."}
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
        posting._trust.cache_clear()
        hours_later(1)
        drain()
        posting._trust.cache_clear()
        assert len(server.posts) == 1  # under another name than its own it is not trusted, either


@pytest.mark.django_db(transaction=True)
def test_a_worker_that_dies_between_commit_and_answer_loses_nothing(workspace, webhook, received, queued):
    webhook(received.url)
    delivery = fail(workspace)
    queued.clear()  # the message to the workers is lost with the broker
    received.always = received.hangs
    code = "import django; django.setup(); from studio.notifications import outbox; outbox.drain(10)"
    facts = {**os.environ, "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}"}
    worker = subprocess.Popen([sys.executable, "-c", code], env=facts | {"DJANGO_SETTINGS_MODULE": "tests.settings"})
    assert received.came.wait(30)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    received.always = answers(200)
    drain()
    assert len(received.posts) == 1  # it may still be on its way
    hours_later(0.1)
    drain()
    delivery.refresh_from_db()
    assert [post.id for post in received.posts] == [delivery.message_id] * 2
    assert (delivery.state, delivery.attempts) == (DeliveryState.SENT, 2)


def test_two_owners_at_once_lose_no_secret(workspace, webhook, received, ana):
    typed, _secret = webhook(received.url)  # as one form was opened
    new = actions.renew_secret(typed, by=ana)
    actions.change_webhook(typed, received.url, by=ana)
    with pytest.raises(NotAllowedNow, match="is taken"):
        webhook(received.url, name="OPS")
    fail(workspace)
    drain()
    assert received.posts[0].is_signed_with(new)


def test_two_workers_send_nothing_twice(workspace, webhook, received):
    one, _secret = webhook(received.url)
    fail(workspace)
    assert outbox._claim_webhook(but=set()) == one
    assert outbox._claim_webhook(but=set()) is None
    drain()
    assert not received.posts
