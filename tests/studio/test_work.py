"""What is queued for the workers, while the queue is there and while it is away."""

from typing import Any

import pytest
from celery import Celery
from django.db import transaction
from kombu.exceptions import OperationalError

from studio.work import queue


@pytest.mark.parametrize("problem", [OperationalError("Connection refused"), ConnectionResetError("gone")])
def test_a_queue_that_is_away_fails_nothing_that_is_stored(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, problem: Exception
):
    told = []

    def away(*_: Any, **__: Any) -> None:
        raise problem

    monkeypatch.setattr(Celery, "send_task", away)
    with transaction.atomic():
        queue("runs.tasks.advance_run", 7)
        transaction.on_commit(lambda: told.append("the next one"))
    assert told == ["the next one"]
    assert "runs.tasks.advance_run was not queued" in caplog.text


def test_what_is_rolled_back_is_not_queued(transactional_db: None, monkeypatch: pytest.MonkeyPatch):
    sent: list[Any] = []
    monkeypatch.setattr(Celery, "send_task", lambda _self, name, args: sent.append((name, args)))
    with transaction.atomic():
        queue("compute.tasks.schedule")
        transaction.set_rollback(True)
    queue("compute.tasks.end_job", 3, "canceled")
    assert sent == [("compute.tasks.end_job", [3, "canceled"])]
