"""An application that answers as many bytes as its path says: what HTTP costs with nothing behind.

``python -m ums_core.bench.bare PORT``
"""

import sys
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = ["bare"]


async def bare(scope: "Scope", receive: "Receive", send: "Send") -> None:
    """Answer a request."""
    while (await receive()).get("more_body"):
        pass
    size = int(scope["path"].strip("/"))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(size).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b" " * size})


if __name__ == "__main__":
    # The server options of the service, where they cost anything.
    uvicorn.run(
        bare, port=int(sys.argv[1]), lifespan="off", access_log=False, server_header=False, log_level="error",
        timeout_keep_alive=600,
    )  # fmt: skip
