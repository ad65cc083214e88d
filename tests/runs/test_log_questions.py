"""Where a line or a moment is, and what is in a log, for those who may see it."""

import asyncio
import inspect
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from django.test import AsyncClient, Client

from compute import log_index, log_search, logs
from compute.states import JobState
from runs import log_questions
from runs.models import Run
from studio.people.models import User


@pytest.fixture
def run(make_run: Callable[..., Run], attempt_of: Callable[..., Any]) -> Run:
    run = make_run("brave_lemur")
    attempt_of(run, JobState.RUNNING)
    logs.add(key(run), b"".join(b"line %d\n" % number for number in range(1, 200_001)))
    return run


def key(run: Run) -> str:
    return f"runs/{run.run_id}/1/std_log.txt"


def address(run: Run, query: str = "", stream: str = "1/std_log.txt") -> str:
    return f"/w/vision-team/runs/{run.run_id}/logs/{stream}/ask?{query}"


@pytest.fixture
def ask(run: Run, rita: User) -> Callable[[str], Any]:
    def get(query: str) -> Any:
        client = Client()
        client.force_login(rita)
        return client.get(address(run, query)).json()

    return get


async def searched(user: User, run: Run, query: str) -> list[dict[str, Any]]:
    client = AsyncClient()
    await client.aforce_login(user)
    answer = await client.get(address(run, query))
    assert answer.status_code == 200, answer
    return [json.loads(line) for line in b"".join([piece async for piece in answer.streaming_content]).splitlines()]  # type: ignore[attr-defined]


def test_a_line_a_byte_and_a_moment_are_found(ask, run):
    data = logs.path(key(run)).read_bytes()
    offset = data.index(b"line 150000\n")
    wanted = {"line": 150_000, "offset": offset, "size": len(data)}
    assert ask("line=150000") == wanted
    assert ask(f"offset={offset + 3}") == wanted
    log_index.marks_path(key(run)).write_bytes(struct.pack("<dQdQ", 1e9, offset, 1e9 + 60, len(data)))
    assert ask("time=2001-09-09T01:47:10Z") == wanted
    assert ask("time=2001-09-09T01:47:10") == wanted
    assert ask("times&from=0&to=10") == {"times": [[1e9, offset]]}


def test_beyond_the_end_is_the_last_line(ask, run):
    assert ask("line=999999999")["line"] == 200_000
    assert ask("offset=999999999")["line"] == 200_000
    logs.path(key(run)).write_bytes(b"")
    assert ask("line=5") == {"line": 1, "offset": 0, "size": 0}


@pytest.mark.parametrize(
    "query", ["line=x", "line=-1", "offset=1e9", "time=yesterday", "search=", "search=(&regex", "search=a&from=x"]
)
def test_a_question_that_makes_no_sense_is_refused(run, rita, as_user, query):
    assert as_user(rita).get(address(run, query)).status_code == 400


def test_strangers_and_nobody_get_no_answer(run, cleo, as_user):
    for query in ("line=1", "search=line", "errors", "times"):
        assert as_user(cleo).get(address(run, query)).status_code == 404
        assert Client().get(address(run, query)).status_code == 302


def test_another_log_and_another_way_are_refused(run, rita, as_user):
    assert as_user(rita).get(address(run, "line=1", "1/../../secret_key")).status_code == 404
    assert as_user(rita).get(address(run, "line=1", "9/std_log.txt")).status_code == 404
    assert as_user(rita).post(address(run, "line=1")).status_code == 405


@pytest.mark.django_db(transaction=True)
async def test_a_search_tells_offsets_and_lines_as_it_goes(run, rita):
    said = await searched(rita, run, "search=LINE+19999")
    assert said[-1]["count"] == 11
    found = [pair for words in said for pair in words.get("at", [])]
    data = logs.path(key(run)).read_bytes()
    assert found[0] == [data.index(b"line 19999\n"), 19_999]
    assert (await searched(rita, run, "search=LINE+19999&case"))[-1]["count"] == 0
    assert (await searched(rita, run, "search=%5Eline+1.*9%24&regex&most=2"))[-1]["count"] == 11_111
    assert await searched(rita, run, "errors") == [{"count": 0, "to": len(data)}]


@pytest.mark.django_db(transaction=True)
async def test_a_pattern_without_an_end_is_stopped_and_holds_up_nobody(run, rita, monkeypatch, tmp_path):
    slow = tmp_path / "log_search.py"
    slow.write_text(inspect.getsource(log_search).replace("CPU_SECONDS = 30", "CPU_SECONDS = 1"))
    monkeypatch.setattr(log_questions, "PROGRAM", str(slow))
    logs.add(key(run), b"a" * 60 + b"!\n")
    asked = asyncio.create_task(searched(rita, run, "search=(a%2B)%2B%24&regex"))
    turns = 0
    while not asked.done():
        await asyncio.sleep(0.01)
        turns += 1
    assert (await asked)[-1] == {"stopped": True}
    assert turns > 5  # the loop went on meanwhile


@pytest.mark.django_db(transaction=True)
async def test_who_leaves_ends_the_search(run, monkeypatch, tmp_path):
    endless = tmp_path / "endless.py"
    endless.write_text("import time\nwhile True: print('{}', flush=True); time.sleep(.01)")
    monkeypatch.setattr(log_questions, "PROGRAM", str(endless))
    started: list[Any] = []
    real = asyncio.create_subprocess_exec

    async def start(*args: Any, **options: Any) -> Any:
        started.append(await real(*args, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", start)
    search = log_questions._search(key(run), [])
    assert await anext(search) == b"{}\n"
    await search.aclose()  # type: ignore[attr-defined]
    assert started[0].returncode == -9
