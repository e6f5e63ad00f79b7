"""Texts without the secrets of the URIs in them, for whatever is shown or written."""

from __future__ import annotations

import re
import shlex
from typing import Any

__all__ = ["HIDDEN", "parameters", "public", "redact", "redact_command", "redact_word", "scrub", "secret_name", "split"]

HIDDEN = "***"

_SECRET_NAME = re.compile(
    r"(?i)[\w.-]*(?:pass|passwd|password|passphrase|pwd|token|secret|key|sig|signature|credentials?|auth|odbc_connect)\Z"
)
# A password may hold any character, blanks and quotes and `@` too, and in a text nothing says where a URI ends: the
# user information ends at the last `@` of the line, which rather hides too much.
_PASSWORD = re.compile(r"(?<=://)[^\s/:]*:[^\r\n]*@")
_USER = re.compile(r"([\w+.-]+)://([^\s/'\"]*)@")
_QUERY = re.compile(r"([?&;])([\w.-]+)=([^&\r\n]*)")
_WORDS = re.compile(r"(?i)(\s(?:[a-z_]*password|passwd|pwd|[a-z_]*token|[a-z_]*secret|[a-z_]*api_?key)=)[^&;\s'\"]+")
_SETTING = re.compile(r"([\w.-]+=)?([\"']?)([a-zA-Z][\w+.-]*://.*)\2\Z", re.DOTALL)
_NO_PORT = re.compile(r"\A([^\s/:@\[\]?]+):(?!\d*(?:[/?#,]|\Z))[^/?#]+")
_KEEP_USER = ("postgresql", "mysql", "mssql")  # of these the name alone is no secret, and needed to connect


def redact(text: str) -> str:
    """`text` with user:password@ and ?token=... of every URI in it replaced by ***."""
    text = _PASSWORD.sub(f"{HIDDEN}@", _QUERY.sub(_hide_value, text))
    return _WORDS.sub(rf"\1{HIDDEN}", _USER.sub(_hide_user, text))


def scrub(value: Any) -> Any:
    """`redact` on every string of a nested structure; what files and runs are written from."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: scrub(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [scrub(item) for item in value]
    return value


def redact_command(command: str) -> str:
    """A command line without secrets that can be typed again; each word by itself, so that no other is touched."""
    try:
        words = shlex.split(command)
    except ValueError:  # quotes that are not closed
        return redact(command)
    clean = [redact_word(word) for word in words]
    return command if clean == words else shlex.join(clean)


def redact_word(word: str) -> str:
    """One word of a command line, such as tracking=URI."""
    line = re.sub(r"[\r\n]", " ", word)
    if redact(line) == line:
        return word
    setting = _SETTING.match(line)
    return f"{setting[1] or ''}{public(setting[3])}" if setting else redact(line)


def public(uri: str) -> str:
    """`uri` without its secrets, as it can be typed again: a server's without login, a database's without password."""
    scheme, login, rest = split(uri)
    if not scheme:
        return redact(uri)
    keep = login.partition(":")[0] if scheme.partition("+")[0].lower() in _KEEP_USER else ""
    before, mark, query = rest.partition("?")
    kept = "&".join(part for part in query.split("&") if not secret_name(part.partition("=")[0]))
    shown = before + mark + kept if kept == query else before + (kept and f"?{kept}")
    if not login and not scheme.startswith("databricks"):
        # A password that was cut off at a blank or a #, say, stands where a port does.
        shown = _NO_PORT.sub(rf"\1:{HIDDEN}", shown)
    return f"{scheme}://{keep}@{shown}" if keep else f"{scheme}://{shown}"


def split(uri: str) -> tuple[str, str, str]:
    """Scheme, user information and the rest of a URI; the first is empty where it is none.

    A password may hold any character: it ends at the last `@` of all. So a later `@` is to be written %40.
    """
    scheme, mark, rest = uri.partition("://")
    if not mark:
        return "", "", uri
    authority, slash, path = rest.partition("/")
    if ":" in authority and "@" in rest:
        login, _, host = rest.rpartition("@")
        return scheme, login, host
    login, _, host = authority.rpartition("@")
    return scheme, login, host + slash + path


def parameters(rest: str) -> list[tuple[str, str]]:
    """The query of what `split` left, as names and values."""
    query = rest.partition("?")[2]
    return [(name, value) for name, _, value in (part.partition("=") for part in query.split("&"))] if query else []


def secret_name(name: str) -> bool:
    """Whether the value of a query's parameter is secret."""
    return _SECRET_NAME.match(name) is not None


def _hide_user(match: re.Match[str]) -> str:
    scheme, user = match.groups()
    plain = scheme.partition("+")[0].lower() in _KEEP_USER and ":" not in user
    return match[0] if plain else f"{scheme}://{HIDDEN}@"


def _hide_value(match: re.Match[str]) -> str:
    mark, name, value = match.groups()
    if not value or not secret_name(name):
        return match[0]
    return f"{mark}{name}={HIDDEN}" + "@" * ("@" in value)  # which may be the one that ends a password before it
