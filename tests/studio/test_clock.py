"""The clock (beat) where the machine's own is set back."""

from datetime import timedelta
from pathlib import Path
from typing import Any

from celery import Celery
from celery.beat import event_t

from studio import settings
from studio.clock import Clock


class Heard(Clock):
    """Notes what it would queue."""

    heard: set[str]

    def apply_async(self, entry: Any, *args: Any, **kwargs: Any) -> None:
        self.heard.add(entry.name)


def test_what_is_done_again_and_again_goes_on_when_the_time_is_set_back(tmp_path: Path) -> None:
    app, always = Celery(broker="memory://", set_as_current=False), timedelta()
    app.conf.beat_schedule = {name: {"task": name, "schedule": always} for name in ("one", "other")}
    clock: Any = Heard(app=app, schedule_filename=str(tmp_path / "beat"))
    clock.heard = set()
    for _n in range(4):
        clock.tick()
    assert clock.heard == {"one", "other"}
    clock.heard.clear()
    for entry in clock.schedule.values():
        entry.last_run_at += timedelta(days=365)
    clock._heap = [event_t(event.time + 365 * 86400, event.priority, event.entry) for event in clock._heap]
    for _n in range(4):
        clock.tick()
    assert clock.heard == {"one", "other"}
    clock.close()


def test_it_is_the_one_that_is_started() -> None:
    assert settings.CELERY["beat_scheduler"] == f"{Clock.__module__}:{Clock.__name__}"
