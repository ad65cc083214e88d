"""The websockets of runs."""

from typing import Any

sockets: list[Any] = []
