"""The websockets of compute targets."""

from typing import Any

sockets: list[Any] = []
