"""One item in detail, what lies around it, and why it was found, as functions: no browser, but the real library."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mmretrieval.errors import BadQuery
from mmretrieval.types import Contribution, Hit, Item
from page.query.asking import Asked, AskedPart, query
from page.search import around, detail, panel, why
from page.search.results import search
from page.state import Page
from tests.page.conftest import HOSTILE, by_caption

UNKNOWN = "00000000-0000-0000-0000-000000000000"
MARK = re.compile(r'<mark class="(mm-for|mm-against)" style="--v:([\d.]+)" title="([+-][\d.]+)">(\w+)</mark>')


def of_kind(page: Page, kind: str, number: int = 0) -> Item:
    found = [item for item in page.library.items() if item.kind == kind]
    return sorted(found, key=lambda item: (item.page or 0, item.t0 or 0.0))[number]


# --- what is pressed -------------------------------------------------------------------------------------------------


def test_an_item_as_the_query_takes_the_place_of_the_parts_and_keeps_the_filters(page: Page) -> None:
    frog = by_caption(page, "green frog").id
    asked = Asked.of("red", avoid="car", kinds=("image",), conditions="year > 3")
    asked = replace(asked, within=(frog,))
    after = detail.act(asked, {"do": "query", "item": frog, "fragment": ""})
    assert after == replace(asked, parts=(AskedPart("item", frog),))


def test_what_is_asked_is_kept_where_that_is_wished(page: Page) -> None:
    frog = by_caption(page, "green frog").id
    region = "xywh=percent:10,10,40,40"
    asked = Asked.of("red", conditions="year > 3")
    for said, part in (
        ({"do": "query"}, AskedPart("item", frog)),
        ({"do": "region", "fragment": region}, AskedPart("item", frog, fragment=region)),
    ):
        after = detail.act(asked, {**said, "item": frog, "keep": True})
        assert after == replace(asked, parts=(*asked.parts, part)) and detail.stays({**said, "keep": True})
        assert not detail.stays(said)
    full = Asked(tuple(AskedPart("words", str(n)) for n in range(64)))
    for do in ("query", "more"):
        with pytest.raises(BadQuery, match="at most 64"):
            detail.act(full, {"do": do, "item": frog, "keep": True})


def test_liking_and_disliking_add_to_the_query_and_change_their_mind(page: Page) -> None:
    frog, car = by_caption(page, "green frog").id, by_caption(page, "red car").id
    asked = detail.act(Asked.of("red"), {"do": "more", "item": frog})
    asked = detail.act(asked, {"do": "less", "item": car})
    assert asked.parts == (
        AskedPart("words", "red"),
        AskedPart("item", frog, 1.0, feedback=True),
        AskedPart("item", car, -1.0, feedback=True),
    )
    asked = detail.act(asked, {"do": "less", "item": frog})
    assert [(p.value, p.weight) for p in asked.parts] == [("red", 1.0), (car, -1.0), (frog, -1.0)]
    assert [part.feedback for part in query(page, asked).parts] == [False, True, True]


@pytest.mark.parametrize(
    ("kind", "fragment"), [("image", "xywh=percent:10,10,40,40"), ("video", "t=1.5"), ("video", "t=1&xywh=0,0,20,20")]
)
def test_a_region_and_a_moment_ask_by_what_is_there(page: Page, kind: str, fragment: str) -> None:
    item = of_kind(page, kind)
    asked = detail.act(Asked.of("red"), {"do": "region", "item": item.id, "fragment": fragment})
    assert asked.parts == (AskedPart("item", item.id, fragment=fragment),)
    found = search(page, asked, "hashing@visual", 4)
    assert not found.problem and item.id not in found.hits


@pytest.mark.parametrize(
    "said",
    [
        {"do": "region", "item": UNKNOWN, "fragment": ""},
        {"do": "region", "item": UNKNOWN, "fragment": "xywh=1,2"},
        {"do": "region", "item": UNKNOWN, "fragment": "../../etc"},
        {"do": "query", "item": "/etc/passwd"},
        {"do": "open", "item": UNKNOWN},
        {"do": "delete", "item": UNKNOWN},
        {},
    ],
)
def test_what_cannot_be_pressed_is_refused(said: dict[str, Any]) -> None:
    with pytest.raises(BadQuery):
        detail.act(Asked.of("red"), said)


# --- what is shown ---------------------------------------------------------------------------------------------------


def test_a_page_stands_among_the_pages_of_its_document(page: Page) -> None:
    first, second = (of_kind(page, "document", number) for number in range(2))
    html = detail.detail(page, first)
    assert "page 1 of 2" in html and f'data-do="open" data-item="{second.id}"' in html
    assert html.count('aria-current="page"') == 1 and "disabled>‹ previous page" in html
    assert "next page" in around.pages(page, first) and "disabled>next page ›" in around.pages(page, second)
    assert around.pages(page, of_kind(page, "image")) == ""


def test_a_clip_is_marked_on_the_length_of_its_film(page: Page) -> None:
    clip = of_kind(page, "video")
    html = around.timeline(page, clip, {})
    assert 'data-seconds="3.000"' in html and 'style="left:0.000%;width:100.000%"' in html
    assert "This clip is 0:00–0:03 of 0:03." in html and "Also found" not in html
    assert around.timeline(page, of_kind(page, "image"), {}) == ""


def test_the_nearest_are_those_of_the_first_encoder_and_not_the_item_itself(page: Page) -> None:
    frog = by_caption(page, "green frog")
    searched, hits = around.nearest(page, frog, "bm25+hashing@text", 5)
    assert searched == "hashing@visual" and len(hits) == 5 and frog.id not in {hit.id for hit in hits}
    assert page.library.item(hits[0].id).text == "a green tree on a hill"
    html = panel.neighbours(page, frog.id, "hashing")
    assert html.count('data-do="open"') == around.NEAREST
    assert around.nearest(page, of_kind(page, "text"), "hashing", 3)[0] == "hashing@text"
    assert panel.neighbours(page, "", "hashing") == "" == panel.neighbours(page, UNKNOWN, "hashing")


def test_contributions_are_listed_with_their_sum() -> None:
    html = detail.contributed(Contribution("lite@visual", ("“red”", "−“car”"), (0.5, -0.125)))
    assert "+0.5000" in html and "-0.1250" in html and "+0.3750" in html and "together" in html
    assert "left:50%;width:50.0%" in html and "left:37.5%;width:12.5%" in html
    alone = detail.contributed(Contribution("lite@visual", ("“red”",), (0.5,), additive=False))
    assert "together" not in alone and "does not add them up" in alone


def test_only_a_result_can_be_asked_why_and_only_a_clip_has_moments(page: Page) -> None:
    picture, clip, passage = (of_kind(page, kind) for kind in ("image", "video", "text"))
    offered = {
        item.id: set(re.findall(r'data-do="(\w+)"', detail.detail(page, item, Hit(item.id, 1, 0.5))))
        for item in (picture, clip, passage)
    }
    every = {"query", "more", "less", "why"}
    assert offered[passage.id] == every
    assert offered[picture.id] == every | {"choose", "grow"}
    assert offered[clip.id] == every | {"choose", "moment"}
    assert 'data-do="why"' not in detail.detail(page, picture)


# --- why -------------------------------------------------------------------------------------------------------------


def test_words_are_marked_as_they_count(page: Page) -> None:
    frog = by_caption(page, "green frog")
    html = why.told(page, frog.id, Asked.of("green frog", avoid="pond"), "hashing@text")
    marks = {word: float(value) for _, _, value, word in MARK.findall(html)}
    assert set(marks) == set(frog.text.split())
    assert marks["green"] > 0 and marks["frog"] > 0 > marks["pond"]
    assert "data:text/csv" in html and f'data-about="{frog.id}"' in html
    assert "−“pond”" in html  # a column of its own


def test_a_picture_gets_a_map_for_the_query_and_for_each_part(page: Page) -> None:
    frog = by_caption(page, "green frog")
    asked = Asked(Asked.of("green").parts + (AskedPart("item", by_caption(page, "green tree").id),))
    html = why.told(page, frog.id, asked, "hashing@visual")
    assert html.count('class="mm-cells"') == 3 and html.count("<i class=") == 3 * 64
    assert html.count("data-show=") == 3 and "data:image/jpeg;base64," in html
    assert re.search(r"The picture scores -?\d\.\d{3} by <code>hashing@visual</code>, most of all for its", html)


def test_a_clip_gets_its_frames_and_a_map_of_the_best(page: Page) -> None:
    html = why.told(page, of_kind(page, "video").id, Asked.of("numbers"), "hashing@visual")
    assert html.count("data-seek=") == page.library.settings.frames_per_clip
    assert "Of the clip’s 8 frames" in html and "The frame at 0:0" in html


def test_a_program_gets_the_same_numbers(page: Page) -> None:
    frog = by_caption(page, "green frog").id
    asked = Asked.of("green frog", avoid="pond")
    answer = why.found(page, frog, asked, "hashing")
    told = json.loads(json.dumps(why.described(answer)))
    assert {finding["kind"] for finding in told["findings"]} == {"words", "regions"}
    for finding in told["findings"]:
        assert np.allclose(np.sum(finding["by_part"], axis=0), finding["falls"])
        assert finding["score"] == pytest.approx(sum(finding["scores"])) and len(finding["parts"]) == 2
    clip = why.described(why.found(page, of_kind(page, "video").id, asked, "hashing@visual"))["findings"]
    assert [finding["kind"] for finding in clip] == ["moments", "regions"] and len(clip[0]["times"]) == 8


def test_what_cannot_be_explained_is_said(page: Page) -> None:
    frog = by_caption(page, "green frog").id
    assert "nothing to look for yet" in why.told(page, frog, Asked(), "hashing@text")
    assert "has no item" in why.told(page, UNKNOWN, Asked.of("red"), "hashing@text")
    assert "no encoder is called" in why.told(page, frog, Asked.of("red"), "nobody@text")
    passage = of_kind(page, "text").id
    assert "nothing that hashing@visual" in why.told(page, passage, Asked.of("red"), "hashing@visual")


def test_strange_words_stay_words(page: Page) -> None:
    hostile = by_caption(page, "violet")
    asked = Asked.of(HOSTILE, avoid=HOSTILE)
    found = search(page, asked, "hashing", 12)
    shown = [
        detail.detail(page, hostile, found.hits[hostile.id], found.hits),
        why.told(page, hostile.id, asked, "hashing+bm25"),
        panel.neighbours(page, by_caption(page, "red apple").id, "hashing"),
    ]
    for html in shown:
        assert "<img src=x" not in html and 'onerror="' not in html
