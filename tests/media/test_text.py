"""Passages hold every word once, break where people do, and say exactly where they stand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmretrieval.errors import MediaError
from mmretrieval.media import text
from mmretrieval.types import Settings
from tests.assets.make_assets import ACCENTS, MARKDOWN

TEXTS = Path(__file__).parents[1] / "assets" / "texts"


@pytest.mark.parametrize("name", ["utf8.txt", "utf8_bom.txt", "latin1.txt", "utf16.txt"])
def test_every_encoding_gives_the_same_words(name: str) -> None:
    cuts = text.cut(TEXTS / name, Settings())
    assert [(c.text, c.visual) for c in cuts] == [(ACCENTS.strip(), False)]


def test_windows_quotes_are_quotes() -> None:
    assert text.decode(b"\x93caf\xe9\x94\r\nnext") == "\u201ccaf\u00e9\u201d\nnext"


@pytest.mark.parametrize("data", [b"a\0b", bytes(range(1, 9)) * 20, b"\x89PNG\r\n\x1a\n\0\0"])
def test_bytes_that_are_no_words_are_refused(data: bytes) -> None:
    with pytest.raises(MediaError, match="not text"):
        text.decode(data)


def test_a_lying_byte_order_mark_is_named() -> None:
    with pytest.raises(MediaError, match="says utf-8-sig, but what follows is not"):
        text.decode(b"\xef\xbb\xbf\xff\xfe")


@pytest.mark.parametrize("data", [b" \n\t\n", "\ufeff".encode()])
def test_no_words_is_an_error(data: bytes) -> None:
    with pytest.raises(MediaError, match="no words"):
        text.cut_text(data, Settings())


def test_long_text_breaks_between_paragraphs() -> None:
    words = (TEXTS / "long.txt").read_text(encoding="utf-8")
    cuts = text.cut(TEXTS / "long.txt", Settings())
    assert len(cuts) > 5
    assert all(len(c.text) <= 900 for c in cuts)
    assert all(len(c.text) > 450 for c in cuts[:-1])
    assert all(c.text.startswith("Paragraph ") and c.text.endswith(".") for c in cuts)
    assert all(where(c.locator, words) == c.text for c in cuts)


def test_a_long_paragraph_breaks_between_sentences() -> None:
    sentence = "The {} fox saw 3.14 hens, i.e. rather few of them, and went on. "
    words = "".join(sentence.format(n) for n in range(60))
    cuts = text.cut_text(words.encode(), Settings(passage_chars=300))
    assert all(len(c.text) <= 300 and c.text.startswith("The ") and c.text.endswith("on.") for c in cuts)


def test_headings_stay_with_their_words() -> None:
    cuts = text.cut_text(MARKDOWN.encode(), Settings(passage_chars=60))
    assert [c.text.split("\n")[0] for c in cuts] == ["# Two headings", "## The second"]
    assert "Words below the first heading." in cuts[0].text


def test_a_hash_in_a_code_block_is_no_heading() -> None:
    words = "Some words before it.\n\n```\n# a comment\ncode\n```\n\nThe end."
    cuts = text.cut_text(words.encode(), Settings(passage_chars=30))
    assert [c.text for c in cuts] == ["Some words before it.", "```\n# a comment\ncode\n```", "The end."]


def test_a_heading_alone_is_a_passage() -> None:
    assert [c.text for c in text.cut_text(b"# Only\n\n## This\n", Settings())] == ["# Only\n\n## This"]


@given(
    st.text(st.sampled_from("ab .!?\n#\u3002\u00e9\U0001f431`-"), min_size=1, max_size=400).filter(str.strip),
    st.integers(1, 120),
)
def test_no_word_is_lost_or_told_twice(words: str, limit: int) -> None:
    cuts = text.cut_text(words.encode(), Settings(passage_chars=limit))
    edges = [tuple(map(int, re.findall(r"\d+", c.locator))) for c in cuts]
    assert all(where(c.locator, words) == c.text and c.text.strip() == c.text for c in cuts)
    assert all(a < b for a, b in edges)
    assert all(a[1] <= b[0] for a, b in zip(edges, edges[1:], strict=False))
    assert "".join("".join(c.text.split()) for c in cuts) == "".join(words.split())


def where(locator: str, words: str) -> str:
    start, end = map(int, re.fullmatch(r"chars=(\d+)-(\d+)", locator).groups())  # type: ignore[union-attr]
    return words[start:end]
