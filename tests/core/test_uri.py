"""A tracking URI shows itself without its secrets, and connects with them."""

from __future__ import annotations

import json
import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platform.core.uri import Login, SecretUri, problem
from tests.core.test_redaction import END, START, leaks, passwords, uris


@given(uris())
def test_it_is_nowhere_to_be_seen(typed: str) -> None:
    uri = SecretUri(typed)
    for shown in (str(uri), repr(uri), f"{uri}", repr(uri.login()), str(problem(typed)), repr(pickle.dumps(uri))):
        assert not leaks(shown)
    assert uri.has_secret and not SecretUri(str(uri)).has_secret
    assert pickle.loads(pickle.dumps(uri)) == uri
    assert not leaks(json.dumps({"tracking": uri}, default=str))


@given(passwords.filter(lambda text: "%" not in text))
def test_a_login_arrives_whatever_its_characters(password: str) -> None:
    for written in (password, quote(password, safe="")):
        server = SecretUri(f"http://me:{written}@host:5000")
        assert server.login().password == password and server.reveal() == "http://host:5000"
        database = SecretUri(f"postgresql://me:{written}@db/x")
        assert database.login() == Login()
        from sqlalchemy import make_url

        url = make_url(database.reveal())
        assert (url.username, url.password, url.host, url.database) == ("me", password, "db", "x")


@given(passwords, st.sampled_from(["http", "postgresql"]))
def test_an_error_of_a_library_is_shown_without_the_password_or_longer_parts_of_it(password: str, scheme: str) -> None:
    uri = SecretUri(f"{scheme}://me:{password}@host/x?token={START}abc{END}")
    for text in (password, quote(password), repr(password), f"host '{password[3:]}' not found", f"{START}abc{END}"):
        hidden = uri.hide(f"refused: {text}")
        assert password not in hidden and f"{START}abc{END}" not in hidden
        if text == password:
            assert START not in hidden


@pytest.mark.parametrize("typed", ["http://me:cut off", "http://", "http://host:99999"])
def test_an_address_of_no_server_is_refused(typed: str) -> None:
    found = problem(typed)
    assert found is not None and "cut" not in str(found)
