"""No text that is shown holds a secret of a URI, whatever characters the secret has."""

from __future__ import annotations

import shlex
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform.core.errors import Problem
from platform.core.redaction import public, redact, redact_command, redact_word, scrub

PRINTABLE = "".join(c for c in string.printable if c not in "\t\n\r\x0b\x0c") + "éß漢\u00a0"
START, END = "SECRET", "TERCES"  # so that a password is recognised wherever a part of it is left
SCHEMES = st.sampled_from(["http", "https", "postgresql", "mysql+pymysql", "ray", "s3"])
passwords = st.text(PRINTABLE, max_size=20).map(lambda text: START + text + END)
keys = st.sampled_from(["key", "password", "access_token", "api_key", "sslpassword", "sig", "X-Amz-Signature", "Pwd"])


def uris() -> st.SearchStrategy[str]:
    logins = st.builds("{}://{}:{}@host:5000/a".format, SCHEMES, st.sampled_from(["", "me", "me@firm.org"]), passwords)
    encoded = passwords.map(lambda text: text.replace("&", "%26"))
    queries = st.builds("{}://host/db?a=1&{}={}&b=2".format, SCHEMES, keys, encoded)
    return logins | queries


def leaks(text: str) -> bool:
    return START in text or END in text


@given(st.lists(uris(), min_size=1, max_size=3), st.sampled_from([" ", ", ", "; then ", "\n", "' -> '"]))
def test_no_part_of_a_password_is_left_in_a_text_with_several_uris(found: list[str], between: str) -> None:
    text = f"cannot connect to '{between.join(found)}' (refused)"
    assert not leaks(redact(text))
    assert not leaks(redact(repr(text)))
    assert not leaks(str(scrub({"a": [text], "b": {"c": (text,)}})))
    assert not leaks(str(Problem(text, "tracking", text, text)))


@given(uris(), uris())
def test_a_command_can_be_typed_again_without_its_secrets(tracking: str, other: str) -> None:
    words = [
        "python",
        "-m",
        "platform.sweep",
        "x.yaml",
        f"tracking={tracking}",
        f"data.path={other}",
        "seed=1",
        "./me@b",
    ]
    shown = redact_command(shlex.join(words))
    assert not leaks(shown)
    typed = shlex.split(shown)
    assert typed[:4] == words[:4] and typed[6:] == words[6:]
    assert typed[4].startswith("tracking=") and typed[4].partition("=")[2] == public(tracking)


@given(uris())
def test_what_is_public_of_a_uri_stays_as_it_is(uri: str) -> None:
    shown = public(uri)
    assert not leaks(shown)
    assert public(shown) == shown == redact_word(shown)


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("http://me:pw@host:5000", "http://host:5000"),
        ("https://token@host/mlflow", "https://host/mlflow"),
        ("postgresql://me:p/w @@db/x?sslmode=require&password=q", "postgresql://me@db/x?sslmode=require"),
        ("http://me:cut off", "http://me:***"),
        ("sqlite:////home/me@firm/mlflow.db", "sqlite:////home/me@firm/mlflow.db"),
        ("postgresql://me@db/x", "postgresql://me@db/x"),
        ("postgresql://a:5432,b:5433/x", "postgresql://a:5432,b:5433/x"),
        ("http://[::1]:5000/", "http://[::1]:5000/"),
        ("databricks://profile:scope", "databricks://profile:scope"),
    ],
)
def test_the_public_part(typed: str, shown: str) -> None:
    assert public(typed) == shown


@pytest.mark.parametrize(
    "plain",
    [
        "python -m platform.sweep x.yaml tracking=http://127.0.0.1:5000 methods=./me@home/x.py",
        "hf://datasets/x@main",
        "a text with an open ' quote",
        "python -m platform.sweep 'a b.yaml'",
    ],
)
def test_a_command_without_secrets_stays_as_it_is(plain: str) -> None:
    assert redact_command(plain) == plain
