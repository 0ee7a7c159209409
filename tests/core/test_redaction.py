import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind.core import redaction
from rescind.core.redaction import hide_parts_of, redact, redacted, shown_url

WORD = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~", min_size=8)


def test_the_examples_of_the_docstrings_hold() -> None:
    assert doctest.testmod(redaction).failed == 0


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:9/v3/SECRET", "http://127.0.0.1:9"),
        ("https://user:SECRET@node.example/", "https://node.example"),
        ("https://SECRET@node.example?key=SECRET", "https://node.example"),
        ("wss://[::1]:8546/SECRET", "wss://[::1]:8546"),
        ("postgresql://ada:SECRET@db/ledger?sslmode=require", "postgresql://db"),
        ("http://host:SECRET/", "[a URL without scheme and host]"),
        ("http://[SECRET", "[a URL without scheme and host]"),
        ("SECRET", "[a URL without scheme and host]"),
        ("", "[a URL without scheme and host]"),
    ],
)
def test_a_url_is_shown_by_scheme_and_host(url: str, shown: str) -> None:
    assert shown_url(url) == shown
    assert "SECRET" not in redact(f"cannot reach '{url}'" if "://" in url else "nothing")


@pytest.mark.parametrize(
    "text",
    [
        "HTTPConnectionPool(host='x', port=9): Max retries exceeded with url: /v3/SECRET (Caused by E)",
        "401 Client Error: Unauthorized for url: https://node.example/v3/SECRET",
        "(https://node.example/v3/SECRET).",
        "<https://u:SECRET@[::1]:1/SECRET>",
        'connection to "postgresql+psycopg://a:SECRET@h/d" failed',
        "Authorization: Bearer SECRET",
        "api_key=SECRET&x=1",
        "PASSWORD = 'SECRET SECRET'",
    ],
)
def test_messages_of_other_packages_lose_their_secrets(text: str) -> None:
    assert "SECRET" not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Round 3 is open until 12:30. See docs/deploy.md.",
        "no Ethereum node answers at http://127.0.0.1:8545 (ConnectionError). Check rpc_url.",
        "sqlite:///srv/rescind/ledger.db is locked",
        "write the token and the password into their files",
        "Pass --rpc URL: the certificate is not in the folder of a run.",
    ],
)
def test_a_message_without_secrets_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


@given(user=WORD, password=WORD, path=WORD, query=WORD)
def test_no_part_of_a_url_is_left_in_a_servers_answer(
    user: str, password: str, path: str, query: str
) -> None:
    url = f"https://{user}:{password}@node.example:1/v3/{path}?key={query}"
    answer = f"{url} refused: {path} of {user} {password}, {query}"
    text = hide_parts_of(url, answer)
    for secret in (user, password, path, query):
        assert secret not in text.replace("node.example", "").replace("refused", "")


def test_lists_and_mappings_of_a_log_line_are_redacted_too() -> None:
    url = "http://node/SECRET"
    event = redacted({"a": [url, {"b": (url, 3, None, True)}], "c": ValueError(url)})
    assert "SECRET" not in str(event)
    assert event["a"][1]["b"][1:] == [3, None, True]
