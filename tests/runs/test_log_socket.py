"""The bytes of a log, over a socket and over HTTP, for those who may see them."""

import asyncio
import hashlib
import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from django.contrib.auth.models import AnonymousUser
from django.http import Http404, HttpResponse
from django.test import RequestFactory

from compute import log_index, logs
from compute.models import ComputeTarget, Environment, EnvironmentState, Job
from compute.states import JobState
from runs import consumers
from runs.log_views import download_log
from runs.models import Attempt, Experiment, Run
from runs.routing import sockets
from runs.states import RunStatus
from runs.streams import StreamGroup, stream_of, streams_of
from studio.errors import NotThere
from studio.people.actions import create_workspace, remove_member
from studio.people.models import User, Workspace

pytestmark = pytest.mark.django_db(transaction=True)
RUN_ID = "digits-svm_1763846400_1f0c9a3b"
KEY = f"runs/{RUN_ID}/1/std_log.txt"


@pytest.fixture
def run(workspace: Workspace) -> Run:
    target = ComputeTarget.objects.create(workspace=workspace, name="local", kind="local")
    return Run.objects.create(
        workspace=workspace,
        experiment=Experiment.objects.create(workspace=workspace, name="digits-svm"),
        number=1,
        run_id=RUN_ID,
        display_name="brave_lemur_7k2",
        status=RunStatus.RUNNING,
        target=target,
        target_name="local",
    )


@pytest.fixture
def job(run: Run) -> Job:
    assert run.target
    job = Job.objects.create(target=run.target, run_id=RUN_ID, run_name=str(run), state=JobState.RUNNING)
    Attempt.objects.create(run=run, number=1, job=job)
    return job


class Viewer:
    """A page with the log open, less its pixels."""

    def __init__(self, user: Any, query: str = "stream=1/std_log.txt", workspace: str = "vision-team") -> None:
        self.socket = ApplicationCommunicator(
            URLRouter(sockets),
            {
                "type": "websocket",
                "path": f"/ws/w/{workspace}/runs/{RUN_ID}/log/",
                "query_string": query.encode(),
                "headers": [],
                "subprotocols": [],
                "user": user,
            },
        )
        self.got, self.told = b"", list[dict[str, Any]]()
        self.blocks: dict[int, bytes] = {}

    async def enter(self) -> bool:
        await self.socket.send_input({"type": "websocket.connect"})
        return bool((await self.next())["type"] == "websocket.accept")

    async def next(self) -> dict[str, Any]:
        frame: dict[str, Any] = await self.socket.receive_output(timeout=5)
        return frame

    async def say(self, text: str) -> None:
        await self.socket.send_input({"type": "websocket.receive", "text": text})

    async def hear(self) -> None:
        """Take the next frame, of either kind."""
        frame = await self.next()
        assert frame["type"] == "websocket.send", frame
        if frame.get("bytes") is not None and self.told and "block" in self.told[-1]:
            self.blocks[self.told.pop()["block"]] = frame["bytes"]
        elif frame.get("bytes") is not None:
            self.got += frame["bytes"]
            await self.say(json.dumps({"at": self.start + len(self.got)}))
        else:
            self.told.append(json.loads(frame["text"]))

    async def until(self, done: Callable[["Viewer"], Any]) -> None:
        async with asyncio.timeout(10):
            while not done(self):
                await self.hear()

    @property
    def start(self) -> int:
        return next((said["from"] for said in reversed(self.told) if "from" in said), 0)

    def has_told(self, what: str) -> dict[str, Any] | None:
        return next((said for said in self.told if what in said), None)

    async def leave(self) -> None:
        await self.socket.send_input({"type": "websocket.disconnect", "code": 1006})
        await self.socket.wait(timeout=5)


async def test_what_was_left_out_of_a_long_log_is_told_and_passed_over(rita, job, settings):
    settings.LOG_BYTES = 32768
    with logs.path(KEY).open("wb") as file:
        file.write(b"h" * 16384)
        file.seek(65536)  # leaves a hole, as taking bytes out does
        file.write(b"t" * 16384)
    viewer = Viewer(rita)
    assert await viewer.enter()
    await viewer.until(lambda v: v.got == b"h" * 16384 + b"t" * 16384)
    assert viewer.has_told("hole") == {"hole": [16384, 65536]}
    assert viewer.start == 65536
    await viewer.leave()


async def test_a_member_gets_the_bytes_that_are_there_and_those_that_come(rita, job):
    logs.append(KEY, 0, b"one\n")
    viewer = Viewer(rita)
    assert await viewer.enter()
    await viewer.until(lambda v: v.got == b"one\n")
    assert viewer.has_told("from") == {"from": 0, "size": 4, "ended": False}
    logs.append(KEY, 4, b"caf\xc3")
    await viewer.until(lambda v: v.got == b"one\ncaf\xc3")
    logs.append(KEY, 8, b"\xa9\n")
    await viewer.until(lambda v: v.got == b"one\ncaf\xc3\xa9\n")
    await viewer.leave()


@pytest.mark.parametrize("who", ["cleo", "nobody", "inactive", "of another workspace"])
async def test_who_does_not_belong_is_turned_away(who: str, request, job, cleo, ben):
    def prepare() -> Any:
        if who == "inactive":
            User.objects.filter(pk=ben.pk).update(is_active=False)
            return User.objects.get(pk=ben.pk)
        if who == "of another workspace":
            create_workspace("elsewhere", cleo)
        return AnonymousUser() if who == "nobody" else cleo

    user = await database_sync_to_async(prepare)()
    workspace = "elsewhere" if who == "of another workspace" else "vision-team"
    assert not await Viewer(user, workspace=workspace).enter()


@pytest.mark.parametrize(
    "query",
    ["", "stream=std_log.txt", "stream=1/../../x/1/std_log.txt", "stream=1/..", "stream=2/std_log.txt",
     "stream=/etc/passwd", "stream=1/std_log.txt&after=-1", "stream=1/std_log.txt&after=x", "stream=1/a%2Fb",
     "stream=1/std_log.txt&after=" + "9" * 40, "stream=0/std_log.txt", "stream=1/.hidden"],
)  # fmt: skip
async def test_what_is_no_log_of_the_run_is_refused(query: str, ana, job):
    assert not await Viewer(ana, query).enter()


async def test_a_page_goes_on_from_its_own_byte(ana, job):
    logs.append(KEY, 0, b"0123456789")
    viewer = Viewer(ana, "stream=1/std_log.txt&after=4")
    await viewer.enter()
    await viewer.until(lambda v: v.got == b"456789")
    await viewer.leave()


async def test_two_hundred_cuts_lose_and_repeat_nothing(ana, job):
    rng = random.Random(11)  # noqa: S311
    whole = rng.randbytes(3_000_000)

    async def write() -> None:
        at = 0
        while at < len(whole):
            piece = whole[at : at + rng.randint(1, 40_000)]
            at = logs.append(KEY, at, piece)
            await asyncio.sleep(0.002)

    writing = asyncio.create_task(write())
    got, cuts = b"", 0
    while cuts < 200 or len(got) < len(whole):
        viewer = Viewer(ana, f"stream=1/std_log.txt&after={len(got)}")
        await viewer.enter()
        frames = rng.randint(0, 2) if cuts < 200 else 10**9
        while frames > 0 and len(got) + len(viewer.got) < len(whole):
            before = len(viewer.got)
            await viewer.hear()
            frames -= len(viewer.got) > before
        got += viewer.got
        await viewer.leave()
        cuts += 1
    await writing
    assert hashlib.sha256(got).digest() == hashlib.sha256(whole).digest()


async def test_a_slow_page_is_waited_for(ana, job, monkeypatch):
    monkeypatch.setattr(consumers, "WINDOW", 4 * consumers.FRAME)
    logs.append(KEY, 0, bytes(8 * 1024 * 1024))
    viewer = Viewer(ana)
    await viewer.enter()
    sent = 0
    while not await viewer.socket.receive_nothing(timeout=0.3):
        frame = await viewer.next()
        sent += len(frame.get("bytes") or b"")
    assert sent == 4 * consumers.FRAME
    await viewer.say(json.dumps({"at": 1024 * 1024}))
    await viewer.until(lambda v: len(v.got) == 1024 * 1024)
    await viewer.say(json.dumps({"at": 10**12}))  # further than was sent: not believed
    await viewer.say("[]")
    await viewer.leave()


async def test_the_end_comes_after_the_last_byte_with_a_digest(ana, run, job):
    logs.append(KEY, 0, b"last words\n")
    viewer = Viewer(ana)
    await viewer.enter()
    await viewer.until(lambda v: v.got)

    def end() -> None:
        Job.objects.filter(pk=job.pk).update(state=JobState.ENDED)
        run.move(RunStatus.FAILED, reason="Its program ended with exit code 1.")

    await database_sync_to_async(end)()
    await viewer.until(lambda v: v.told and v.told[-1].get("ended"))
    assert viewer.told[-1] == {"ended": True, "size": 11, "sha256": hashlib.sha256(b"last words\n").hexdigest()}
    await viewer.leave()


async def test_the_end_is_found_without_a_nudge(ana, job, monkeypatch):
    monkeypatch.setattr(consumers, "CHECK_SECONDS", 0.1)
    viewer = Viewer(ana)
    await viewer.enter()
    await database_sync_to_async(Job.objects.filter(pk=job.pk).update)(state=JobState.ENDED)
    await viewer.until(lambda v: v.told and v.told[-1].get("ended"))
    assert viewer.told[-1]["size"] == 0
    await viewer.leave()


async def test_a_log_that_was_cut_is_sent_anew(ana, job):
    logs.append(KEY, 0, b"a long first line\n")
    viewer = Viewer(ana)
    await viewer.enter()
    await viewer.until(lambda v: len(v.got) == 18)
    logs.path(KEY).write_bytes(b"new\n")
    await viewer.until(lambda v: v.got.endswith(b"new\n"))
    assert [said for said in viewer.told if "from" in said][-1] == {
        "from": 0,
        "size": 4,
        "ended": False,
    }
    await viewer.leave()


async def test_a_page_that_knows_more_than_there_is_begins_anew(ana, job):
    logs.append(KEY, 0, b"new\n")
    viewer = Viewer(ana, "stream=1/std_log.txt&after=100")
    await viewer.enter()
    await viewer.until(lambda v: v.got == b"new\n")
    assert viewer.start == 0
    await viewer.leave()


async def test_a_large_log_opens_at_its_end_with_its_lines_counted(ana, job, monkeypatch):
    monkeypatch.setattr(consumers, "WHOLE", 1000)
    monkeypatch.setattr(consumers, "TAIL", 1000)
    monkeypatch.setattr(consumers, "COUNT_AT_ONCE", log_index.BLOCK)
    logs.append(KEY, 0, b"123456789\n" * 30_000)  # 300,000 bytes
    viewer = Viewer(ana)
    await viewer.enter()
    await viewer.until(lambda v: v.start + len(v.got) == 300_000 and v.has_told("lines"))
    assert viewer.start == 2 * log_index.BLOCK
    assert viewer.has_told("counted") == {"of": 2 * log_index.BLOCK, "counted": log_index.BLOCK}
    assert viewer.has_told("lines") == {"of": 2 * log_index.BLOCK, "lines": [13_107, 13_107]}
    await viewer.leave()
    again = Viewer(ana)  # they are known now, and go first: whoever came for a line in the middle loads that meanwhile
    await again.enter()
    await again.until(lambda v: v.got)
    assert again.has_told("lines")
    await again.leave()


async def test_a_page_that_was_cut_off_before_its_lines_were_counted_is_told_again(ana, job):
    logs.append(KEY, 0, b"123456789\n" * 30_000)
    viewer = Viewer(ana, f"stream=1/std_log.txt&after=299990&uncounted={log_index.BLOCK}")
    await viewer.enter()
    await viewer.until(lambda v: v.got and v.has_told("lines"))
    assert viewer.got == b"123456789\n"
    assert viewer.has_told("lines") == {"of": log_index.BLOCK, "lines": [13_107]}
    await viewer.leave()
    assert not await Viewer(ana, "stream=1/std_log.txt&uncounted=-1").enter()


@pytest.mark.parametrize(
    ("line", "blocks"),
    [(1, [0]), (20_000, [1]), (26_214, [1, 2]), (26_215, [1, 2]), (39_321, [2]), (46_001, []), (10**14, [])],
)
async def test_whoever_comes_for_a_line_gets_what_stands_around_it(ana, job, monkeypatch, line, blocks):
    monkeypatch.setattr(consumers, "WHOLE", 1000)
    logs.append(KEY, 0, b"123456789\n" * 46_000)  # opened at its end, from block 3 on
    viewer = Viewer(ana, f"stream=1/std_log.txt&line={line}")
    await viewer.enter()
    await viewer.until(lambda v: v.start + len(v.got) == 460_000 and v.has_told("lines"))
    assert viewer.start == 3 * log_index.BLOCK
    assert viewer.blocks == {n: logs.read(KEY, n * log_index.BLOCK, log_index.BLOCK) for n in blocks}
    await viewer.leave()
    assert not await Viewer(ana, "stream=1/std_log.txt&line=1e3").enter()


def test_two_hundred_logs_are_offered_in_order(run, job):
    Job.objects.filter(pk=job.pk).update(node_count=200)
    names = [f"1/std_log_process_{rank}.txt" for rank in range(200)]
    for name in names[::-1]:
        logs.add(KEY.replace("1/std_log.txt", name), b"x")
    assert streams_of(run)[0].streams == [*names, "1/studio.txt"]


async def test_who_is_removed_is_cut_off(ana, ben, workspace, job):
    viewer = Viewer(ben)
    await viewer.enter()
    await viewer.until(lambda v: v.has_told("from"))
    await database_sync_to_async(remove_member)(workspace, ben, by=ana)
    closed = await viewer.next()
    assert closed["type"] == "websocket.close"
    assert closed["code"] == 4403


async def test_news_of_the_run_arrive(ana, run, job):
    viewer = Viewer(ana)
    await viewer.enter()
    await viewer.until(lambda v: v.has_told("from"))

    def wait() -> None:
        run.move(RunStatus.QUEUED, reason="waits for 2 nodes of cpu-cluster")

    await database_sync_to_async(wait)()
    await viewer.until(lambda v: v.told and v.told[-1].get("reason") == "waits for 2 nodes of cpu-cluster")
    await viewer.leave()


async def test_garbage_from_a_page_is_hung_up_on(ana, job):
    viewer = Viewer(ana)
    await viewer.enter()
    await viewer.until(lambda v: v.has_told("from"))
    await viewer.say("{")
    assert (await viewer.next())["code"] == 4400


def test_an_attempt_that_has_not_begun_offers_what_will_come(run):
    run.config = {"node_count": 2}
    assert streams_of(run) == [StreamGroup(1, ["1/std_log_process_0.txt", "1/std_log_process_1.txt", "1/studio.txt"])]
    waiting = stream_of(run, "1/std_log_process_1.txt")
    assert waiting is not None
    assert not waiting.ended


def test_the_build_log_is_that_of_the_attempts_environment(run, job):
    environment = Environment.objects.create(digest="ab" * 32, definition={"kind": "pip", "text": "", "python": ""})
    job.environment = environment
    job.save()
    assert streams_of(run)[0].streams == ["1/std_log.txt", "1/environment.txt", "1/studio.txt"]
    stream = stream_of(run, "1/environment.txt")
    assert stream is not None
    assert (stream.key, stream.ended) == (environment.log_key, False)
    Environment.objects.update(state=EnvironmentState.READY)
    ready = stream_of(run, "1/environment.txt")
    assert ready is not None
    assert ready.ended


def test_other_logs_of_an_attempt_are_found(run, job):
    logs.append(f"runs/{RUN_ID}/1/nccl.txt", 0, b"x")
    assert streams_of(run)[0].streams == ["1/std_log.txt", "1/studio.txt", "1/nccl.txt"]


@pytest.fixture
def download(run: Run, job: Job) -> Callable[..., HttpResponse]:
    def ask(user: User, stream: str = "1/std_log.txt", path: str = "/", **headers: str) -> Any:
        request: Any = RequestFactory().get(path, headers=headers)
        request.user, request.workspace = user, run.workspace
        return download_log(request, RUN_ID, stream)

    logs.append(KEY, 0, b"0123456789")
    return ask


def body(response: Any) -> bytes:
    return b"".join(response) if response.streaming else response.content


def test_a_log_is_downloaded_as_it_is(download, rita):
    response = download(rita, path="/?download=1")
    assert body(response) == b"0123456789"
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["Content-Length"] == "10"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Content-Disposition"] == 'attachment; filename="brave_lemur_7k2-1-std_log.txt"'


@pytest.mark.parametrize(
    ("asked", "status", "sent"),
    [
        ("bytes=2-4", 206, b"234"),
        ("bytes=7-", 206, b"789"),
        ("bytes=-3", 206, b"789"),
        ("bytes=5-100", 206, b"56789"),
        ("bytes=0-9", 200, b"0123456789"),
        ("bytes=-100", 200, b"0123456789"),
        ("bytes=10-", 416, b""),
        ("bytes=-0", 416, b""),
        ("bytes=5-2", 416, b""),
        ("bytes=0-1,3-4", 200, b"0123456789"),
        ("lines=1-2", 200, b"0123456789"),
    ],
)
def test_a_range_of_a_log(download, ana, asked: str, status: int, sent: bytes):
    response = download(ana, Range=asked)
    assert (response.status_code, body(response)) == (status, sent)
    if status == 206:
        start = b"0123456789".index(sent)
        assert response["Content-Range"] == f"bytes {start}-{start + len(sent) - 1}/10"
    if status == 416:
        assert response["Content-Range"] == "bytes */10"


def test_a_range_of_a_log_that_grew_meanwhile_is_the_whole(download, ana):
    etag = download(ana)["ETag"]
    assert body(download(ana, Range="bytes=2-4", **{"If-Range": etag})) == b"234"
    logs.append(KEY, 10, b"x")
    assert body(download(ana, Range="bytes=2-4", **{"If-Range": etag})) == b"0123456789x"
    assert download(ana, **{"If-None-Match": download(ana)["ETag"]}).status_code == 304


def test_a_stranger_downloads_nothing(download, cleo, workspace, run):
    from studio.errors import NeedsRight

    with pytest.raises((Http404, NotThere, NeedsRight)):
        download(cleo)


def test_what_is_no_log_is_not_there(download, ana):
    for stream in ("1/..", "..", "1/../2/x", "7/std_log.txt", "1/a/b"):
        with pytest.raises(NotThere):
            download(ana, stream)
