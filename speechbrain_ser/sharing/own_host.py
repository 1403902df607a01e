"""A guard of the page against other pages of the visitor's browser."""

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse


class OwnHost:
    """ASGI middleware that answers to the page's own names only.

    A page elsewhere whose name is made to lead to this machine (DNS rebinding) could else read it.
    An address cannot be led elsewhere, so addresses are answered.
    """

    def __init__(self, app, names: Collection[str]):
        self.app = app
        self.names = {name.lower() for name in names}

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] in ("http", "websocket"):
            host = Headers(scope=scope).get("host", "")
            try:
                name = urlsplit(f"//{host}").hostname or ""
            except ValueError:
                name = ""
            if name not in self.names and not _is_address(name):
                response = PlainTextResponse("this page has another name", status_code=421)
                return await response(scope, receive, send)
        await self.app(scope, receive, send)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
