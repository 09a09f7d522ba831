"""Which addresses may be downloaded from: https ones, and http on this machine itself."""

from __future__ import annotations

import ipaddress
import urllib.request
from urllib.parse import urljoin, urlsplit

from facemeld.errors import UserError
from facemeld.images.read import shown

_MOST_REDIRECTS = 5


def check_address(url: str, came_from: str | None = None) -> None:
    """Refuses an address that may not be downloaded from.

    Args:
        url: the address.
        came_from: the address that redirected to it, if one did.

    Raises:
        UserError: it is neither https nor on this machine, or leads a stranger to this machine.
    """
    try:
        parts = urlsplit(url)
        local = _is_this_machine(parts.hostname or "")
    except ValueError:
        raise UserError("not an address", where=shown(url)) from None
    allowed = bool(parts.hostname) and (
        parts.scheme == "https" or (parts.scheme == "http" and local)
    )
    if came_from is not None:
        # a stranger must not make us talk to what only this machine can reach
        allowed = allowed and (not local or _is_this_machine(urlsplit(came_from).hostname or ""))
    if not allowed:
        raise UserError(
            "only https addresses are downloaded from"
            if came_from is None
            else "the server redirects to an address that is not allowed",
            where=shown(url),
        )


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Redirects(urllib.request.HTTPRedirectHandler):
    """Follows few redirects, only to addresses that would be allowed, never back from https."""

    max_redirections = _MOST_REDIRECTS

    def redirect_request(self, request, file, code, message, headers, new_url):
        new_url = urljoin(request.full_url, new_url)
        check_address(new_url, came_from=request.full_url)
        return super().redirect_request(request, file, code, message, headers, new_url)
