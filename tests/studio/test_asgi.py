"""The door: who asks at once is answered in turn, and nobody waits long for another."""

import asyncio
from typing import Any

import pytest

from studio.asgi import InTurn

PART: dict[str, Any] = {"type": "http", "method": "GET", "headers": [(b"hx-request", b"true")]}


class Slow:
    """An application whose every answer takes until it is let go."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.go, self.three = asyncio.Event(), asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        if self.inside == 3:
            self.three.set()
        await self.go.wait()
        self.inside -= 1


async def ask(door: InTurn, count: int, scope: dict[str, Any]) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(door(scope, None, None)) for _n in range(count)]
    for _turn in range(5):
        await asyncio.sleep(0)
    return tasks


async def test_parts_of_pages_are_answered_one_behind_the_other() -> None:
    slow = Slow()
    tasks = await ask(InTurn(slow), 20, PART)
    assert slow.inside == 1
    slow.go.set()
    await asyncio.gather(*tasks)
    assert slow.most == 1


async def test_a_slow_answer_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(InTurn, "patience", 0.01)
    slow = Slow()
    tasks = await ask(InTurn(slow), 3, PART)
    await asyncio.wait_for(slow.three.wait(), 60)
    slow.go.set()
    await asyncio.gather(*tasks)


@pytest.mark.parametrize("scope", [PART | {"method": "POST"}, PART | {"headers": []}])
async def test_pages_and_what_is_sent_do_not_wait(scope: dict[str, Any]) -> None:
    slow = Slow()
    tasks = await ask(InTurn(slow), 3, scope)
    assert slow.inside == 3
    slow.go.set()
    await asyncio.gather(*tasks)
