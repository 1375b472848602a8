"""Results that show the same again stand behind the best of them, and nothing is lost."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.copies import looks
from mmretrieval.library import Library
from mmretrieval.types import Hit, Item, Mark
from page.library import copies
from page.query import links, parts
from page.query.asking import Asked
from page.search import cards, folding, results
from page.search import tab as search
from page.search.cards import Card
from page.search.handlers import Handlers
from page.state import Page

TEXT = "hashing@text"


def item(ident: str, kind: str = "image", content: str = "") -> Item:
    return Item(ident, kind, content or ident, paths=("a.png",), text=ident)


def ranked(items: dict[str, Item]) -> list[Card]:
    hits = [Hit(name, rank, 1 - rank / 10, (Mark("x", rank, 0.0),)) for rank, name in enumerate(items, 1)]
    return results.drawable(items, hits)


def fold(items: dict[str, Item], like: dict[str, list[float]], most: int | None = None) -> list[Card]:
    """Folds items whose looks are these directions; one that is not named looks like no other."""
    rows = np.eye(len(items), 2 + len(items), 2, dtype=np.float32)
    for place, name in enumerate(items):
        if name in like:
            rows[place] = 0
            rows[place, :2] = like[name]
    shown = dict(list(items.items())[:most])
    return folding.folded(ranked(shown), shown, looks(list(shown.values()), rows[:most]))


def test_clips_of_one_film_stand_behind_the_best_and_nothing_else_does() -> None:
    items = {
        "a": item("a", "video", "film"),
        "b": item("b"),
        "c": item("c", "video", "film"),
        "d": item("d", "document", "paper"),
        "e": item("e", "document", "paper"),
        "f": item("f", "video", "other"),
    }
    shown = fold(items, {})
    assert [card.id for card in shown] == ["a", "b", "d", "e", "f"]
    assert [card.id for card in shown[0].alike] == ["c"]
    drawn = cards.grid(shown, "Results")
    assert drawn.count("data-item=") == len(items)
    assert drawn.count(" hidden>") == 1 and "and 1 more of this film</button>" in drawn


def test_near_copies_stand_behind_the_best_of_them_with_their_ranks() -> None:
    items = {name: item(name) for name in "abcdef"} | {"g": item("g", "video", "film"), "h": item("h", "video", "film")}
    shown = fold(items, {"b": [1, 0], "d": [0.99, 0.141], "f": [1, 0], "g": [1, 0]})
    assert [card.id for card in shown] == ["a", "b", "c", "e", "h"]
    assert [(card.id, card.rank, card.mark) for card in shown[1].alike] == [
        ("d", 4, "like 2"), ("f", 6, "like 2"), ("g", 7, "like 2"),
    ]  # fmt: skip
    assert shown[1].behind == "and 3 near copies" and not shown[0].behind
    drawn = cards.grid(shown, "Results")
    assert drawn.count("data-item=") == len(items) and drawn.count('data-of="b" hidden>') == 3
    # A clip goes behind a picture that it looks like, the next of its film does not follow it there.
    assert [card.rank for card in shown] == [1, 2, 3, 5, 8]


def test_copies_and_clips_behind_one_are_counted_apart() -> None:
    items = {"a": item("a", "video", "film"), "b": item("b"), "c": item("c", "video", "film")}
    (only,) = fold(items, {"a": [1, 0], "b": [1, 0], "c": [1, 0]})
    assert only.behind == "and 1 near copy and 1 more of this film"
    assert [card.mark for card in only.alike] == ["like 1", ""]


def test_a_longer_list_begins_as_the_shorter_one_does() -> None:
    items = {str(n): item(str(n)) for n in range(12)}
    like = {str(n): [float(np.cos(n / 8)), float(np.sin(n / 8))] for n in range(12)}  # each like its neighbours
    whole = {card.id: {one.id for one in card.alike} for card in fold(items, like)}
    for most in range(1, 12):
        part = fold(items, like, most)
        assert [card.id for card in part] == [ident for ident in whole if int(ident) < most]
        assert all({one.id for one in card.alike} <= whole[card.id] for card in part)
    assert len(whole) > 2 and any(whole.values())


# --- on the page -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory, temporary: Path) -> Iterator[Page]:
    """A page over three pictures, one of them in three sizes."""
    folder = tmp_path_factory.mktemp("copied") / "media"
    folder.mkdir()
    generator = np.random.default_rng(4)
    for name in ("harbour", "mountain", "market"):
        blocks = generator.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        picture = Image.fromarray(blocks).resize((200, 200), Image.Resampling.BICUBIC)
        sizes = (200, 120, 60) if name == "harbour" else (200,)
        for side in sizes:
            picture.resize((side, side)).save(folder / f"{name}-{side}.jpg", quality=40 + side // 4)
            (folder / f"{name}-{side}.txt").write_text(f"the {name} by day")
    with Library.create(folder.parent / "library", ["hashing"]) as made:
        assert not ingest(made, walk([folder]), workers=1).failed
    opened = Page(Library.open(folder.parent / "library"))
    yield opened
    opened.close()


def visible(drawn: str) -> int:
    return drawn.count("data-item=") - drawn.count(" data-of=")


def test_a_search_folds_what_was_resized_and_encoded_again(copied: Page) -> None:
    found = search.search(copied, Asked.of("harbour by day"), TEXT, 5)
    assert visible(found.cards) == 3 and len(found.hits) == 5
    assert "and 2 near copies</button>" in found.cards and "2 results folded behind" in found.cards
    assert re.findall(r'class="mm-rank">(\d)<', found.cards) == ["1", "2", "3", "4", "5"]
    assert list(found.hits) == re.findall(r'data-item="([^"]+)"', found.cards)
    assert "fold=" not in found.address and 'data-folded="1"' in found.cards


def test_everything_unfolded_is_in_the_address_and_stays_when_more_come(copied: Page) -> None:
    do, asked = Handlers(copied, parts.Previews(copied)), Asked.of("the harbour by day")
    plain = do.more({"k": 4, "fold": False}, asked, TEXT, True)
    assert plain[1].k == 4 and visible(plain[5]) == 4 and "Every result stands by itself" in plain[5]
    assert 'data-fold="1" data-k="4"' in plain[5] and 'data-folded="0"' in plain[5]
    (link,) = re.findall(r'data-link="([^"]*)"', plain[2])
    assert links.parse(html.unescape(link)).fold is False
    again = do.link(f"?{html.unescape(link)}")
    assert again[5] == plain[5] and list(again[6]) == list(plain[6])
    folded = do.more({"k": 4}, asked, TEXT, True)
    assert visible(folded[5]) < 4 and list(folded[6]) == list(plain[6]) and 'data-fold="0" data-k="4"' in folded[5]
    # The next search folds again.
    assert visible(do.words("by day", asked, TEXT, True, [], "")[5]) == 3


def test_where_nothing_is_alike_nothing_is_said(copied: Page) -> None:
    found = search.search(copied, Asked.of("market mountain"), TEXT, 2)
    assert "data-fold=" not in found.cards and "mm-alike" not in found.cards and visible(found.cards) == 2


def test_the_library_tab_means_the_same_by_near_copies(copied: Page) -> None:
    found = copies.near(copied)
    names = {item.id: Path(item.paths[0]).stem for item in copied.library.items()}
    pairs = {tuple(sorted((names[a], names[b]))) for a, b, _ in found.pairs}
    harbours = ("harbour-120", "harbour-200", "harbour-60")
    assert pairs == set(itertools.combinations(harbours, 2)) and (found.all, found.compared, found.items) == (3, 5, 5)
    assert "3 pairs as alike as 0.95 or more by their pixels" in copies.drawn_near(copied, found, "", copies.USUAL)
