"""What the cards of a search say of its scores."""

from __future__ import annotations

import re

from page.compare import tab as compare
from page.query.asking import Asked
from page.search import tab as search
from page.state import Page

BAR = re.compile(r'mm-scorebar" aria-hidden="true"><i style="width:(\d+)%')


def test_bars_and_words_keep_the_scores_of_two_stages_apart(page: Page) -> None:
    found = search.search(page, Asked.of("red car"), "hashing@text,rocchio,mmr:0.5:3", 8, fold=False)
    hits = list(found.hits.values())
    assert [hit.trail[-1].stage for hit in hits] == ["mmr:0.5:3"] * 3 + ["hashing@text"] * (len(hits) - 3)
    assert f"scores: 3 by mmr:0.5:3, {len(hits) - 3} by hashing@text; compare those of one stage" in found.line
    bars = [int(width) for width in BAR.findall(found.cards)]
    for of in (slice(0, 3), slice(3, None)):
        scores = [hit.score for hit in hits[of]]
        low, high = min(0.0, *scores), max(scores)
        assert bars[of] == [round(100 * (score - low) / (high - low)) for score in scores]


def test_a_correction_that_is_not_as_asked_says_so(page: Page) -> None:
    said = "as there are no 999"
    assert said in search.search(page, Asked.of("red car"), "hashing@text,nnn:999", 3, fold=False).line
    assert "as there are no" not in search.search(page, Asked.of("red car"), "hashing@text,nnn:9", 3, fold=False).line
    found = compare.compare(page, Asked.of("red car"), ("hashing@text,nnn:9", "hashing@text,nnn:999"), 3).columns
    left, right = found.split('id="compare-right"')
    assert said in right and "not as asked" in right and "not as asked" not in left


def test_scores_of_one_stage_need_no_words(page: Page) -> None:
    for recipe in ("hashing@text", "hashing@text,mmr:0.5:3"):
        k = 3
        assert "scores:" not in search.search(page, Asked.of("red car"), recipe, k, fold=False).line
