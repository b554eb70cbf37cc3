"""Who may ask: the checks that every request passes before anything else sees it.

A page on the web can make its visitor's browser send requests to this machine. It cannot forge the headers that the
browser adds: `Host` (another name that resolves here, DNS rebinding), `Origin` and `Sec-Fetch-Site`.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_QUERY_BYTES = 48 << 10
LOCAL_NAMES = frozenset(("localhost", "127.0.0.1", "[::1]"))
COOKIE = "dcgan_studio"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' blob: data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_ASK = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>dcgan studio</title><link rel="stylesheet" href="/static/style.css"><link rel="icon" href="/static/icon.svg">
<body class="ask"><form><h1>dcgan studio</h1><label>Token <input name="token" type="password" required autofocus
autocomplete="current-password"></label><button class="primary">Open</button>
<p>It was printed where the studio was started.</p></form></body></html>"""


class Guard:
    """An ASGI application around another: refuses what should not be answered, and adds headers to what is."""

    def __init__(self, app: ASGIApp, token: str | None = None) -> None:
        """With a `token` any host name goes, and the token is demanded; without, only this machine's names do."""
        self.app, self.token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self.refuse(scope)
        await (refusal or self.app)(scope, receive, send_with_headers)

    def refuse(self, scope: Scope) -> Response | None:
        """The answer to a request that goes no further, else None."""
        headers = Headers(scope=scope)
        checks: tuple[Callable[[Scope, Headers], Response | None], ...]
        checks = (self._wrong_host, self._foreign, self._too_long, self._without_token)
        return next((answer for check in checks if (answer := check(scope, headers)) is not None), None)

    def _wrong_host(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        if self.token is None and name.lower() not in LOCAL_NAMES:
            return refusal(421, "this studio answers at localhost only; --public opens it to others")
        return None

    def _foreign(self, scope: Scope, headers: Headers) -> Response | None:
        """Requests that another site's page has made the browser send; links to the page itself are fine."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        changing = scope["method"] not in ("GET", "HEAD")
        if changing and origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            return refusal(403, "this request comes from another site")
        if (changing or scope["path"].startswith("/api/")) and site in ("cross-site", "same-site"):
            return refusal(403, "this request comes from another site")
        return None

    def _too_long(self, scope: Scope, headers: Headers) -> Response | None:
        if len(scope["query_string"]) > MOST_QUERY_BYTES:
            return refusal(414, f"the address is longer than {MOST_QUERY_BYTES} bytes: ask for fewer faces at once")
        return None

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        if self.token is None or scope["path"].startswith("/static/"):  # the looks and the code are no secret
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        given = query.get("token", [""])[0]
        if scope["path"] == "/" and self._right(given):
            rest = urlencode({name: values for name, values in query.items() if name != "token"}, doseq=True)
            answer: Response = RedirectResponse(f"/?{rest}" if rest else "/", 303)  # out of sight and of history
            answer.set_cookie(COOKIE, given, max_age=30 * 86400, httponly=True, samesite="strict")
            return answer
        if self._right(_cookie(headers)) or (scheme.lower() == "bearer" and self._right(bearer.strip())):
            return None
        if scope["path"] == "/":
            return HTMLResponse(_ASK, 401, {"Cache-Control": "no-store"})
        return refusal(401, "this studio needs its token: open /?token=... first, or send it as a bearer token")

    def _right(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self.token or "").encode())


def refusal(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An error as every part of the studio tells it."""
    return JSONResponse({"error": message}, status, {"Cache-Control": "no-store", **(headers or {})})


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if morsel is None else morsel.value
