"""An HTTP server on this machine that serves files well, or with one of the faults of real servers."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import struct
import sys
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock


@dataclasses.dataclass
class Served:
    """A file, how the server describes it, and what goes wrong at the next requests.

    Every GET takes one fault off `faults`; without any, the file is served well. ``headers`` replace those of
    the answer; a value of None leaves one out.
    """

    body: bytes
    etag: str | None = None
    content_type: str = "application/octet-stream"
    ranges: bool = True
    faults: deque = dataclasses.field(default_factory=deque)
    headers: dict = dataclasses.field(default_factory=dict)


# A fault is called with the handler and the file. It returns None if it has sent all that is to be sent, or a
# dict: `body` (instead of the file's), `length` (to announce), `cut` (bytes after which the connection is
# broken), `stall` (bytes after which nothing more comes), `headers`, `status`.


def cut(after, *, politely=True):
    """Break the connection after so many bytes, by an orderly end or by a reset."""
    return lambda handler, file: {"cut": after, "politely": politely}


def stall(after):
    return lambda handler, file: {"stall": after}


def lie(length):
    """Announce another length than that of what is sent."""
    return lambda handler, file: {"length": length}


def wrong(body):
    return lambda handler, file: {"body": body}


def web_page(handler, file):
    return {"body": b"<!DOCTYPE html><title>Back soon</title>", "headers": {"Content-Type": "text/html"}}


def status(code, **headers):
    def answer(handler, file):
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


def redirect(location, code=303):
    return status(code, Location=location)


def other_range(handler, file):
    """Answer with status 206, and another part than the one asked for."""
    return {"status": 206, "headers": {"Content-Range": f"bytes 0-{len(file.body) - 1}/{len(file.body)}"}}


def in_chunks(body=None, *, broken=False):
    """Send without a length, in chunks; `broken` leaves the last chunk out."""

    def answer(handler, file):
        sent = file.body if body is None else body
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        half = len(sent) // 2
        for block in (sent[:half], sent[half:]):
            handler.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
        if not broken:
            handler.wfile.write(b"0\r\n\r\n")
        handler.close_connection = True

    return answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self._answer(send_body=False)

    def do_GET(self):
        self._answer(send_body=True)

    def _answer(self, *, send_body):
        server = self.server.owner
        with server.lock:
            server.requests.append((self.command, self.path, dict(self.headers)))
            file = server.files.get(self.path)
            fault = file.faults.popleft() if file and send_body and file.faults else None
        if file is None:
            return status(404)(self, file)
        plan = fault(self, file) if fault else {}
        if plan is None:
            return None
        body, code, start = plan.get("body", file.body), 200, 0
        headers = {"Content-Type": file.content_type, "ETag": file.etag} | file.headers
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        same = self.headers.get("If-Range") in (None, file.etag, file.headers.get("Last-Modified"))
        if asked and file.ranges and same:
            code, start = 206, int(asked[1])
            if start >= len(body):
                return status(416)(self, file)
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        headers |= plan.get("headers", {})
        body = body[start:]
        headers["Content-Length"] = str(plan.get("length", len(body)))
        self.send_response(plan.get("status", code))
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        if send_body:
            self._send(body, plan)
        return None

    def _send(self, body, plan):
        end = plan.get("cut", plan.get("stall", len(body)))
        self.wfile.write(body[:end])
        self.wfile.flush()
        if "stall" in plan:
            self.server.owner.no_more_stalls.wait(60)
        if "cut" in plan and not plan["politely"]:
            # With a linger time of zero, closing sends a reset instead of an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients may hang up
            super().handle_error(request, client_address)


class FileServer:
    """Serve `files` (path -> Served) at `url` until the end of the ``with`` block, and note all `requests`."""

    def __init__(self):
        self.files = {}
        self.requests = []
        self.lock = threading.Lock()
        self.no_more_stalls = threading.Event()

    def __enter__(self):
        self._environment = mock.patch.dict(os.environ, no_proxy="127.0.0.1")
        self._environment.start()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self.no_more_stalls.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._environment.stop()

    def gets(self, path=None):
        """Return the headers of the GET requests for a path, or of all."""
        return [headers for method, asked, headers in self.requests if method == "GET" and path in (None, asked)]
