"""Addresses and numbers of an `http:` spec that cannot be: refused in words before any server is asked."""

from __future__ import annotations

import pytest

from mmretrieval.catalog import card
from mmretrieval.errors import EncoderUnavailable


@pytest.mark.parametrize("url", ["ftp://h", "http://[::1", "http://h:port", "http://h:99999", "http://"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(EncoderUnavailable, match="needs the address of a server"):
        card(f"http:m;url={url};dim=3")


@pytest.mark.parametrize(("option", "value"), [("dim", "3.7"), ("dim", "nan"), ("retries", "2.5")])
def test_what_is_no_whole_number_is_refused(option: str, value: str) -> None:
    options = {"url": "http://h", "dim": "3", option: value}
    with pytest.raises(EncoderUnavailable, match=f"{option}={value} is no whole number"):
        card("http:m;" + ";".join(f"{k}={v}" for k, v in options.items()))


def test_a_password_in_the_address_is_refused() -> None:
    with pytest.raises(EncoderUnavailable, match="holds a password.*key_env=NAME"):
        card("http:m;url=http://name:secret@h/v1;dim=3")
