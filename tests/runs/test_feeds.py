"""One watch on a log serves all who look at it."""

import asyncio
import os

import pytest

from compute import logs
from runs import feeds
from runs.feeds import watching

KEY = "runs/digits-svm_1763846400_1f0c9a3b/1/std_log.txt"


async def test_viewers_of_a_log_share_one_watch_and_the_last_ends_it():
    with watching(KEY) as first:
        with watching(KEY) as second:
            assert first is second
            assert len(feeds._feeds) == 1
        assert len(feeds._feeds) == 1
    assert feeds._feeds == {}


async def test_a_viewer_waits_for_a_log_that_does_not_exist_yet():
    with watching(KEY) as feed:
        waiting = asyncio.create_task(feed.beyond(0))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        logs.append(KEY, 0, b"first line\n")
        assert await asyncio.wait_for(waiting, 1) == 11


async def test_growth_wakes_every_viewer_soon():
    with watching(KEY) as feed:
        waiting = [asyncio.create_task(feed.beyond(0)) for _ in range(50)]
        await asyncio.sleep(0)
        began = asyncio.get_running_loop().time()
        logs.append(KEY, 0, b"x")
        assert await asyncio.gather(*waiting) == [1] * 50
        assert asyncio.get_running_loop().time() - began < 0.5


async def test_a_log_that_was_cut_wakes_its_viewers_too():
    logs.append(KEY, 0, b"a long line\n")
    with watching(KEY) as feed:
        waiting = asyncio.create_task(feed.beyond(12))
        await asyncio.sleep(0)
        logs.path(KEY).write_bytes(b"new\n")
        assert await asyncio.wait_for(waiting, 1) == 4


async def test_a_viewer_that_comes_later_sees_the_size_of_now():
    with watching(KEY) as feed:
        logs.append(KEY, 0, b"12345")
        with watching(KEY):
            assert feed.size == 5


async def test_two_hundred_logs_grow_at_once_and_none_loses_a_byte():
    keys = [f"runs/r/1/std_log_process_{rank}.txt" for rank in range(200)]
    wanted = {key: b"".join(b"%s step %d\n" % (key.encode(), step) for step in range(20)) for key in keys}

    async def view(key: str) -> bytes:
        got = b""
        with watching(key) as feed:
            while len(got) < len(wanted[key]):
                size = await feed.beyond(len(got))
                got += logs.read(key, len(got), size - len(got))
        return got

    viewers = [asyncio.create_task(view(key)) for key in keys]
    for step in range(20):
        for key in keys:
            logs.add(key, b"%s step %d\n" % (key.encode(), step))
        await asyncio.sleep(0.005)
    assert await asyncio.wait_for(asyncio.gather(*viewers), 10) == list(wanted.values())


async def test_the_kernel_tells_of_every_write_where_nobody_looks(monkeypatch: pytest.MonkeyPatch):
    for name in ("UNBORN_SECONDS", "QUIET_SECONDS"):
        monkeypatch.setattr(feeds, name, 3600)
    monkeypatch.setattr(feeds, "QUIET_AFTER", -1)
    logs.append(KEY, 0, b"")
    with watching(KEY) as feed:
        for size in range(5):
            waiting = asyncio.create_task(feed.beyond(size))
            await asyncio.sleep(0.05)
            logs.add(KEY, b"x")
            assert await asyncio.wait_for(waiting, 5) == size + 1
    assert feeds._growths == {}


async def test_a_feed_looks_by_itself_where_the_kernel_will_not_tell(monkeypatch: pytest.MonkeyPatch):
    def refuse() -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(feeds, "Growth", refuse)
    with watching(KEY) as feed:
        waiting = asyncio.create_task(feed.beyond(0))
        await asyncio.sleep(0)
        logs.append(KEY, 0, b"line\n")
        assert await asyncio.wait_for(waiting, 5) == 5


async def test_a_feed_that_ends_leaves_alone_what_has_its_number_next():
    loop, heard = asyncio.get_running_loop(), asyncio.Event()
    logs.append(KEY, 0, b"line\n")
    with watching(KEY):
        await asyncio.sleep(0.05)  # the kernel is listened to by now
        number = feeds._growths[loop]._inotify.fd
    ends = [os.pipe() for _ in range(8)]  # of these one is likely to get the number, were it free
    try:
        for come, _go in ends:
            loop.add_reader(come, heard.set)
        await asyncio.sleep(0.05)  # now it is free
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        for come, go in ends:
            heard.clear()
            os.write(go, b"x")
            await asyncio.wait_for(heard.wait(), 5)
            os.read(come, 1)
    finally:
        for come, go in ends:
            loop.remove_reader(come)
            os.close(come)
            os.close(go)
