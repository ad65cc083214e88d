"""A browser's socket to the whole application, as a server hands it over: origin, cookies and all."""

from typing import Any

from asgiref.testing import ApplicationCommunicator
from django.conf import settings

from studio.asgi import application

OURS = "http://localhost"


class Socket:
    """A socket of whoever has the session `key`, from a page of `origin`; or of a program that shows `token`."""

    def __init__(self, path: str, key: str = "", *, origin: str = OURS, token: str = "") -> None:
        path, _mark, query = path.partition("?")
        headers = [(b"host", b"localhost")]
        headers.append((b"authorization", f"Bearer {token}".encode()) if token else (b"origin", origin.encode()))
        if key:
            headers.append((b"cookie", f"{settings.SESSION_COOKIE_NAME}={key}".encode()))
        scope: dict[str, Any] = {
            "type": "websocket",
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
            "subprotocols": [],
        }
        self.wire = ApplicationCommunicator(application, scope)

    async def opens(self) -> bool:
        """Knock; say whether the door was opened."""
        await self.wire.send_input({"type": "websocket.connect"})
        return bool((await self.wire.receive_output(5))["type"] == "websocket.accept")

    async def closes(self) -> int:
        """Wait until the studio hangs up; return its code."""
        while (message := await self.wire.receive_output(5))["type"] != "websocket.close":
            pass
        return int(message["code"])

    async def leaves(self) -> None:
        await self.wire.send_input({"type": "websocket.disconnect", "code": 1001})
        await self.wire.wait()
