"""The Map tab without a browser: what it shows, colours, chooses and hands on."""

from __future__ import annotations

import base64
import json
import threading
from pathlib import Path

import numpy as np
import pytest

from mmretrieval import projection
from mmretrieval.errors import BadQuery, RetrievalError, UnknownName
from mmretrieval.library import Library
from page.map import colours, plotted
from page.map import tab as atlas
from page.map.mapping import Laid, Shelf, Wanted, Work
from page.query.asking import Asked, query
from page.state import Page
from tests.page.conftest import HOSTILE, by_caption

RECIPE = "hashing@text"


def laid(page: Page, vectors: str = "visual") -> Laid:
    found = page.maps.lay(page.maps.wanted("hashing", vectors))
    assert isinstance(found, Laid)
    return found


def bits(n: int, *chosen: int) -> str:
    named = np.zeros(n, dtype=np.uint8)
    named[list(chosen)] = 1
    return base64.b64encode(np.packbits(named, bitorder="little").tobytes()).decode()


def view(colour: str = colours.KIND, vectors: str = "visual", **more: object) -> atlas.View:
    return atlas.View("hashing", vectors, "pca", colour, **more)  # type: ignore[arg-type]


def test_a_map_has_a_point_for_each_vector_and_numbers_that_say_so(page: Page) -> None:
    shown = atlas.show(page, view(), Asked(), RECIPE)
    n = len(laid(page).cloud)
    assert not shown.problem and not shown.waiting and f"{n} vectors" in shown.line
    assert "data-points=" in shown.plot and "picture" in shown.numbers
    both = atlas.show(page, view(colours.VECTOR, "visual+text"), Asked(), RECIPE)
    assert f"{len(laid(page, 'visual+text').cloud)} vectors" in both.line and "words" in both.numbers
    assert (
        atlas.current(page, shown.plot) and not atlas.current(page, "") and not atlas.current(page, 'data-points="x"')
    )


def test_points_and_colours_come_as_numbers(page: Page) -> None:
    found = laid(page, "visual+text")
    raw = plotted.points(found)
    size = int(np.frombuffer(raw[:4], "<u4")[0])
    header, n = json.loads(raw[4 : 4 + size]), len(found.cloud)
    assert header["n"] == n and size % 4 == 0 and len(raw) == 4 + size + 9 * n
    xs, ys = np.frombuffer(raw[4 + size : 4 + size + 8 * n], "<f4").reshape(2, n)
    np.testing.assert_array_equal(np.stack([xs, ys], axis=1), found.plane.points)
    shades = colours.coloured(page.maps, found, colours.KIND, 8)
    raw = plotted.colours(shades)
    size = int(np.frombuffer(raw[:4], "<u4")[0])
    codes = np.frombuffer(raw[4 + size :], "<u2")
    names = json.loads(raw[4 : 4 + size])["names"]
    kinds = {item.id: item.kind for item in page.library.items()}
    said = {"image": "picture", "video": "clip", "document": "page", "text": "passage"}
    assert [names[c] for c in codes] == [said[kinds[i]] for i in found.cloud.ids]


def test_colours_by_metadata_clusters_and_scores(page: Page) -> None:
    found = laid(page, "text")
    subject = colours.coloured(page.maps, found, "meta.subject", 8)
    place = found.cloud.ids.index(by_caption(page, "green frog").id)
    assert subject.of(place) == "animals" and subject.names[-1] == colours.NONE and subject.greys == 1
    clusters = colours.coloured(page.maps, found, colours.CLUSTER, 3)
    assert clusters.codes is not None and len(clusters.names) == 3 and len(clusters.codes) == len(found.cloud)
    posed = query(page, Asked.of(words="green frog"))
    scored = colours.coloured(page.maps, found, colours.SCORE, 8, posed, page.permitted("hashing@text,mmr:0.5"))
    assert scored.values is not None and int(np.nanargmax(scored.values)) == place and "mmr:0.5" in scored.note
    hits = page.engine.rank([posed], RECIPE, 5).rankings[0].hits
    for hit in hits:
        assert scored.of(found.cloud.ids.index(hit.id)) == pytest.approx(hit.score, abs=1e-6)
    with pytest.raises(UnknownName, match="no colour is called 'meta.mood'"):
        colours.coloured(page.maps, found, "meta.mood", 8)
    assert "no query" in atlas.show(page, view(colours.SCORE), Asked(), RECIPE).problem
    assert "Scores of" in atlas.show(page, view(colours.SCORE, words="red"), Asked(), RECIPE).line


def test_many_groups_fold_and_numbers_stay_numbers() -> None:
    many = colours.grouped("key", [f"name {i % 20}" for i in range(100)] + [colours.NONE] * 50)
    assert len(many.names) == colours.NAMED + 1 and many.greys == 2 and many.names[-2:] == ("other (9 more)", "none")
    metas = {str(i): {"year": 1900 + i, "tags": ["rare" + str(i), "common"]} for i in range(30)}
    years = colours._metadata("year", [*metas, "unknown"], metas)
    assert years.values is not None and years.of(3) == 1903.0 and years.of(30) is None
    assert set(colours._metadata("tags", list(metas), metas).names) == {"common"}


def test_chosen_points_become_a_filter_or_a_query(page: Page) -> None:
    found = laid(page, "visual+text")
    key, n = page.maps.shelf.put(found), len(found.cloud)
    frog = by_caption(page, "green frog").id
    places = [i for i, ident in enumerate(found.cloud.ids) if ident == frog]
    assert len(places) == 2 and atlas.items_of(page, key, bits(n, *places)) == [frog]
    asked = atlas.among(Asked.of(words="red apple"), [frog])
    hits = page.engine.rank([query(page, asked)], RECIPE, 10).rankings[0].hits
    assert [hit.id for hit in hits] == [frog]
    common = atlas.in_common([frog])
    hits = page.engine.rank([query(page, common)], RECIPE, 3).rankings[0].hits
    assert len(hits) == 3 and frog not in [hit.id for hit in hits]
    crowd = [f"item {i}" for i in range(500)]
    drawn = atlas.in_common(crowd)
    assert len(drawn.parts) == 64 and drawn == atlas.in_common(crowd)
    for work in (lambda: atlas.among(Asked(), []), lambda: atlas.in_common([])):
        with pytest.raises(BadQuery, match="no points are chosen"):
            work()


@pytest.mark.parametrize("broken", ["", "****", bits(3, 1) * 9, None, 7])
def test_what_a_browser_sends_is_checked(page: Page, broken: object) -> None:
    key = page.maps.shelf.put(laid(page))
    with pytest.raises(BadQuery, match="choose them again"):
        atlas.items_of(page, key, broken)


def test_points_are_asked_for_by_place(page: Page) -> None:
    found = laid(page)
    key = page.maps.shelf.put(found)
    assert atlas.item_at(page, key, 0).id == found.cloud.ids[0]
    for place in (-1, len(found.cloud), "0", None, 1.5):
        with pytest.raises(RetrievalError):
            atlas.item_at(page, key, place)
    with pytest.raises(RetrievalError, match="not kept any more"):
        atlas.item_at(page, "another", 0)


def test_foreign_words_are_shown_as_text(page: Page) -> None:
    item = by_caption(page, "onerror")
    assert "<img src=x" not in atlas.panel(item) and "&lt;img src=x" in atlas.panel(item)
    assert "<img src=x" not in atlas.show(page, view("meta.note"), Asked(), RECIPE).numbers
    shown = plotted.table(page, laid(page), None)
    assert HOSTILE in [row[-1] for row in shown.rows] or any("onerror" in str(row[-1]) for row in shown.rows)


def test_wrong_choices_are_said_in_words(page: Page) -> None:
    have = [key for _, key in atlas.vectors(page, "hashing")]
    for encoder, vectors in (("hashing", "audio"), ("unheard", "visual"), ("hashing", "joint")):
        shown = atlas.show(page, atlas.View(encoder, vectors, "pca", colours.KIND), Asked(), RECIPE)
        assert (encoder, vectors) == ("hashing", "joint") and "joint" in have or (shown.problem and not shown.plot)
    assert {"visual", "text", "visual+text"} <= set(have)


def test_an_empty_library_says_so(tmp_path: Path, temporary: Path) -> None:
    page = Page(Library.create(tmp_path / "empty", ("hashing",)))
    assert "empty" in atlas.show(page, view(), Asked(), RECIPE).problem and not atlas.vectors(page, "hashing")
    page.close()


def test_a_map_for_programs(page: Page) -> None:
    found = atlas.mapped(page, Wanted("hashing", "visual"), first=1, count=2)
    whole = laid(page)
    assert found["state"] == "done" and found["n"] == len(whole.cloud) and found["items"] == whole.cloud.ids[1:3]
    assert found["x"] == pytest.approx(whole.plane.points[1:3, 0].tolist())
    json.dumps(found)


def test_umap_comes_in_the_background_and_is_kept(own: Page) -> None:
    wanted = own.maps.wanted("hashing", "visual+text", "umap")
    work = own.maps.lay(wanted)
    assert isinstance(work, Work) and own.maps.lay(wanted) is work
    shown = atlas.show(own, atlas.View("hashing", "visual+text", "umap", "kind"), Asked(), RECIPE)
    assert shown.waiting and "data-points" in shown.plot and "UMAP of" in shown.line
    # Searching goes on meanwhile.
    assert own.engine.rank([query(own, Asked.of(words="red"))], RECIPE, 3).rankings[0].hits
    assert work.ended.wait(240) and work.state == "done", work.problem
    found = own.maps.lay(wanted)
    assert isinstance(found, Laid) and found.plane.shares is None
    kept = projection.kept(own.library, found.cloud, "umap", 0)
    assert kept is not None and (kept.points == found.plane.points).all()
    done = atlas.show(own, atlas.View("hashing", "visual+text", "umap", "kind"), Asked(), RECIPE)
    assert not done.waiting and "Neighbours stay" in done.line
    own.remove(by_caption(own, "red brick").paths)
    assert not atlas.current(own, done.plot)


def test_closing_ends_what_runs(own: Page) -> None:
    work = own.maps.lay(own.maps.wanted("hashing", "visual+text", "umap", 3))
    assert isinstance(work, Work)
    closing = threading.Thread(target=own.maps.close)
    closing.start()
    closing.join(60)
    assert not closing.is_alive() and work.ended.is_set() and work.state == "failed"


def test_a_shelf_forgets_the_oldest() -> None:
    shelf: Shelf[object] = Shelf("thing")
    things = [object() for _ in range(20)]
    keys = [shelf.put(thing) for thing in things]
    assert shelf.get(keys[-1]) is things[-1] and shelf.put(things[-1]) == keys[-1]
    with pytest.raises(RetrievalError, match="this thing is not kept"):
        shelf.get(keys[0])
