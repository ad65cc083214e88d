"""Notices the moment a process of this machine ends: one thread of the worker, asleep until the kernel wakes it.

Losing it loses nothing but time: `compute.tasks.reconcile` looks at every job and build every few seconds.
"""

import logging
import os
import select
import threading
from collections.abc import Callable

from compute import processes
from compute.drivers.base import Handle

logger = logging.getLogger(__name__)


class Watcher:
    """Calls back, once, when a process ends. Safe to call from any thread."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._waiting: dict[int, tuple[str, Callable[[], object]]] = {}  # pidfd → key, what to call
        self._keys: set[str] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, handle: Handle, call: Callable[[], object]) -> bool:
        """Call `call` when the process of `handle` ends. Watching it twice calls once. False: it is gone already."""
        key = str(handle.get("folder"))
        with self._lock:
            if key in self._keys:
                return True
            fd = processes.pidfd(handle)
            if fd is not None:
                self._keys.add(key)
                self._waiting[fd] = (key, call)
                self._epoll.register(fd, select.EPOLLIN)
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
                    self._thread.start()
        return fd is not None

    def _run(self) -> None:
        while True:
            for fd, _events in self._epoll.poll():
                with self._lock:
                    key, call = self._waiting.pop(fd)
                    self._keys.discard(key)
                    self._epoll.unregister(fd)
                    os.close(fd)
                try:
                    call()
                except Exception:  # the broker may be down; reconcile will see it
                    logger.warning("The end of %s could not be told.", key, exc_info=True)


watcher = Watcher()
