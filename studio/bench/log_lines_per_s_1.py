"""Lines of 90 bytes from a run that writes as fast as it can to one open page, each of them compared."""

from typing import TYPE_CHECKING

from studio.bench.figures import Samples
from studio.bench.viewers import Viewer, until_delivered

if TYPE_CHECKING:
    from studio.bench import Bench
    from studio.bench.product import Product

LINE, TIMES = 90, 5
BLOCK = 10_000  # lines that the script writes at once, made before
SCRIPT = """
import os, pathlib, time
block = b"".join(b"%-89d\\n" % n for n in range({block}))
while not pathlib.Path("go").exists():
    time.sleep(0.01)
os.write(1, f"{{time.monotonic():<89}}\\n".encode())
for _ in range({lines} // {block}):
    rest = block
    while rest:
        rest = rest[os.write(1, rest):]
"""


def measure(bench: "Bench") -> Samples:
    return Samples([deliver(bench.product, 1, 2_000_000) for _ in range(TIMES)], ["from the script's first line on"])


def deliver(product: "Product", viewers: int, lines: int, stopped: int = 0) -> float:
    """Return the lines a second that `viewers` got in all, beside `stopped` ones that read nothing."""
    run = product.run(SCRIPT.format(lines=lines, block=BLOCK))
    product.wait_for_statuses([run], "Running")
    cookie = product.cookie()
    open_, asleep = ([Viewer(product.url, cookie, run.run_id) for _ in range(count)] for count in (viewers, stopped))
    try:
        product.let_go(run)
        file = product.log_file(run)
        product.wait_until(lambda: file.exists() and file.stat().st_size >= LINE)
        with file.open() as written:
            began = float(written.readline())
        took = until_delivered(open_, file, (lines + 1) * LINE) - began
        product.wait_for_statuses([run], "Completed")
    finally:
        for viewer in (*open_, *asleep):
            viewer.cut()
    file.unlink()
    return lines * viewers / took
