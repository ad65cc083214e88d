"""Our side of the comparison: a form that is posted, and a log that is heard over its socket, as a page does it."""

import json
import time
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING
from uuid import uuid4

from websockets.sync.client import connect
from websockets.typing import Origin

from studio.bench.product import CLUSTER

if TYPE_CHECKING:
    from studio.bench.product import Product

FIRST = "import time\nprint('the first line', flush=True)\n"


class Ours:
    def __init__(self, product: "Product") -> None:
        self.product = product
        name, value = product.cookie()
        self.cookie = f"{name}={value}"
        product.set_idle_seconds(86400)

    def ask(self, question: str) -> float:
        name, _space, count = question.partition(" ")
        return self.first() if name == "first" else self.many(int(count))

    def first(self) -> float:
        started = time.monotonic()
        made = self.submit(FIRST)
        address = (
            self.product.url.replace("http", "ws", 1) + made["log"] + "?stream=" + urllib.parse.quote(made["stream"])
        )
        headers = {"Cookie": self.cookie}
        with connect(address, origin=Origin(self.product.url), additional_headers=headers) as socket:
            while not (isinstance(piece := socket.recv(timeout=60), bytes) and b"the first line" in piece):
                continue
        return time.monotonic() - started

    def many(self, count: int) -> float:
        from runs.models import Run
        from runs.states import FINAL

        started = time.monotonic()
        ids = [self.submit("print('done')\n")["location"].strip("/").rpartition("/")[2] for _n in range(count)]
        while self.product.ask(lambda: Run.objects.filter(run_id__in=ids).exclude(status__in=FINAL).exists()):
            time.sleep(0.02)
        return time.monotonic() - started

    def submit(self, script: str) -> dict[str, str]:
        """Post the submit page's form, and return where the run and its log are."""
        token = "x" * 32
        form = {
            "csrfmiddlewaretoken": token, "token": str(uuid4()), "experiment": "peers", "target": CLUSTER,
            "node_count": "1", "source": "paste", "code": script, "code_name": "train.py",
            "environment": "interpreter", "max_duration": "1 h", "restarts": "0",
        }  # fmt: skip
        request = urllib.request.Request(  # noqa: S310 - our own address
            f"{self.product.url}/w/default/submit/",
            data=urllib.parse.urlencode(form).encode(),
            headers={
                "Cookie": f"{self.cookie}; csrftoken={token}",
                "Accept": "application/json",
                "Origin": self.product.url,
            },
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            made: dict[str, str] = json.load(answer)
        return made
