"""A worker that a test drives by hand: real processes, real files, every task run where the test can see it."""

import time
from collections.abc import Callable
from typing import Any

import pytest

import compute.tasks
import runs.tasks
from studio.celery import app


class Worker:
    """Runs what was queued, in order, and reconciles as beat would, only more often."""

    def __init__(self, queued: list[tuple[str, tuple[Any, ...]]]) -> None:
        self.queued = queued

    def drain(self) -> None:
        """Run queued tasks until none is left."""
        while self.queued:
            name, args = self.queued.pop(0)
            app.tasks[name](*args)

    def until(self, condition: Callable[[], object], *, seconds: float = 20, reconcile: bool = True) -> None:
        """Work until `condition` holds. Fails the test when it does not in time."""
        end, next_look = time.monotonic() + seconds, time.monotonic() + 0.5
        while True:
            self.drain()
            if condition():
                return
            if time.monotonic() > end:
                pytest.fail("It did not happen in time.")
            if reconcile and time.monotonic() > next_look:
                compute.tasks.reconcile()
                runs.tasks.reconcile()
                next_look = time.monotonic() + 0.5
            time.sleep(0.01)


@pytest.fixture
def worker(queued: list[tuple[str, tuple[Any, ...]]]) -> Worker:
    return Worker(queued)
