"""Ask a server, patiently: what may be a passing trouble is tried again, and what is none is said at once."""

from __future__ import annotations

import http
import http.client
import json
import logging
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any, Protocol, TypeVar
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from skinclf import __version__

_PROGRESS = 1 << 20
"""An attempt that brings this many bytes more than any before it was worth it, and does not count as failed."""

_LONGEST_WAIT = 60.0
_LONGEST_ANSWER = 16 << 20
_WORTH_ANOTHER_TRY = frozenset({408, 425, 429})
_logger = logging.getLogger(__name__)
_T = TypeVar("_T")


@dataclass(frozen=True)
class Network:
    """How patient to be with a network.

    Attributes
    ----------
    n_retries : int
        How many failures in a row are followed by another attempt.
    delay : float
        Seconds before the second attempt; they double with each further one, up to a minute.
    timeout : float
        Seconds without a byte after which an attempt has failed.
    verbose : bool
        Whether to show progress, and what is tried again, on the standard error stream.
    """

    n_retries: int = 3
    delay: float = 1.0
    timeout: float = 30.0
    verbose: bool = True


class DownloadError(OSError):
    """The network, or the server, did not give what was asked for."""


class AttemptError(Exception):
    """One attempt failed; another may not."""

    def __init__(self, reason: str, *, start_anew: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.start_anew = start_anew
        self.wait = wait


class Resumable(Protocol):
    """What attempts add to, and what is left of it when they fail."""

    def length(self) -> int:
        """Return how many bytes there are."""

    def discard(self) -> None:
        """Throw them away."""

    def known(self) -> Mapping[str, Any]:
        """Return what is known of them; nothing if one cannot go on with them."""


class _Redirects(HTTPRedirectHandler):
    """Follow a few redirects, over HTTP and HTTPS only, and never from HTTPS to HTTP."""

    max_redirections = 5

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and (scheme != "http" or urlsplit(req.full_url).scheme == "https"):
            fp.close()
            raise DownloadError(
                f"{req.full_url} sends on to {newurl}, which is not HTTPS. Nothing was downloaded from there."
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch_json(url: str, network: Network) -> Any:
    """Return what a server answers in JSON.

    Parameters
    ----------
    url : str
        The address.
    network : Network
        How patient to be.

    Returns
    -------
    object
        Any JSON value.

    Raises
    ------
    DownloadError
        If there is no answer, or it is no JSON.
    """

    def ask() -> Any:
        with reply(url, network) as response, network_errors(network):
            text = response.read(_LONGEST_ANSWER + 1)
        try:
            return json.loads(text[:_LONGEST_ANSWER])
        except ValueError as error:
            shown = text[:60].decode("utf-8", "replace")
            raise AttemptError(f"the answer is not JSON: it begins with {shown!r}") from error

    return with_retries(f"Asking {url}", network, ask)


def fetch_headers(url: str, network: Network) -> Message:
    """Return the headers with which a server describes a file, without the file.

    Parameters
    ----------
    url : str
        The address.
    network : Network
        How patient to be.

    Returns
    -------
    Message
        The headers; their names may be asked for in any case.

    Raises
    ------
    DownloadError
        If there is no answer, or it is a web page instead of a file.
    """

    def ask() -> Message:
        with reply(url, network, method="HEAD") as response:
            refuse_web_page(response)
            return response.headers

    return with_retries(f"Asking for {url}", network, ask)


def with_retries(what: str, network: Network, action: Callable[[], _T], part: Resumable | None = None) -> _T:
    """Return what an action returns, after as many attempts as it takes and the network is worth.

    Parameters
    ----------
    what : str
        What the action does, as the beginning of a sentence on its failure.
    network : Network
        How patient to be.
    action : callable
        One attempt.
    part : Resumable, optional
        What the attempts add to.

    Returns
    -------
    object
        What the first attempt that succeeds returns.

    Raises
    ------
    DownloadError
        If too many attempts in a row raise AttemptError, or one of them raises DownloadError.
    """
    failures, furthest = 0, part.length() if part else 0
    while True:
        try:
            return action()
        except AttemptError as error:
            reached = part.length() if part else 0
            if reached >= furthest + _PROGRESS:
                failures, furthest = 0, reached
            if part and error.start_anew:
                part.discard()
            failures += 1
            if failures > network.n_retries:
                times = f" {failures} times in a row, the last time" if failures > 1 else ""
                kept = part.known() and part.length() if part else 0
                more = f" {kept:,} bytes are kept, to go on from there." if kept else ""
                raise DownloadError(f"{what} failed{times} because {error}.{more}") from error
            wait = min(max(network.delay * 2.0 ** min(failures - 1, 30), error.wait), _LONGEST_WAIT)
            told = f"{what} failed because {error}. Another attempt in {wait:g} s."
            _logger.info("%s", told)
            if network.verbose:
                _write_beside_bars(told)
            time.sleep(wait)


def _write_beside_bars(text: str) -> None:
    from tqdm import tqdm  # only those who download pay for the import

    tqdm.write(text, file=sys.stderr)


@contextmanager
def reply(
    url: str, network: Network, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> Iterator[http.client.HTTPResponse]:
    """Open an address, and close it in the end.

    The Dataverse at Harvard refuses the names that HTTP libraries give themselves (issue 479 of
    IQSS/dataverse.harvard.edu), so we say who we are.

    Parameters
    ----------
    url : str
        The address.
    network : Network
        How long to wait.
    headers : mapping of str to str, optional
        Headers to send.
    method : str, default="GET"
        What to ask for.

    Yields
    ------
    HTTPResponse
        An answer with a status that is no error.

    Raises
    ------
    AttemptError, DownloadError
        See `network_errors`.
    """
    sent = {"User-Agent": f"skinclf/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
    request = Request(url, headers=sent, method=method)
    with network_errors(network):
        response = build_opener(_Redirects).open(request, timeout=network.timeout)
    with response:
        yield response


@contextmanager
def network_errors(network: Network) -> Iterator[None]:
    """Turn what urllib raises into AttemptError where another attempt may help, else into DownloadError.

    Parameters
    ----------
    network : Network
        How long it waited.

    Raises
    ------
    AttemptError
        If a connection broke or stalled, or a server has trouble of its own.
    DownloadError
        If a server refuses, or cannot be trusted.
    """
    try:
        yield
    except DownloadError:
        raise
    except HTTPError as error:
        with error:
            raise _explain_status(error) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)  # URLError wraps what happened
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"The certificate of the server is not valid: {reason.verify_message}.") from error
        if isinstance(reason, TimeoutError):
            raise AttemptError(f"the server sent nothing for {network.timeout:g} s") from error
        raise AttemptError(f"the connection broke ({str(reason) or type(reason).__name__})") from error


def _explain_status(error: HTTPError) -> Exception:
    """Return the exception for an HTTP status that is an error."""
    if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return AttemptError("the server's file is shorter than the part that is here", start_anew=True)
    # Without the query: in the address of a storage server it is a signature of several lines.
    address, reason = error.url.partition("?")[0], str(error.reason).partition("\n")[0]
    told = f"{address} answers with status {error.code} ({reason})"
    if error.code >= 500 or error.code in _WORTH_ANOTHER_TRY:
        seconds = error.headers.get("Retry-After", "")
        return AttemptError(told, wait=float(seconds) if seconds.isdecimal() else 0.0)
    return DownloadError(f"{told}.")


def refuse_web_page(response: http.client.HTTPResponse) -> None:
    """Refuse an answer that is a page for people, such as "we are back soon", where a file was asked for.

    Parameters
    ----------
    response : HTTPResponse
        The answer; its body is not read.

    Raises
    ------
    AttemptError
        If it says that it is HTML.
    """
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise AttemptError(f"the server answers with a web page (status {response.status}) instead of the file")
