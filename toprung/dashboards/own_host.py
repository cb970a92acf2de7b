"""Answers only requests that were meant for this machine: no page of another site gets one.

A server on the loopback address is reached by every page that the user's browser shows. A page
whose name is made to point to 127.0.0.1 afterwards (DNS rebinding) may even read what it answers:
its requests have that name as their host. One that sends forms or scripts to 127.0.0.1 has its own
name as their origin. See Jackson et al., Protecting Browsers from DNS Rebinding Attacks, 2007.
"""

import re
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

_OWN_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.IGNORECASE)
"""With any port, because that of an ssh tunnel is another."""


def own_host_only(application: WSGIApplication) -> WSGIApplication:
    """The application for requests to this machine by name or address, from its own pages.

    What has another `Host`, none or several, or asks for a whole URL as a proxy is asked, gets
    421 (Misdirected Request); what has another `Origin` gets 403 (Forbidden).
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        refusal = _refusal(environ)
        if refusal is None:
            return application(environ, start_response)
        start_response(refusal, [("Content-Type", "text/plain")])
        return [b"this server answers for 127.0.0.1, localhost and [::1], and to its own pages\n"]

    return answer


def _refusal(environ: WSGIEnvironment) -> str | None:
    """The status of a request that is not answered."""
    host = environ.get("HTTP_HOST", "").lower()  # "a,b" of two
    target = str(environ.get("REQUEST_URI", environ["PATH_INFO"]))  # as it was sent, if known
    if not _OWN_HOST.fullmatch(host) or not target.startswith("/"):
        return "421 Misdirected Request"
    origin = environ.get("HTTP_ORIGIN")
    if origin is not None and origin.lower() not in (f"http://{host}", f"https://{host}"):
        return "403 Forbidden"
    return None
