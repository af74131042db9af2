"""Names and passwords in addresses: sent to whom they are for, neither shown nor kept."""

from __future__ import annotations

import re
from base64 import b64encode
from urllib.parse import unquote, urlsplit

__all__ = ["login_of", "without_login"]


def without_login(text: str) -> str:
    """An address, or a text with addresses, without the names and passwords in them."""
    return re.sub(r"(?<=://)[^/?#\s]*@", "", text)


def login_of(url: str) -> dict[str, str]:
    """The header that stands for the name and the password in an address."""
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    words = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {b64encode(words.encode()).decode('ascii')}"}
