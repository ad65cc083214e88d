"""Wires between a client and a server of this machine, which are slow, or cut."""

import contextlib
import socket
import threading
import time


class Wire:
    """A TCP proxy to a server, which can be slow, and be cut. `cut_after`: bytes that each connection may bring."""

    def __init__(self, port: int, *, rate: float = 0, cut_after: int = 0) -> None:
        self.to, self.rate, self.cut_after, self.cuts = port, rate, cut_after, 0
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.listening.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _where = self.listening.accept()
                far = socket.create_connection(("127.0.0.1", self.to))
                threading.Thread(target=self._pass, args=(near, far, 0), daemon=True).start()
                threading.Thread(target=self._pass, args=(far, near, self.cut_after), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, most: int) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(16 * 1024):
                if self.rate:
                    time.sleep(len(data) / self.rate)
                sink.sendall(data)
                passed += len(data)
                if most and passed > most:
                    self.cuts += 1
                    break
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
