"""A connection to a service that stays open, and no more of a client than HTTP asks for.

The standard library spends a fifth of a millisecond on a call, most of it in its parser of electronic mail, which reads
the header. That is no cost of HTTP; a client written in C has none of it.
"""

import http
import socket
from types import TracebackType
from typing import Self

from httptools import HttpResponseParser

__all__ = ["Connection"]

_AT_ONCE = 1 << 16


class Connection:
    """One connection, for one call at a time.

    Args:
        port: on this machine.
        timeout_s: seconds to wait for each piece of an answer.

    Raises:
        ConnectionRefusedError: nobody listens.
    """

    def __init__(self, port: int, timeout_s: float = 60.0) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def post(self, path: str, token: str, body: bytes) -> bytes:
        """The body of an answer that is 200.

        Raises:
            ConnectionError: another status, or no answer to the end.
        """
        self._socket.sendall(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
        answer = _Answer()
        parser = HttpResponseParser(answer)
        while not answer.complete:
            piece = self._socket.recv(_AT_ONCE)
            if not piece:
                raise ConnectionError("the connection ended before the answer did")
            parser.feed_data(piece)
        told = b"".join(answer.pieces)
        if parser.get_status_code() != http.HTTPStatus.OK:
            raise ConnectionError(f"{path} was answered with {parser.get_status_code()}: {told!r}")
        return told

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connection."""
        self._socket.close()


class _Answer:
    """What the parser finds."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.complete = False

    def on_body(self, piece: bytes) -> None:
        """Take a part of the body."""
        self.pieces.append(piece)

    def on_message_complete(self) -> None:
        """Note the end."""
        self.complete = True
