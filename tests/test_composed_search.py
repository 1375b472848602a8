"""Composers of vectors through the engine, against slow formulas over the library's own matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from composed_library import SAID, Numbers, bank, item, liked, make, picture, query, row, rows_of, unit, words
from drawings import drawing

from ingest.pipeline import ingest
from ingest.walk import Source
from mmretrieval.engine import Engine
from mmretrieval.errors import BadQuery
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from mmretrieval.search import BLENDS, COMPOSERS, FUSERS, JOINT
from mmretrieval.types import Content, Part, Query

Compose = Callable[[Library, Sequence[Part]], Numbers]
# Of `joint`, which needs an encoder that reads several parts at once, see tests/test_joint.py.
BY_ITSELF = [stage for stage in (*COMPOSERS, *BLENDS) if stage != JOINT]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with make(tmp_path_factory.mktemp("composed")) as made:
        yield made


@pytest.fixture(scope="module")
def engine(library: Library) -> Engine:
    return Engine(library, exact=True)


def centres(library: Library) -> dict[str, Numbers]:
    """The mean of the bank's words, and of the library's pictures."""
    return {"text": bank().mean(axis=0), "image": rows_of(library, "visual")[1].mean(axis=0)}


def modality(part: Part) -> str:
    return "text" if part.content is not None and part.content.text is not None else "image"


def added(library: Library, parts: Sequence[Part]) -> Numbers:
    total = np.zeros(rows_of(library, "visual")[1].shape[1])
    for part in parts:
        total += part.weight * row(library, part)
    return unit(total)


def on_the_arc(a: float) -> Compose:
    """Between the pictures and the words that pull, with their weight; what pushes away is added after."""

    def composed(library: Library, parts: Sequence[Part]) -> Numbers:
        pulling = [p for p in parts if p.weight > 0]
        seen = added(library, [p for p in pulling if modality(p) == "image"])
        said = added(library, [p for p in pulling if modality(p) == "text"])
        angle = np.arccos(seen @ said)
        total = (np.sin((1 - a) * angle) * seen + np.sin(a * angle) * said) / np.sin(angle)
        total = total * sum(p.weight for p in pulling)
        for part in parts:
            if part.weight < 0:
                total = total + part.weight * row(library, part)
        return unit(total)

    return composed


def anchored(library: Library, parts: Sequence[Part]) -> Numbers:
    means, towards = centres(library), 0.0
    for part in parts:
        towards = towards + part.weight * unit(row(library, part) - means[modality(part)])
    pulling = [p for p in parts if p.weight > 0]
    whole = sum(p.weight for p in pulling)
    middle = sum(p.weight / whole * means[modality(p)] for p in pulling)
    far = sum(p.weight / whole * np.linalg.norm(row(library, p) - means[modality(p)]) for p in pulling)
    return unit(np.asarray(middle + far * unit(np.asarray(towards))))


def fed_back(a: float, b: float, c: float) -> Compose:
    """The liked and the disliked are pictures, so the words are moved to where pictures are."""

    def composed(library: Library, parts: Sequence[Part]) -> Numbers:
        means = centres(library)
        asked = [
            part.weight * unit(row(library, part) + (means["image"] - means["text"]) * (modality(part) == "text"))
            for part in parts
            if not part.feedback
        ]
        good = [row(library, p) for p in parts if p.feedback and p.weight > 0]
        bad = [row(library, p) for p in parts if p.feedback and p.weight < 0]
        total = b * np.mean(good, axis=0) - c * np.mean(bad, axis=0)
        return unit(total + a * unit(np.sum(asked, axis=0)) if asked else total)

    return composed


FORMULAS: dict[str, tuple[str, Compose]] = {
    "sum": ("sum", added),
    "slerp, as by default": ("slerp", on_the_arc(0.8)),
    "slerp": ("slerp:0.3", on_the_arc(0.3)),
    "anchor": ("anchor", anchored),
}


@pytest.mark.parametrize(("stage", "compose"), FORMULAS.values(), ids=FORMULAS)
@pytest.mark.parametrize("view", ["visual", "text"])
def test_a_composer_ranks_as_its_formula(
    library: Library, engine: Engine, stage: str, compose: Compose, view: str
) -> None:
    asked = [picture(40, 2.0), words("red fox"), words("the sea", 0.5), words("a bridge", -0.4), picture(41, 0.7)]
    ids, rows = rows_of(library, view)  # type: ignore[arg-type]
    scores = rows @ compose(library, asked)
    hits = engine.rank([query(*asked)], f"hashing@{view},{stage}", 14).rankings[0].hits
    assert [h.id for h in hits] == [ids[i] for i in np.argsort(-scores, kind="stable")]
    np.testing.assert_allclose([h.score for h in hits], np.sort(scores)[::-1], atol=2e-6)


@pytest.mark.parametrize(
    ("stage", "factors"), [("rocchio", (1, 0.75, 0.15)), ("rocchio:0.5:2:1", (0.5, 2, 1)), ("rocchio:0:1:1", (0, 1, 1))]
)
def test_feedback_moves_the_question_as_rocchio_says(
    library: Library, engine: Engine, stage: str, factors: tuple[float, float, float]
) -> None:
    three = [item(library, f"{n}.png") for n in (0, 7, 9)]
    asked = [words("blue whale"), liked(three[0]), liked(three[1]), liked(three[2], -1.0)]
    ids, rows = rows_of(library, "visual")
    kept = [i for i, ident in enumerate(ids) if ident not in three]
    scores = rows[kept] @ fed_back(*factors)(library, asked if factors[0] else asked[1:])
    hits = engine.rank([query(*asked)], f"hashing@visual,{stage}", 14).rankings[0].hits
    assert [h.id for h in hits] == [ids[kept[i]] for i in np.argsort(-scores, kind="stable")]
    np.testing.assert_allclose([h.score for h in hits], np.sort(scores)[::-1], atol=2e-6)


@pytest.mark.parametrize("stage", BY_ITSELF)
def test_order_scale_and_parts_of_no_weight_change_nothing(library: Library, engine: Engine, stage: str) -> None:
    asked = [picture(3), words("fox", 2.0), words("sea", -0.5)]
    asked += [liked(item(library, "5.png")), liked(item(library, "8.png"), -0.5)]
    scaled = [Part(p.content, p.item, p.weight * 7, p.feedback) for p in asked]
    turned = [*reversed(asked)]
    for recipe in (f"hashing@visual,{stage}", f"hashing,{stage}"):
        given = [query(*parts) for parts in (asked, turned, scaled, [*asked, words("nothing", 0.0)])]
        whole = [[(h.id, h.score) for h in r.hits] for r in engine.rank(given, recipe, 14).rankings]
        assert whole[0] == whole[1] == whole[3]
        assert [i for i, _ in whole[0]] == [i for i, _ in whole[2]]
        np.testing.assert_allclose([s for _, s in whole[0]], [s for _, s in whole[2]], atol=1e-6)


def test_words_alone_are_the_same_under_every_composer(engine: Engine) -> None:
    """So a default of another composer would cost those nothing who only type."""
    asked = query(words("red fox"))
    plain = engine.rank([asked], "hashing@text", 8).rankings[0].hits
    for stage in ("slerp:0.2", "anchor", "rocchio"):
        hits = engine.rank([asked], f"hashing@text,{stage}", 8).rankings[0].hits
        assert {h.id: h.score for h in hits} == pytest.approx({h.id: h.score for h in plain}, abs=1e-6)


# --- means --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["anchor", "rocchio"])
def test_a_clip_is_centred_as_pictures_are(library: Library, engine: Engine, stage: str) -> None:
    """A clip of one frame has the vector of the picture, and the mean of the library's pictures."""
    more = [words("whale"), liked(item(library, "1.png"))]
    given = [query(picture(30), *more), query(Part(Content(frames=(drawing(30),))), *more)]
    still, clip = engine.rank(given, f"hashing@visual,{stage}", 14).rankings
    assert [h.id for h in still.hits] == [h.id for h in clip.hits]
    np.testing.assert_allclose([h.score for h in still.hits], [h.score for h in clip.hits], atol=1e-6)


def test_a_library_without_pictures_has_no_mean_picture(tmp_path: Path) -> None:
    with Library.create(tmp_path / "l", ["hashing"]) as texts:
        ingest(texts, [Source(f"{n}", data=text.encode()) for n, text in enumerate(SAID)], workers=1)
        engine = Engine(texts, exact=True)
        assert len(engine.rank([query(words("fox"), words("sea", -0.5))], "hashing,anchor").rankings[0].hits) == 6
        with pytest.raises(BadQuery, match=r"query 'p'.*none is known for image: use sum"):
            engine.rank([query(words("fox"), picture(1), id="p")], "hashing@text,anchor")
        # Rocchio moves nothing where there is no mean to move to, and works.
        assert engine.rank([query(words("fox"), picture(1))], "hashing@text,rocchio").rankings[0].hits


def test_two_stages_look_again_with_the_means_of_what_they_see(library: Library, engine: Engine) -> None:
    """`rescore` takes the rows that the encoder gave: the means are those before any transform, then."""
    asked = query(picture(40), words("red fox"))
    plain = engine.rank([asked], "hashing@visual,anchor", 12).rankings[0].hits
    again = engine.rank([asked], "hashing@visual,mrl:64,anchor,rescore:100", 12).rankings[0].hits
    assert [h.id for h in again] == [h.id for h in plain]
    np.testing.assert_allclose([h.score for h in again], [h.score for h in plain], atol=1e-6)


def test_means_follow_the_library_and_are_in_the_record(tmp_path: Path) -> None:
    with make(tmp_path) as grown:
        engine = Engine(grown, exact=True)
        asked = query(picture(40), words("red fox"))
        run = engine.rank([asked], "hashing@visual,anchor")
        assert run.meta["bank"]["name"] == "generic captions"
        assert "bank" not in engine.rank([asked], "hashing@visual").meta
        drawing(60).save(tmp_path / "in" / "60.png")
        ingest(grown, [Source(str(tmp_path / "in" / "60.png"))], workers=1)
        ids, rows = rows_of(grown, "visual")
        scores = dict(zip(ids, rows @ anchored(grown, asked.parts), strict=True))
        hits = engine.rank([asked], "hashing@visual,anchor", 13).rankings[0].hits
        np.testing.assert_allclose([h.score for h in hits], [scores[h.id] for h in hits], atol=2e-6)


@pytest.mark.parametrize("stage", BY_ITSELF)
def test_null_statistics_under_each_composer_are_those_of_one_part(
    library: Library, engine: Engine, stage: str
) -> None:
    recipe = parse(f"hashing,center,{stage}")
    space = engine.spaces.get("hashing", recipe)
    for view in ("visual", "text"):
        found = engine.spaces.null(space, view, recipe)
        assert found == engine.spaces.null(space, view, parse("hashing,center,sum"))
        assert found[1] > 0.01 and found != (0.0, 1.0)


# --- several lists, and the order of one ---------------------------------------------------------------------------


def of_list(fuser: str, scores: Numbers) -> tuple[Numbers, float]:
    """What each item of a list gets, best first, and what one gets that the list lacks."""
    if fuser == "rrf":
        return 1 / (60 + np.arange(1, len(scores) + 1)), 0.0
    if fuser == "zscore":
        z = (scores - scores.mean()) / scores.std()
        return z, float(z.min())
    if fuser == "minmax":
        return (scores - scores.min()) / (scores.max() - scores.min()), 0.0
    return (scores - scores.mean() + 3 * scores.std(ddof=1)) / (6 * scores.std(ddof=1)), 0.0


@pytest.mark.parametrize("fuser", FUSERS)
@pytest.mark.parametrize(("hats", "weights"), [(("", "", ""), (1, 1, 1)), (("^2", "^0.5", ""), (2, 0.5, 1))])
def test_lists_are_fused_by_weight(
    engine: Engine, fuser: str, hats: tuple[str, str, str], weights: tuple[float, float, float]
) -> None:
    asked, names = query(words("red whale")), ("hashing@visual", "hashing@text", "bm25")
    lists = [engine.rank([asked], name, 14).rankings[0].hits for name in names]
    expected: dict[str, float] = {h.id: 0.0 for hits in lists for h in hits}
    for hits, weight in zip(lists, weights, strict=True):
        values, lacking = of_list(fuser, np.array([h.score for h in hits]))
        own = dict(zip((h.id for h in hits), values, strict=True))
        for ident in expected:
            expected[ident] += weight / max(weights) * own.get(ident, lacking)
    recipe = f"{'+'.join(n + h for n, h in zip(names, hats, strict=True))},{fuser}"
    hits = engine.rank([asked], recipe, 14).rankings[0].hits
    assert {h.id: h.score for h in hits} == pytest.approx(expected, abs=1e-6)
    assert [h.score for h in hits] == sorted((h.score for h in hits), reverse=True)


def test_the_scale_of_all_lists_weights_changes_nothing(engine: Engine) -> None:
    asked = query(words("red whale"))
    for fuser in FUSERS:
        one, other = (
            engine.rank([asked], f"hashing@visual^{a}+bm25^{b},{fuser}", 14).rankings[0].hits
            for a, b in (("0.5", "1.5"), ("1", "3"))
        )
        assert [(h.id, h.score) for h in one] == [(h.id, h.score) for h in other]


@pytest.mark.parametrize("balance", [0.0, 0.4, 1.0])
def test_mmr_picks_what_suits_and_was_not_shown(library: Library, engine: Engine, balance: float) -> None:
    asked: Query = query(picture(40), words("red fox"))
    ids, rows = rows_of(library, "visual")
    relevance = rows @ added(library, asked.parts)
    picked: list[int] = [int(relevance.argmax())]
    while len(picked) < len(ids):
        most = (rows @ rows[picked].T).max(axis=1)
        marginal = balance * relevance - (1 - balance) * most
        marginal[picked] = -np.inf
        picked.append(int(marginal.argmax()))
    hits = engine.rank([asked], f"hashing@visual,mmr:{balance:g}", 14).rankings[0].hits
    assert [h.id for h in hits] == [ids[i] for i in picked]
