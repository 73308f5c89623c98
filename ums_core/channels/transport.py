"""Calls over HTTP: one pool of connections, deadlines, and repetitions where nothing can be written twice."""

import gzip
import os
import random
import ssl
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from threading import Condition
from time import monotonic
from types import ModuleType
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit
from weakref import WeakSet

from ums_core.errors import MissingExtra, RemoteError, ServiceUnreachable, SettingsError, StoreClosed, UMSError
from ums_core.policy import PrivacyMode
from ums_core.wire.calls import Call
from ums_core.wire.problem import load_problem

if TYPE_CHECKING:
    import httpx

__all__ = ["RemoteOptions", "Transport", "check_url"]

T = TypeVar("T")
# Statuses of a service that is busy, starting, stopping, or behind a proxy that lost it.
_PASSING = frozenset({429, 502, 503, 504})
_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_USER_AGENT = "ums-core"
# A stream says something every ten seconds.
_SILENCE_S = 30.0
_OK = 200
# Smaller bodies gain nothing; vectors, which are most of a large one, still lose a quarter.
_WORTH_BYTES, _GZIP_LEVEL = 4096, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteOptions:
    """How a service is reached.

    Attributes:
        timeout_s: seconds for one attempt, from sending to the last byte of the answer; each piece of a header that
            comes alone, or of an answer that decompresses to nothing yet, lets them begin anew.
        connect_timeout_s: seconds to reach the service at all.
        attempts: how often a call is tried that may be repeated, from 1. What may not is sent once.
        connections: open at most, shared by all threads.
        max_answer_bytes: of an answer once it is decompressed; a longer one is an error.
        ca_file: certificates to trust in place of those that ship with httpx; certificates are always verified.
        allow_insecure_transport: whether ``http://`` may go beyond this machine.
        privacy_mode: ``strict`` tells the service of no use of a memory; the settings' default, where they open it.
    """

    timeout_s: float = 10.0
    connect_timeout_s: float = 2.0
    attempts: int = 3
    connections: int = 16
    max_answer_bytes: int = 1 << 28
    ca_file: str = ""
    allow_insecure_transport: bool = False
    privacy_mode: PrivacyMode = "standard"

    def __post_init__(self) -> None:
        """Check every field once."""
        for name in ("timeout_s", "connect_timeout_s", "attempts", "connections", "max_answer_bytes"):
            value = getattr(self, name)
            if not isinstance(value, int | float) or not value > 0:
                raise SettingsError(f"{name} must be a number greater than 0, got {value!r}")


def check_url(url: str, *, allow_insecure_transport: bool = False) -> bool:
    """Whether the service is on this machine.

    Raises:
        SettingsError: not the address of a service, or one without encryption beyond this machine.
    """
    if not isinstance(url, str) or "@" in url or "?" in url:
        # What stands there may be a secret, and is not repeated.
        raise SettingsError("the url of a service holds no user, password or query; the token is given apart from it")
    unlike = f"the url of a service looks like https://memory.example.org, got {url!r}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(unlike) from error
    # Blanks and control characters are read differently by whoever reads them.
    if parts.scheme not in {"http", "https"} or not host or parts.fragment or not url.isprintable() or " " in url:
        raise SettingsError(unlike)
    loopback = _is_loopback(host)
    if parts.scheme == "http" and not loopback and not allow_insecure_transport:
        raise SettingsError(
            f"{url} is not encrypted and not on this machine; use https://, "
            "or allow_insecure_transport on a network that you trust"
        )
    return loopback


class Transport:
    """Sends calls. Thread-safe; its repr and its errors never hold the token.

    Args:
        url: of the service, https, or http to this machine.
        token: for ``Authorization``.
        options: how the service is reached.

    Raises:
        SettingsError: the url or the token cannot be used.
        MissingExtra: httpx is not installed.
    """

    def __init__(self, url: str, token: str, options: RemoteOptions) -> None:
        loopback = check_url(url, allow_insecure_transport=options.allow_insecure_transport)
        if not isinstance(token, str) or not token.isascii() or not token.isprintable() or not token.strip():
            raise SettingsError("the token of a service is a line of ASCII characters: what `ums tokens create` prints")
        self.url = url.rstrip("/")
        self.loopback = loopback
        self.options = options
        self._httpx = _httpx()
        self.tls = _certificates(options.ca_file)
        self._headers = {"Authorization": f"Bearer {token.strip()}", "User-Agent": _USER_AGENT}
        self._urls: dict[str, httpx.URL] = {}
        self._closed = False
        # Whether the service has said that it takes compressed bodies. On this machine there is nothing to gain.
        self._takes_gzip = False
        self._begin()
        _open.add(self)

    def _begin(self) -> None:
        """Have connections of one's own, none of them open yet, and nothing under way."""
        limits = self._httpx.Limits(max_connections=self.options.connections)
        # On this machine a call goes to the pool at once: what a client does before, that no call needs, would double
        # its cost. No proxy of the environment has any business with what stays here.
        self._pool: httpx.HTTPTransport | None = None
        if self.loopback:
            self._pool = self._httpx.HTTPTransport(self.tls or True, limits=limits, trust_env=False)
        self._client: httpx.Client = self._httpx.Client(
            base_url=self.url,
            headers=self._headers,
            timeout=self._httpx.Timeout(self.options.timeout_s, connect=self.options.connect_timeout_s),
            limits=limits,
            verify=self.tls or True,
            follow_redirects=False,
            trust_env=not self.loopback,
            transport=self._pool,
        )
        self._timeouts = {"timeout": self._client.timeout.as_dict()}
        self._state = Condition()
        self._under_way = 0

    def send(self, call: Call[T]) -> T:
        """What the call's verb returned.

        Raises:
            UMSError: what the service raised.
            ServiceUnreachable: no answer in time.
            RemoteError: an answer that cannot be understood.
            StoreClosed: after ``close()``.
        """
        with self._one_more():
            attempt = 0
            while True:
                attempt += 1
                last = attempt >= self.options.attempts
                try:
                    status, body = self._exchange(call)
                except ServiceUnreachable as error:
                    if last or not (call.repeatable or error.nothing_sent):
                        raise
                    self._pause(attempt, 0.0)
                    continue
                try:
                    return call.result(status, body)
                except UMSError as error:
                    after = getattr(error, "retry_after_s", 0.0)
                    if last or not call.repeatable or status not in _PASSING or after > _LONGEST_PAUSE_S:
                        raise
                    self._pause(attempt, after)

    def lines(self, path: str, headers: Mapping[str, str]) -> Iterator[str]:
        """The lines of an answer that goes on, as they come.

        Raises:
            UMSError: what the service raised.
            ServiceUnreachable: it broke off, or was silent for too long.
            StoreClosed: after ``close()``.
        """
        self.check_open()
        timeout = self._httpx.Timeout(_SILENCE_S, connect=self.options.connect_timeout_s)
        try:
            with self._client.stream("GET", path, headers=headers, timeout=timeout) as answer:
                if answer.status_code != _OK:
                    raise load_problem(answer.status_code, answer.read())
                yield from answer.iter_lines()
        except self._httpx.TransportError as error:
            raise self._unreachable(error) from error

    @property
    def authorization(self) -> dict[str, str]:
        """The header fields that say who asks."""
        return {"Authorization": self._headers["Authorization"]}

    def check_open(self) -> None:
        """Pass before ``close()``.

        Raises:
            StoreClosed: after it.
        """
        if self._closed:
            raise StoreClosed(f"the connection to {self.url} was closed; make a new RemoteStore")

    def pause(self, failures: int, error: UMSError | None) -> None:
        """Wait before the next attempt, as long as the error says at least.

        Raises:
            UMSError: the error itself, after ``attempts`` failures.
            StoreClosed: after ``close()``.
        """
        if error is not None and failures >= self.options.attempts:
            raise error
        self._pause(failures, getattr(error, "retry_after_s", 0.0))

    def close(self) -> None:
        """Let calls under way end, and the connections go; a second call does nothing."""
        with self._state:
            self._closed = True
            self._state.notify_all()
            self._state.wait_for(lambda: not self._under_way)
        self._client.close()

    def __repr__(self) -> str:
        """Return the address without the token."""
        return f"Transport({self.url!r})"

    def _exchange(self, call: Call[T]) -> tuple[int, bytes]:
        sent, headers = self._packed(call.body)
        deadline = monotonic() + self.options.timeout_s
        try:
            with self._asked(call, sent, headers) as answer:
                self._takes_gzip = not self.loopback and "gzip" in answer.headers.get("accept-encoding", "")
                body = bytearray()
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > self.options.max_answer_bytes:
                        raise RemoteError(f"the answer of {self.url} is larger than max_answer_bytes; ask for less")
                    if monotonic() > deadline:
                        raise ServiceUnreachable(
                            f"{self.url} did not end its answer within {self.options.timeout_s:g} s"
                        )
                return answer.status_code, bytes(body)
        except self._httpx.TransportError as error:
            raise self._unreachable(error) from error
        except self._httpx.DecodingError as error:
            raise RemoteError(f"the answer of {self.url} cannot be decompressed") from error

    def _asked(
        self, call: Call[T], content: bytes, headers: Mapping[str, str]
    ) -> "AbstractContextManager[httpx.Response]":
        """The answer to a call, of which nothing but the header is read yet."""
        if self._pool is None:
            return self._client.stream(call.method, call.path, content=content or None, headers=headers)
        url = self._urls.get(call.path)
        if url is None:
            url = self._urls[call.path] = self._httpx.URL(self.url + call.path)
        fields = [*self._client.headers.raw, *((name.encode(), value.encode()) for name, value in headers.items())]
        request = self._httpx.Request(
            call.method, url, headers=fields, content=content or None, extensions=self._timeouts
        )
        answer: httpx.Response = self._pool.handle_request(request)
        return closing(answer)

    def _packed(self, body: bytes) -> tuple[bytes, dict[str, str]]:
        """The body as it is sent, and the header fields that say how."""
        headers = {"Content-Type": "application/json"} if body else {}
        if self._takes_gzip and len(body) >= _WORTH_BYTES:
            return gzip.compress(body, _GZIP_LEVEL), {**headers, "Content-Encoding": "gzip"}
        return body, headers

    def _unreachable(self, error: "httpx.TransportError") -> ServiceUnreachable:
        unsent = (self._httpx.ConnectError, self._httpx.ConnectTimeout, self._httpx.PoolTimeout)
        failure = ServiceUnreachable(
            f"{self.url} does not answer ({type(error).__name__}: {error}); does the service run?"
        )
        failure.nothing_sent = isinstance(error, unsent)
        return failure

    def _pause(self, attempt: int, at_least: float) -> None:
        spread = random.uniform(0, _PAUSE_S * 2**attempt)  # noqa: S311  # keeps clients apart, no secret
        with self._state:
            self._state.wait_for(lambda: self._closed, min(at_least + spread, _LONGEST_PAUSE_S))
        self.check_open()

    @contextmanager
    def _one_more(self) -> Iterator[None]:
        with self._state:
            self.check_open()
            self._under_way += 1
        try:
            yield
        finally:
            with self._state:
                self._under_way -= 1
                self._state.notify_all()


_open: WeakSet[Transport] = WeakSet()


def _forked() -> None:
    """Leave the connections to the parent: over a shared one, each process would read answers to the other."""
    for transport in _open:
        transport._begin()  # noqa: SLF001  # of this file


os.register_at_fork(after_in_child=_forked)


def _httpx() -> ModuleType:
    try:
        import httpx  # noqa: PLC0415  # optional: extra `http`
    except ModuleNotFoundError as missing:
        raise MissingExtra("a remote store needs httpx: pip install 'ums-core[http]'") from missing
    return httpx


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _certificates(ca_file: str) -> ssl.SSLContext | None:
    """What to trust; None is what httpx and websockets trust by themselves."""
    if not ca_file:
        return None
    try:
        return ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SettingsError(f"ca_file {ca_file!r} cannot be read as certificates: {error}") from error
