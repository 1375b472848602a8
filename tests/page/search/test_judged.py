"""What a cut-off greyed is told, and so is what it could not judge: silence would look like praise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import whole_encoders
from composed_library import make

from mmretrieval import catalog
from mmretrieval.library import Library
from page.query.asking import Asked, AskedPart
from page.search import judged
from page.search import tab as search
from page.state import Page

TEXT = "hashing@text"


def test_a_cut_off_is_put_on_where_it_can_be(page: Page) -> None:
    assert judged.with_cut_off(page, TEXT) == "hashing@text,sum,cutoff:0.02"
    assert judged.with_cut_off(page, f"{TEXT},cutoff:0.5") == "hashing@text,sum,cutoff:0.5"
    assert "cutoff" not in judged.with_cut_off(page, "bm25")
    plain = search.search(page, Asked.of("red car"), TEXT, 8)
    cut = search.search(page, Asked.of("red car"), TEXT, 8, cut=True)
    assert list(plain.hits) == list(cut.hits)
    weak = [h for h in cut.hits.values() if h.weak]
    assert f"{len(weak)} of these 8" in cut.line and cut.cards.count("mm-weak") == len(weak) > 0
    assert "greyed" not in plain.line and "judged" not in plain.line + cut.line


def test_a_recipe_of_words_alone_says_that_nothing_was_judged(page: Page) -> None:
    asked = search.search(page, Asked.of("red car"), "bm25", 4, cut=True)
    assert "Not judged against chance: bm25 has no one vector for each item" in asked.line
    assert "does not make these good" in asked.line and "mm-weak" not in asked.cards
    assert "judged" not in search.search(page, Asked.of("red car"), "bm25", 4).line


def test_what_words_alone_found_says_that_it_was_not_judged(page: Page) -> None:
    """The passage has no picture, and bm25 found it: its card and the line above say so."""
    found = search.search(page, Asked.of("lighthouse"), "hashing@visual+bm25", 20, cut=True)
    (passage,) = (i for i in page.library.items() if i.kind == "text")
    hit = found.hits[passage.id]
    assert (hit.chance, hit.weak) == (None, False)
    assert all(h.chance is not None for h in found.hits.values() if h.id != passage.id)
    assert "1 of these 13 was not judged" in found.line.replace(f"these {len(found.hits)}", "these 13")
    assert "no vector that hashing@visual searches" in found.line
    card = re.search(rf'<button[^>]*data-item="{passage.id}".*?</button>', found.cards)
    assert card and "not judged</span>" in card[0] and 'not judged"' in card[0]
    assert found.cards.count("not judged</span>") == 1
    # What is greyed beside it was judged by the vectors alone, and the line says that too.
    assert "Judged by the vectors of hashing alone: what bm25 found counts neither for nor against" in found.line


@pytest.fixture
def joint(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    table = whole_encoders.blocks()
    monkeypatch.setattr(catalog, "blocks", lambda: table)
    make(tmp_path, (whole_encoders.JOINT,)).close()
    opened = Page(Library.open(tmp_path / "library"))
    yield opened
    opened.close()


def test_what_an_encoder_read_at_once_says_that_it_was_not_judged(joint: Page, tmp_path: Path) -> None:
    words, picture = AskedPart("words", "a red fox"), AskedPart("picture", str(tmp_path / "in" / "7.png"))
    recipe = f"{whole_encoders.JOINT}@visual"
    both = search.search(joint, Asked((words, picture)), recipe, 8, cut=True)
    assert not both.problem and "joint" in both.line
    assert f"Not judged against chance: {whole_encoders.JOINT} read the words and the picture at once" in both.line
    assert "mm-weak" not in both.cards and "not judged</span>" not in both.cards
    for asked, chosen in (((words,), recipe), ((words, picture), f"{recipe},sum")):
        assert "Not judged" not in search.search(joint, Asked(asked), chosen, 8, cut=True).line


@pytest.fixture
def beside(tmp_path: Path, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Page]:
    """A library that an encoder sees which reads words and picture at once, and one that does not."""
    table = whole_encoders.blocks()
    monkeypatch.setattr(catalog, "blocks", lambda: table)
    make(tmp_path, ("hashing", whole_encoders.JOINT)).close()
    opened = Page(Library.open(tmp_path / "library"))
    yield opened
    opened.close()


@pytest.mark.parametrize("words_too", [False, True])
@pytest.mark.parametrize("strict", ["0", "1"])
def test_what_is_read_at_once_is_not_said_to_judge(beside: Page, tmp_path: Path, words_too: bool, strict: str) -> None:
    asked = Asked((AskedPart("words", "a red fox"), AskedPart("picture", str(tmp_path / "in" / "7.png"))))
    others = f"{whole_encoders.JOINT}{' and bm25' if words_too else ''}"
    recipe = f"hashing@visual+{whole_encoders.JOINT}@visual{'+bm25' if words_too else ''},joint,cutoff:{strict}"
    found = search.search(beside, asked, recipe, 8, cut=True)
    assert not found.problem
    assert f"Judged by the vectors of hashing alone: what {others} found counts neither for nor against." in found.line
    assert f"{whole_encoders.JOINT} reads the words and the picture at once, and no query that" in found.line
    assert ("None of these is greyed." in found.line) == (strict == "1") == ("mm-weak" not in found.cards)
    # Words alone, and both by sum, are judged by the two of them.
    for parts, chosen in ((asked.parts[:1], recipe), (asked.parts, recipe.replace(",joint", ",sum"))):
        both = search.search(beside, Asked(parts), chosen, 8, cut=True).line
        told = f"Judged by the vectors of hashing and {whole_encoders.JOINT} alone: what bm25 found"
        assert (told in both) == (words_too and strict == "0") and "reads the words" not in both


def test_the_vectors_that_an_unjudged_hit_lacks_are_those_that_judge(beside: Page, tmp_path: Path) -> None:
    asked = Asked((AskedPart("words", "a red fox"), AskedPart("picture", str(tmp_path / "in" / "7.png"))))
    recipe = f"hashing@visual+{whole_encoders.JOINT}@visual+bm25,joint,cutoff"
    line = search.search(beside, asked, recipe, 14, cut=True).line
    assert "no vector that hashing@visual searches, and another part of the recipe found" in line


def test_a_picture_that_asks_a_library_of_words_says_that_nothing_was_judged(
    tmp_path: Path, temporary: Path, made: Path
) -> None:
    from ingest.pipeline import ingest
    from ingest.walk import Source

    with Library.create(tmp_path / "words", ["hashing"]) as words:
        ingest(words, [Source("a", data=b"The fox is red."), Source("b", data=b"The sea is blue.")], workers=1)
    opened = Page(Library.open(tmp_path / "words"))
    try:
        picture = AskedPart("picture", str(made.parent / "media" / "red-car.png"))
        found = search.search(opened, Asked((picture,)), TEXT, 4, cut=True)
        assert "Not judged against chance: the query has a picture, and the library has none" in found.line
    finally:
        opened.close()


def test_where_only_some_items_are_searched_nothing_is_said_of_the_library(page: Page) -> None:
    strict, some = f"{TEXT},cutoff:0.000001", tuple(item.id for item in page.library.items())[:3]
    whole = search.search(page, Asked.of("zzyzx quux"), strict, 3)
    among = search.search(page, replace(Asked.of("zzyzx quux"), within=some), strict, 3)
    assert "Probably the library has nothing of the kind." in whole.line
    assert "Probably what is searched here has nothing of the kind." in among.line


def test_what_was_chosen_is_shown_before_anything_is_asked_of_it(page: Page) -> None:
    some = tuple(item.id for item in page.library.items())[3:6]
    line, cards = search.first_look(page, Asked(within=some))
    assert "3 chosen items" in line and re.findall(r'data-item="([^"]*)"', cards) == list(some)
    assert "mm-pill" not in cards
