"""Requests that send too much: refused early and in words, whatever they say about themselves."""

from typing import Any

import pytest
from django.urls import reverse

from compute.actions import ensure_local
from studio.bodies import ELSEWHERE, LimitedBodies
from tests.runs.test_submit import file, typed

Message = dict[str, Any]


async def answer_to(path: str, headers: list[tuple[bytes, bytes]], bodies: list[bytes]) -> tuple[int, list[bytes]]:
    """Return the status of the answer, and what the application behind came to see."""
    seen: list[bytes] = []
    waiting = [{"type": "http.request", "body": body, "more_body": True} for body in bodies]
    waiting.append({"type": "http.request", "body": b"", "more_body": False})
    answers: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0)

    async def send(message: Message) -> None:
        answers.append(message)

    async def behind(scope: Any, receive: Any, send: Any) -> None:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            seen.append(message["body"])
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 200, "headers": []})

    await LimitedBodies(behind)({"type": "http", "path": path, "headers": headers}, receive, send)
    return answers[0]["status"], seen


async def test_a_body_that_says_it_is_too_large_is_never_read_by_a_view() -> None:
    length = [(b"content-length", str(ELSEWHERE + 1).encode())]
    assert await answer_to("/accounts/login/", length, [b"x"]) == (413, [])
    assert await answer_to("/w/a/submit/", length, [b"x"]) == (200, [b"x", b""])
    assert await answer_to("/w/a/submit/", [(b"content-length", b"1e9")], [b"x"]) == (413, [])
    assert await answer_to("/w/a/submit/", [(b"content-length", b"9" * 12)], [b"x"]) == (413, [])


async def test_a_body_that_says_nothing_is_counted() -> None:
    piece = b"x" * (ELSEWHERE // 2)
    assert await answer_to("/accounts/login/", [], [piece, piece]) == (200, [piece, piece, b""])
    assert await answer_to("/accounts/login/", [], [piece, piece, piece]) == (413, [piece, piece])


@pytest.mark.django_db
def test_too_many_files_are_refused_in_words(as_user: Any, ben: Any, workspace: Any, settings: Any) -> None:
    ensure_local(workspace)
    settings.DATA_UPLOAD_MAX_NUMBER_FILES = 3
    form = typed(source="upload", files=[file(f"{n}.py") for n in range(4)])
    answer = as_user(ben).post(reverse("runs:submit", args=[workspace.name]), form)
    assert answer.status_code == 413
    assert b"more than 3 files" in answer.content
