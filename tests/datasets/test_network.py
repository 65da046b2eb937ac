"""Questions to a server, and what a redirect and a certificate must be."""

from __future__ import annotations

import io
import json
import ssl
from urllib.error import URLError
from urllib.request import Request

import pytest
from file_server import FileServer, Served, cut, status, web_page

from skinclf.datasets import _network
from skinclf.datasets._network import DownloadError, Network, fetch_headers, fetch_json

ONCE = Network(n_retries=0, delay=0.0, timeout=5.0, verbose=False)


@pytest.fixture
def server():
    with FileServer() as server:
        yield server


def test_an_answer_in_json(server):
    server.files["/list"] = Served(json.dumps({"a": [1, "ü"]}).encode())
    server.files["/list"].faults.extend([status(500), web_page, cut(2)])
    network = Network(n_retries=3, delay=0.0, timeout=5.0, verbose=False)
    assert fetch_json(f"{server.url}/list", network) == {"a": [1, "ü"]}
    assert len(server.requests) == 4


def test_an_answer_that_is_no_json(server):
    server.files["/list"] = Served(b"<html>Sign in</html>")
    with pytest.raises(
        DownloadError, match=r"because the answer is not JSON: it begins with '<html>Sign in</html>'"
    ):
        fetch_json(f"{server.url}/list", ONCE)


def test_an_answer_without_end(server, monkeypatch):
    monkeypatch.setattr(_network, "_LONGEST_ANSWER", 10)
    server.files["/list"] = Served(b"[" + b"1," * 100 + b"1]")
    with pytest.raises(DownloadError, match="is not JSON"):
        fetch_json(f"{server.url}/list", ONCE)


def test_headers(server):
    server.files["/a"] = Served(b"12345", etag='"one"')
    headers = fetch_headers(f"{server.url}/a", ONCE)
    assert (headers["content-length"], headers["etag"]) == ("5", '"one"')
    server.files["/a"].content_type = "text/html"
    with pytest.raises(DownloadError, match="web page"):
        fetch_headers(f"{server.url}/a", ONCE)
    with pytest.raises(DownloadError, match="status 404"):
        fetch_headers(f"{server.url}/b", ONCE)


@pytest.mark.parametrize("elsewhere", ["http://127.0.0.1/a", "ftp://127.0.0.1/a", "file:///etc/passwd"])
def test_a_redirect_from_https_leads_to_https_only(elsewhere):
    request, answer = Request("https://dataverse.harvard.edu/a"), io.BytesIO()
    redirects = _network._Redirects()
    with pytest.raises(DownloadError, match=rf"harvard\.edu/a sends on to {elsewhere}, which is not HTTPS\."):
        redirects.redirect_request(request, answer, 303, "See Other", {}, elsewhere)
    assert answer.closed
    followed = redirects.redirect_request(request, io.BytesIO(), 303, "See Other", {}, "https://127.0.0.1/a")
    assert followed.full_url == "https://127.0.0.1/a"


def test_a_certificate_that_is_not_valid_is_not_tried_again(monkeypatch):
    calls = []

    class Opener:
        def open(self, request, timeout):
            calls.append(request)
            error = ssl.SSLCertVerificationError("certificate verify failed")
            error.verify_message = "certificate has expired"
            raise URLError(error)

    monkeypatch.setattr(_network, "build_opener", lambda handler: Opener())
    patient = Network(n_retries=3, delay=0.0, timeout=5.0, verbose=False)
    with pytest.raises(DownloadError, match=r"certificate of the server is not valid: certificate has expired\."):
        fetch_json("https://127.0.0.1/list", patient)
    assert len(calls) == 1
