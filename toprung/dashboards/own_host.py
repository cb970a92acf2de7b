"""Refuses requests of other sites' pages to a server on this machine.

Every page that the user's browser shows can send requests to a server on the loopback address. A
page whose name is later made to resolve to 127.0.0.1 (DNS rebinding) could even read the responses;
its requests have that name as their host. A page that sends forms or scripts to 127.0.0.1 has its
own name as their origin. See Jackson et al., Protecting Browsers from DNS Rebinding Attacks, 2007.
"""

import re
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
"""With any port, because an ssh tunnel may have a different one."""


def own_host_only(application: WSGIApplication) -> WSGIApplication:
    """Wrap an application to respond only to requests to this machine, from its own pages.

    A request with another `Host`, none or several, or with a full URL as to a proxy, gets the
    status 421 (Misdirected Request); one with another `Origin` gets 403 (Forbidden).
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        refusal = _refusal(environ)
        if refusal is None:
            return application(environ, start_response)
        start_response(refusal, [("Content-Type", "text/plain")])
        return [b"this server answers for 127.0.0.1, localhost and [::1], and to its own pages\n"]

    return answer


def _refusal(environ: WSGIEnvironment) -> str | None:
    """The status for a request that is refused; None if it is not."""
    host = environ.get("HTTP_HOST", "").lower()  # two headers are joined: "a,b"
    target = str(environ.get("REQUEST_URI", environ["PATH_INFO"]))  # as it was sent, if known
    if not _OWN_HOST.fullmatch(host) or not target.startswith("/"):
        return "421 Misdirected Request"
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
        return "403 Forbidden"
    return None
