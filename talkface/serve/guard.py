"""What every request must pass: the right host, no foreign page behind it, and a body that is not too large.

A server on this machine can be reached by every web page that its user visits. The check of the header Host stops pages
whose domain name points to this machine (DNS rebinding); the check of Origin stops pages that post across sites.
"""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable
from typing import Any

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
DRAINED = 10**9  # bytes of a refused body that are read and forgotten
READING = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    # The page loads nothing from elsewhere; its picture and its sound are also blobs that it has made itself.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; media-src 'self' blob:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "microphone=(self), camera=(), geolocation=()",
    "cache-control": "no-store",
}
Refusal = tuple[int, str, str]
"""Status, problem and fix."""


class Guard:
    """ASGI middleware that refuses requests, and adds HEADERS to all responses.

    Args:
        app: the application.
        names: host names that a request may be addressed to, besides LOCAL_NAMES.
        any_address: whether any IP address is allowed as the host; a rebinding attack needs a name.
        max_body: bytes of a request's body.
        refuse: called with method and path; a refusal, or None. It is asked before the body is read.
    """

    def __init__(
        self,
        app: Any,
        *,
        names: Iterable[str] = (),
        any_address: bool = False,
        max_body: int,
        refuse: Callable[[str, str], Refusal | None] = lambda method, path: None,
    ) -> None:
        self._app = app
        self._names = {*LOCAL_NAMES, *(name.lower() for name in names)}
        self._any_address = any_address
        self._max_body = max_body
        self._refuse = refuse

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._check(scope["method"], scope["path"], headers)
        if refusal:
            if headers.get("expect", "").lower() != "100-continue":  # else the client asks before it sends the body
                await _drain(receive)
            await _send_refusal(send, refusal)
            return
        await self._limited(scope, receive, send)

    async def _limited(self, scope: Any, receive: Any, send: Any) -> None:
        """Run the application. A body that turns out to be too large ends early, and gets a refusal as its response."""
        read, started = 0, False

        async def limited_receive() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read <= self._max_body:
                return message
            if message.get("more_body", False):
                await _drain(receive)
            return {"type": "http.disconnect"}

        async def guarded_send(message: Any) -> None:
            nonlocal started
            if read > self._max_body:
                if not started:
                    started = True
                    await _send_refusal(send, self._too_large())
                return
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message.get("headers", []), *_encoded(HEADERS)]
            await send(message)

        try:
            await self._app(scope, limited_receive, guarded_send)
        except Exception:
            if read <= self._max_body:
                raise
        if read > self._max_body and not started:
            await _send_refusal(send, self._too_large())

    def _check(self, method: str, path: str, headers: dict[str, str]) -> Refusal | None:
        host = headers.get("host", "")
        if not self._is_allowed(_name_of(host)):
            return 421, f"This server is not called {host!r}.", "Use the address that talkface serve has printed."
        if method not in READING:
            origin = headers.get("origin")
            foreign = origin is not None and origin.partition("://")[2] != host
            if foreign or headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
                return 403, "Another web page has sent this request.", "Use the page of this server."
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._max_body:
            return self._too_large()
        return self._refuse(method, path)

    def _is_allowed(self, name: str) -> bool:
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._any_address

    def _too_large(self) -> Refusal:
        size = f"{self._max_body / 1e6:g} MB"
        return 413, f"The upload is larger than {size}.", "Use smaller files, or talkface serve --max-upload."


async def _drain(receive: Any) -> None:
    """Read on: a client that is still sending when the connection is closed does not read why it was refused."""
    read, more = 0, True
    while more and read <= DRAINED:
        message = await receive()
        read += len(message.get("body", b""))
        more = message.get("more_body", False)


def _name_of(host: str) -> str:
    """Return the host of a header Host without its port, in lower case, IPv6 without brackets."""
    host = host.lower()
    return host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]


def _encoded(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]


async def _send_refusal(send: Any, refusal: Refusal) -> None:
    status, problem, fix = refusal
    body = json.dumps({"problem": problem, "fix": fix}).encode()
    facts = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"}
    await send({"type": "http.response.start", "status": status, "headers": _encoded({**HEADERS, **facts})})
    await send({"type": "http.response.body", "body": body})
