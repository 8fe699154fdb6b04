"""A bad link: a TCP proxy that delays, narrows and cuts."""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import suppress


class BadLink:
    """Forwards connections to a port; each is cut after a random number of bytes, and slow until then.

    Attributes:
        port: where it listens.
        cuts: how many connections it has cut.
    """

    def __init__(self, target: int, *, delay: float, rate: float, between: tuple[int, int], seed: int = 1) -> None:
        """`delay` in seconds for every piece, `rate` in bytes per second, a cut after `between` bytes of the client."""
        self._target, self._delay, self._rate, self._between = target, delay, rate, between
        self._random = random.Random(seed)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self.cuts = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                allowed = self._random.randint(*self._between)
                threading.Thread(target=self._pump, args=(client, server, allowed), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, None), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, allowed: int | None) -> None:
        with suppress(OSError):
            while piece := source.recv(16_384):
                time.sleep(self._delay + len(piece) / self._rate)
                if allowed is not None:
                    allowed -= len(piece)
                    if allowed < 0:
                        self.cuts += 1
                        break
                sink.sendall(piece)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
