"""A small web server on loopback, of which each answer is scripted."""

from __future__ import annotations

import contextlib
import gzip
import ssl
import threading
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Asked", "Said", "Web", "web"]


@dataclass(frozen=True)
class Asked:
    """A request: `headers` with names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Said:
    """An answer. `cut`: bytes of the body after which the connection ends. `after`, `drip`: seconds before the answer,
    and before each byte of its body."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    cut: int | None = None
    after: float = 0.0
    drip: float = 0.0

    def zipped(self) -> Said:
        """The same, compressed."""
        return Said(self.status, gzip.compress(self.body), {**self.headers, "Content-Encoding": "gzip"}, self.cut)


class Web:
    """Answers each request by `answer`, which may be replaced at any time; keeps what was `asked`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self.answer: Callable[[Asked], Said] = lambda _: Said(404)
        self.over = threading.Event()


@contextlib.contextmanager
def web(*, certificate: tuple[str, str] | None = None) -> Generator[Web]:
    """A server for as long as the block lasts. `certificate`: files of a certificate and its key, for https."""
    scheme = "http" if certificate is None else "https"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = Asked(self.command, self.path, {name.lower(): value for name, value in self.headers.items()})
            page.asked.append(asked)
            said = page.answer(asked)
            if said.after:
                page.over.wait(said.after)
            with contextlib.suppress(OSError):  # the client has gone: it is what some tests are about
                self.say(said)

        do_HEAD = do_POST = do_GET

        def say(self, said: Said) -> None:
            self.send_response(said.status)
            for name, value in said.headers.items():
                self.send_header(name, value)
            if said.status != 304:
                self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            if self.command == "HEAD" or said.status == 304:
                return
            body = said.body if said.cut is None else said.body[: said.cut]
            if said.drip:
                for at in range(len(body)):
                    if page.over.wait(said.drip):
                        break
                    self.wfile.write(body[at : at + 1])
            else:
                self.wfile.write(body)
            if said.cut is not None:
                self.close_connection = True

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    page = Web(f"{scheme}://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield page
    finally:
        page.over.set()
        server.shutdown()
        server.server_close()
        thread.join()
