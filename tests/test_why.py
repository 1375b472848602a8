"""Why a hit scored as it did: squares and words that can be checked by hand, and sums that must be the score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from drawings import drawing
from PIL import Image, ImageDraw
from token_encoder import NAME, registered

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval import lexical
from mmretrieval.engine import Engine
from mmretrieval.errors import BadQuery
from mmretrieval.library import Library, contents
from mmretrieval.types import Content, Hit, Item, Part, Query
from mmretrieval.why import GRID, Falls, Moments, Regions, Why, Words, pieces, regions, why, without
from models.hashing import bucket, text_features

SAID = ["a red fox", "two red foxes", "a blue whale", "the tall lighthouse", "an old bridge", "fox and whale"]
LONG = " ".join(f"Sentence {n} tells of the river and of boat number {n}." for n in range(20))


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Eight pictures, six of them with captions, a passage, a long one, and a clip."""
    folder = tmp_path_factory.mktemp("files")
    for seed in range(8):
        drawing(seed).save(folder / f"{seed}.png")
    for seed, caption in enumerate(SAID):
        (folder / f"{seed}.json").write_text(f'{{"caption": "{caption}"}}')
    (folder / "a.txt").write_text("The fox is red.")
    (folder / "long.txt").write_text(LONG)
    (folder / "clip.webm").write_bytes((Path(__file__).parent / "assets" / "videos" / "vp9.webm").read_bytes())
    made = Library.create(tmp_path_factory.mktemp("library") / "l", ["hashing"])
    assert not ingest(made, walk([folder]), workers=1).failed
    return made


@pytest.fixture(scope="module")
def engine(library: Library) -> Engine:
    return Engine(library, exact=True)


def asked(*parts: tuple[str, float]) -> Query:
    return Query(tuple(Part(Content(text=text), weight=weight) for text, weight in parts))


def found(engine: Engine, query: Query, recipe: str, kind: str = "image") -> tuple[Item, Hit, Why]:
    """The best item of a kind, its hit, and why."""
    hits = engine.rank([query], recipe, 20, explain=True).rankings[0].hits
    items = engine.library.items_by_id([hit.id for hit in hits])
    hit = next(hit for hit in hits if items[hit.id].kind == kind)
    item = items[hit.id]
    content = contents.content(engine.library.ledger, item, engine.library.settings)
    return item, hit, why(engine, query, recipe, item, content)


def only(answer: Why, kind: type) -> Falls:
    (one,) = [finding for finding in answer.findings if isinstance(finding, kind)]
    return one


# --- pictures --------------------------------------------------------------------------------------------------------


def brightness(box: tuple[int, int, int, int]) -> Callable[[Sequence[Content]], np.ndarray]:
    """A score that sees one box of a picture and nothing else: how bright that is."""

    def scored(shown: Sequence[Content]) -> np.ndarray:
        means = [np.asarray(c.image.crop(box), dtype=np.float64).mean() / 255 for c in shown if c.image]
        return np.array(means)[:, None]

    return scored


def spot(box: tuple[int, int, int, int], side: int = 160) -> Image.Image:
    picture = Image.new("RGB", (side, side), (0, 0, 0))
    ImageDraw.Draw(picture).rectangle((box[0], box[1], box[2] - 1, box[3] - 1), fill=(255, 255, 255))
    return picture


@pytest.mark.parametrize("quadrant", [(0, 0), (80, 0), (0, 80), (80, 80)])
def test_the_quadrant_that_the_score_looks_at_is_found(quadrant: tuple[int, int]) -> None:
    box = (*quadrant, quadrant[0] + 80, quadrant[1] + 80)
    seen = regions("x@visual", ("q",), brightness(box), Content(image=spot(box)))
    inside = np.zeros((GRID, GRID), dtype=bool)
    half = GRID // 2
    top, left = half * (quadrant[1] > 0), half * (quadrant[0] > 0)
    inside[top : top + half, left : left + half] = True
    assert seen.map().shape == (GRID, GRID) and seen.score == 1.0
    assert seen.map()[inside].min() > seen.map()[~inside].max()
    # Patches of two squares reach one square beyond the quadrant, and no further.
    far = np.ones_like(inside)
    far[max(0, top - 1) : top + half + 1, max(0, left - 1) : left + half + 1] = False
    assert (seen.map()[far] == 0).all()
    # By hand: a patch inside the quadrant turns 4 of its 16 squares from white to the mean, a quarter white.
    corner = seen.map()[-1 if top else 0, -1 if left else 0]
    assert corner == pytest.approx(4 / 16 * (1 - 64 / 255), abs=1e-9)


def test_a_turned_picture_has_the_turned_map() -> None:
    picture = drawing(3).resize((160, 160))
    weights = np.random.default_rng(0).normal(size=(160, 160, 3))

    def scored(turns: int) -> Callable[[Sequence[Content]], np.ndarray]:
        def of(shown: Sequence[Content]) -> np.ndarray:
            rows = [np.rot90(np.asarray(c.image, dtype=np.float64), -turns) for c in shown]
            return np.array([[(row * weights).sum(), row.mean()] for row in rows])

        return of

    plain = regions("x@visual", ("a", "b"), scored(0), Content(image=picture))
    for turns in (1, 2, 3):
        turned = Image.fromarray(np.rot90(np.asarray(picture), turns))
        other = regions("x@visual", ("a", "b"), scored(turns), Content(image=turned))
        for part in (None, 0, 1):
            assert np.allclose(other.map(part), np.rot90(plain.map(part), turns), atol=1e-6)


def test_hiding_what_changes_nothing_costs_nothing(engine: Engine) -> None:
    query = asked(("red fox", 1.0))
    item, _, _ = found(engine, query, "hashing@visual")
    plain = Content(image=Image.new("RGB", (97, 61), (120, 33, 201)))
    seen = only(why(engine, query, "hashing@visual", item, plain), Regions)
    assert not seen.falls.any()


@pytest.mark.parametrize("recipe", ["hashing@visual", "hashing@visual,center", "hashing@visual,gapshift:0.5,rocchio"])
def test_the_parts_falls_add_up_and_the_whole_is_the_hits_score(engine: Engine, recipe: str) -> None:
    query = asked(("red fox", 1.0), ("whale", -0.4), ("bridge", 0.0))
    _, hit, answer = found(engine, query, recipe)
    seen = only(answer, Regions)
    assert seen.parts == ("“red fox”", "−“whale”")
    assert np.allclose(seen.falls.sum(axis=0), seen.total, atol=1e-12) and seen.total.any()
    assert seen.score == pytest.approx(hit.score, abs=1e-5)
    (brought,) = hit.contributions
    assert np.allclose(seen.scores, brought.values, atol=1e-5)


def test_all_views_are_looked_at_and_the_one_that_counted_comes_first(engine: Engine) -> None:
    _, hit, answer = found(engine, asked(("tall lighthouse", 1.0)), "hashing")
    assert [type(finding) for finding in answer.findings] == [Words, Regions]
    assert answer.findings[0].source == hit.contributions[0].source == "hashing@text"


def test_a_picture_smaller_than_the_grid_has_a_square_for_each_pixel() -> None:
    tiny = Image.fromarray(np.arange(15, dtype=np.uint8).reshape(5, 1, 3))
    seen = regions("x@visual", ("q",), lambda c: np.zeros((len(c), 1)), Content(image=tiny))
    assert seen.grid == (5, 1) and not seen.falls.any()


def test_a_clip_is_scored_frame_by_frame_and_its_best_frame_looked_at(engine: Engine) -> None:
    item, _, answer = found(engine, asked(("red fox", 1.0)), "hashing@visual", kind="video")
    moments, seen = answer.findings
    assert isinstance(moments, Moments) and isinstance(seen, Regions)
    assert len(moments.times) == engine.library.settings.frames_per_clip
    assert item.t0 is not None and item.t1 is not None
    assert item.t0 < moments.times[0] < moments.times[-1] < item.t1
    assert seen.at == moments.times[int(moments.total.argmax())]
    assert seen.score == pytest.approx(moments.total.max(), abs=1e-6)
    assert "Each frame was scored by itself" in answer.notes[-1]


# --- words -----------------------------------------------------------------------------------------------------------


def row(text: str, dim: int) -> np.ndarray:
    """The unit row of a text, by the definition of feature hashing."""
    out = np.zeros(dim)
    for feature, weight in text_features(text):
        place, sign = bucket(feature, dim)
        out[place] += sign * weight
    return out / np.linalg.norm(out)


def test_words_count_as_the_hand_has_it(engine: Engine, library: Library) -> None:
    _, _, answer = found(engine, asked(("red fox", 1.0)), "hashing@text")
    told, dim = only(answer, Words), library.card("hashing").dim
    assert isinstance(told, Words) and not told.whole
    words = [told.text[start:end] for start, end in told.spans]
    assert words == told.text.replace(".", "").split()
    query, whole = row("red fox", dim), row(told.text, dim)
    left = [" ".join(w for j, w in enumerate(words) if j != i) for i in range(len(words))]
    expected = [query @ whole - query @ row(rest, dim) for rest in left]
    assert np.allclose(told.total, expected, atol=1e-5)
    assert {words[i] for i in np.argsort(-told.total)[:2]} == {"red", "fox"}


def test_long_texts_are_taken_sentence_by_sentence(engine: Engine, library: Library) -> None:
    query, dim = asked(("boat number 7", 1.0)), library.card("hashing").dim
    item, _, _ = found(engine, query, "hashing@text", kind="text")
    told = only(why(engine, query, "hashing@text", item, Content(text=LONG)), Words)
    assert isinstance(told, Words) and told.whole
    sentences = [told.text[start:end] for start, end in told.spans]
    assert len(sentences) == 20 and " ".join(sentences) == LONG
    asks, whole = row("boat number 7", dim), row(LONG, dim)
    left = [" ".join(s for s in sentences if s != sentence) for sentence in sentences]
    assert np.allclose(told.total, [asks @ whole - asks @ row(rest, dim) for rest in left], atol=1e-5)
    assert sentences[int(told.total.argmax())].endswith("number 7.")


def test_bm25_counts_the_words_that_it_shares(engine: Engine, library: Library) -> None:
    query = asked(("red fox", 1.0), ("whale", -0.5))
    item = next(item for item in library.items() if item.text == "a red fox")
    hits = engine.rank([query], "hashing@visual+bm25", 20, explain=True).rankings[0].hits
    hit = next(hit for hit in hits if hit.id == item.id)
    shown = contents.content(library.ledger, item, library.settings)
    answer = why(engine, query, "hashing@visual+bm25", item, shown)
    assert [finding.source for finding in answer.findings] == ["hashing@visual", "bm25@text"]
    told = answer.findings[1]
    assert isinstance(told, Words)
    assert told.score == pytest.approx(sum(hit.contributions[1].values), abs=1e-6)
    # Without “red” what is left is “fox” alone, as telling as before, in a text of one term.
    texts = lexical.read(["red fox", "fox", "red"])
    weights = {text: texts.taken(np.array([i])) for i, text in enumerate(["red fox", "fox", "red"])}
    store = library.lexical_store()
    for word, other in (("red", "fox"), ("fox", "red")):
        term = lexical.terms_of(other)
        before = weights["red fox"].weights[weights["red fox"].terms == term[0]][0]
        held = store.scores(lexical.Terms(term, np.ones(1)), [item.id])[0] / 1.5
        rest = held / before * weights[other].weights[0]
        span = next(i for i, (start, end) in enumerate(told.spans) if told.text[start:end] == word)
        assert told.total[span] == pytest.approx(told.score - rest, abs=1e-6)
    assert "rrf:60" in " ".join(answer.notes)


@pytest.mark.parametrize(
    ("text", "spans", "whole"),
    [
        ("a red-hot fox’s", ["a", "red-hot", "fox’s"], False),
        ("…", ["…"], True),
        ("one two. " * 40, ["one two."] * 40, True),
        ("x y. " * 200, None, True),
    ],
)
def test_pieces(text: str, spans: list[str] | None, whole: bool) -> None:
    found, are_whole = pieces(text)
    assert are_whole is whole
    assert all(a[1] <= b[0] for a, b in zip(found, found[1:], strict=False)) and len(found) <= 60
    if spans is not None:
        assert [text[start:end] for start, end in found] == spans


def test_what_is_cut_out_leaves_no_double_space() -> None:
    assert without("a red fox", (2, 5)) == "a fox"
    assert without("red", (0, 3)) == ""
    assert without("a red", (2, 5)) == "a"


def test_the_only_word_carries_the_whole_score(engine: Engine) -> None:
    query = asked(("fox", 1.0))
    item, _, _ = found(engine, query, "hashing@text")
    told = only(why(engine, query, "hashing@text", item, Content(text="fox")), Words)
    assert told.score == pytest.approx(1.0, abs=1e-6) and told.total[0] == pytest.approx(1.0, abs=1e-6)


# --- what cannot be looked at ----------------------------------------------------------------------------------------


def test_what_has_nothing_to_look_at_says_so(engine: Engine) -> None:
    query = asked(("fox", 1.0))
    item, _, _ = found(engine, query, "hashing@text", kind="text")
    with pytest.raises(BadQuery, match="nothing that hashing@visual looks at"):
        why(engine, query, "hashing@visual", item, Content(text=item.text))
    with pytest.raises(BadQuery, match="take 2 to 16"):
        why(engine, query, "hashing@text", item, Content(text=item.text), grid=1)


def test_late_interaction_is_explained_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with registered(tmp_path / "own"):
        folder = tmp_path / "in"
        folder.mkdir()
        for n, colours in enumerate([("red", "blue"), ("green", "green")]):
            picture = Image.new("RGB", (64, 64), colours[0])
            ImageDraw.Draw(picture).rectangle((32, 0, 64, 64), fill=colours[1])
            picture.save(folder / f"{n}.png")
        with Library.create(tmp_path / "l", [NAME]) as made:
            assert not ingest(made, walk([folder]), workers=1).failed
            engine = Engine(made, exact=True)
            _, hit, answer = found(engine, asked(("blue", 1.0)), f"{NAME}@visual")
    seen = only(answer, Regions)
    assert seen.parts == ("the query",) and seen.score == pytest.approx(hit.score, abs=1e-5)
