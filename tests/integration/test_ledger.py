"""More is asked for than there is, by several processes, one of which is killed: exactly the limit is granted."""

import pytest

from studio.bench.ledger_granted import Asking, postgresql

LIMIT = 60


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_exactly_the_limit_is_granted_whoever_asks_and_dies(kind: str) -> None:
    if kind == "sqlite":
        ask_for_more_than_there_is({})
        return
    with postgresql() as address:
        ask_for_more_than_there_is({"DATABASE_URL": address})


def ask_for_more_than_there_is(environ: dict[str, str]) -> None:
    with Asking(environ) as asking:
        asking.prepare(LIMIT)
        processes = [asking.start(attempts=LIMIT // 2) for _n in range(3)]
        doomed = asking.start(attempts=100_000)
        assert [process.wait(60) for process in processes] == [0, 0, 0]
        doomed.kill()
        doomed.wait()
        assert asking.result() == (LIMIT, 0)
