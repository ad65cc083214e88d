"""The clock (beat): Celery's own, which goes on where the clock of the machine is set back.

Celery waits until it is later again than when it did something last: set back by an hour, nothing would be looked after
for an hour.
"""

import logging
from typing import Any

from celery.beat import PersistentScheduler

logger = logging.getLogger(__name__)


class Clock(PersistentScheduler):
    """Queues what is done again and again, each after its time, whatever time it is."""

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Queue what is due; return in how many seconds to look again."""
        self.forget_the_future()
        seconds: float = super().tick(*args, **kwargs)
        return seconds

    def forget_the_future(self) -> None:
        """Count anew from now on what was done last at a time that is still to come."""
        now = self.app.now()
        ahead = [entry for entry in self.schedule.values() if entry.last_run_at and entry.last_run_at > now]
        for entry in ahead:
            entry.last_run_at = now
        if ahead:
            self._heap = None  # in it stands when each is due, too
            logger.warning("The clock of this machine was set back: %d things are counted anew.", len(ahead))
