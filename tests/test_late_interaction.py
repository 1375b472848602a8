"""A late-interaction encoder from files to rankings: stored, indexed, searched, composed, refused where it must be."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from drawings import drawing
from ingesting import add, numbers
from PIL import Image, ImageDraw
from token_encoder import COLOURS, DIM, NAME, colour_row, registered, word_row

from mmretrieval import catalog, late
from mmretrieval.bank import null_bank
from mmretrieval.embedding import embed_multi
from mmretrieval.engine import Engine
from mmretrieval.errors import BadQuery, BadRecipe, CorruptLibrary
from mmretrieval.filters import Condition
from mmretrieval.late_space import refuse
from mmretrieval.library import Library, index
from mmretrieval.library.parts import about, read_part
from mmretrieval.library.verify import verify
from mmretrieval.muvera import Fde
from mmretrieval.recipe import Recipe, Source, Stage
from mmretrieval.types import Content, Part, Query, Vectors, View

# Red and blue in different amounts, with words; the last two have no caption.
FLAGS = [("red", "blue"), ("red", "red"), ("blue", "green"), ("yellow", "purple"), ("red", "white"), ("black", "blue")]
SAID = ["a red fox", "red red wine", "the sea", "bananas and plums"]


def flag(left: str, right: str, seed: int = 0) -> Image.Image:
    picture = Image.new("RGB", (64, 64), COLOURS[left])
    ImageDraw.Draw(picture).rectangle((32, 0, 64, 64), fill=COLOURS[right])
    picture.putpixel((0, 0), (seed, seed, seed))
    return picture


@pytest.fixture(scope="module", autouse=True)
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with registered(tmp_path_factory.mktemp("own")):
        yield


def files_in(folder: Path) -> Path:
    folder.mkdir()
    for n, (left, right) in enumerate(FLAGS):
        flag(left, right).save(folder / f"{n}.png")
        if n < len(SAID):
            (folder / f"{n}.json").write_text(json.dumps({"caption": SAID[n], "number": n}))
    return folder


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    root = tmp_path_factory.mktemp("late")
    with Library.create(root / "l", [NAME, "hashing"]) as made:
        assert numbers(add(made, files_in(root / "in"))) == {"stored": 6}
        yield made


@pytest.fixture(params=["exact", "index"])
def engine(request: pytest.FixtureRequest, library: Library) -> Iterator[Engine]:
    if request.param == "exact":
        yield Engine(library, exact=True)
        return
    library.open_indexes()
    library.sync_indexes()
    yield Engine(library)
    library.close_indexes()


def bag(content: Content) -> np.ndarray:
    return embed_multi(catalog.load(NAME), [content], "query")[0].astype(np.float64)


def means(library: Library, view: View, content: Content) -> dict[str, float]:
    """Each item's mean MaxSim, in plain loops."""
    query = bag(content)
    held = library.bags(NAME)[view]
    return {
        i: float(np.mean([max(float(q @ d) for d in own.astype(np.float64)) for q in query]))
        for i, own in zip(held.ids, held.vectors, strict=True)
    }


def ask(*parts: Part, **more: object) -> Query:
    return Query(parts, **more)  # type: ignore[arg-type]


def words(text: str, weight: float = 1.0) -> Part:
    return Part(Content(text=text), weight=weight)


def ranked(engine: Engine, query: Query, recipe: str, k: int = 6) -> dict[str, float]:
    return {h.id: h.score for h in engine.rank([query], recipe, k).rankings[0].hits}


def number(library: Library, ident: str) -> str:
    return Path(library.item(ident).paths[0]).stem


def test_what_is_stored_is_what_the_encoder_gave(library: Library) -> None:
    held = library.bags(NAME)
    assert {view: len(bags.ids) for view, bags in held.items()} == {"visual": 6, "text": 4}
    for place, ident in enumerate(held["text"].ids):
        text = library.item(ident).text
        np.testing.assert_allclose(held["text"].vectors[place], bag(Content(text=text)), atol=1e-6)
        assert len(held["text"].vectors[place]) == len(text.split())
    space = catalog.card(NAME).space
    (part,) = library.ledger.parts(space)
    said = about(library.parts_folder(space), part)
    assert said is not None and said["encoding"] == Fde().described(DIM) and said["encoder"] == NAME
    assert verify(library).problems == () and verify(library).vectors == 10 + 10


def test_one_view_is_the_mean_maxsim(library: Library, engine: Engine) -> None:
    for view, content in (("visual", Content(text="red")), ("text", Content(text="the red sea"))):
        expected = means(library, view, content)  # type: ignore[arg-type]
        found = ranked(engine, ask(Part(content)), f"{NAME}@{view}")
        assert found == pytest.approx(expected, abs=1e-6)
        assert list(found) == sorted(expected, key=lambda i: (-round(expected[i], 7), i))
    found = ranked(engine, ask(words("red")), f"{NAME}@visual", 3)
    assert {number(library, i) for i in found} == {"0", "1", "4"}


def test_composed_and_negative_parts_add_scores(library: Library, engine: Engine) -> None:
    one, two = means(library, "visual", Content(text="red")), means(library, "visual", Content(text="blue"))
    found = ranked(engine, ask(words("red"), words("blue", -0.5)), f"{NAME}@visual")
    assert found == pytest.approx({i: (one[i] - 0.5 * two[i]) / 1.5 for i in one}, abs=1e-6)
    assert number(library, next(iter(found))) in "14" and number(library, list(found)[-1]) in "25"
    mixed = means(library, "visual", Content(image=flag("green", "blue")))
    found = ranked(engine, ask(Part(Content(image=flag("green", "blue"))), words("red")), f"{NAME}@visual")
    assert found == pytest.approx({i: (mixed[i] + one[i]) / 2 for i in one}, abs=1e-6)
    with pytest.raises(BadQuery, match="cancel"):
        engine.rank([ask(words("red"), words("red", -1.0))], NAME)


def test_an_item_stands_for_its_bag_and_is_left_out(library: Library, engine: Engine) -> None:
    ids = {number(library, i): i for i in library.bags(NAME)["visual"].ids}
    found = ranked(engine, ask(Part(item=ids["2"])), f"{NAME}@visual")
    assert ids["2"] not in found and len(found) == 5
    assert found == pytest.approx(
        {i: s for i, s in means(library, "visual", Content(image=flag("blue", "green"))).items() if i in found},
        abs=1e-6,
    )
    with pytest.raises(BadQuery, match="no vector"):
        engine.rank([ask(Part(item="6f0b1f0e-0000-5d0b-9c53-4d6c72b0a7f1"))], NAME)


def test_filters_excludes_and_subsets_hold(library: Library, engine: Engine) -> None:
    ids = {number(library, i): i for i in library.bags(NAME)["visual"].ids}
    few = Condition("meta.number", "gte", 1)
    query = ask(words("red"), filter=few, exclude=frozenset([ids["2"]]))
    assert set(ranked(engine, query, f"{NAME}@visual")) == {ids["1"], ids["3"]}
    query = ask(words("red"), subset=frozenset([ids["0"], ids["5"]]))
    assert list(ranked(engine, query, f"{NAME}@visual")) == [ids["0"], ids["5"]]


def test_all_views_are_standardised_by_the_null_bank(library: Library, engine: Engine) -> None:
    bank = embed_multi(catalog.load(NAME), [Content(text=t) for t in null_bank()], "query")
    best: dict[str, float] = {}
    for view, held in library.bags(NAME).items():
        null = np.array([late.maxsim(q, np.full(len(q), 1 / len(q)), held.vectors, range(len(held.ids))) for q in bank])
        for ident, score in means(library, view, Content(text="red")).items():
            best[ident] = max(best.get(ident, -np.inf), (score - null.mean()) / null.std())
    found = ranked(engine, ask(words("red")), NAME)
    assert found == pytest.approx(best, abs=1e-3)


def test_a_recipe_of_both_kinds_is_fused(library: Library, engine: Engine) -> None:
    run = engine.rank([ask(words("red fox")), ask(words("sea"))], f"hashing@text+{NAME}@text,rrf:60", 4)
    first = run.rankings[0].hits
    assert number(library, first[0].id) == "0"
    assert {m.stage for h in first for m in h.trail} >= {"hashing@text", f"{NAME}@text", "rrf:60"}
    reranked = engine.rank([ask(words("red fox"))], f"hashing+{NAME},gram:3", 6).rankings[0].hits
    assert {h.id for h in reranked} == set(library.bags(NAME)["visual"].ids)
    late_facts = next(e for e in run.meta["encoders"] if e["spec"] == NAME)["late"]
    assert (late_facts["reps"], late_facts["oversampling"], late_facts["least_candidates"]) == (20, 2, 100)


@pytest.mark.parametrize("recipe", [f"{NAME},center", f"hashing+{NAME},center", f"{NAME},gram", f"{NAME}+hashing,span"])
def test_stages_that_need_one_vector_refuse_before_any_work(
    library: Library, recipe: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "load", lambda spec: pytest.fail(f"{spec} was loaded"))
    with pytest.raises(BadRecipe, match=f"{NAME} gives several"):
        Engine(library).rank([ask(words("red"))], recipe)


def test_composers_that_mix_vectors_are_refused() -> None:
    cards = [catalog.card(NAME), catalog.card("hashing")]
    with pytest.raises(BadRecipe, match="slerp:0.7 mixes one vector"):
        refuse(cards, Recipe((Source(NAME),), composer=Stage("slerp", (0.7,))))
    refuse(cards[1:], Recipe((Source("hashing"),), composer=Stage("slerp", (0.7,))))


def test_diagnostics_that_need_one_vector_refuse(library: Library) -> None:
    for ask_for in (library.matrices, library.exact_store, library.store):
        with pytest.raises(BadRecipe, match="no one vector"):
            ask_for(NAME)
    assert library.matrices("hashing")


def test_new_words_replace_the_bag_and_removed_items_go(tmp_path: Path) -> None:
    folder = files_in(tmp_path / "in")
    with Library.create(tmp_path / "l", [NAME]) as made:
        add(made, folder)
        made.open_indexes()
        made.sync_indexes()
        (folder / "0.json").write_text(json.dumps({"caption": "an orange cat on a mat"}))
        (folder / "5.png").unlink()
        add(made, folder, prune=[folder])
        made.sync_indexes()
        held, store = made.bags(NAME), made.late_store(NAME)
        assert {view: store.count(view) for view in held} == {"visual": 5, "text": 4}
        for view, bags in held.items():
            assert store.bags(view, bags.ids).rows.tobytes() == np.asarray(bags.vectors.rows).tobytes()
        cat = ranked(Engine(made), ask(words("orange cat")), f"{NAME}@text", 1)
        assert number(made, next(iter(cat))) == "0" and next(iter(cat.values())) == pytest.approx(1)


def test_an_index_of_an_older_encoding_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library.create(tmp_path / "l", [NAME]) as made:
        add(made, files_in(tmp_path / "in"))
        before = made.ledger.index_state(catalog.card(NAME).space)
        monkeypatch.setattr("mmretrieval.library.encoding_of", lambda card: Fde(5, 3, 8, seed=9))
        made.open_indexes()
        made.sync_indexes()
        after = made.ledger.index_state(catalog.card(NAME).space)
        assert before and after and before[0] != after[0] and made.late_store(NAME).count("visual") == 6
        made.close_indexes()


def test_a_graph_is_built_over_the_encodings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Library.create(tmp_path / "l", [NAME]) as made:
        add(made, files_in(tmp_path / "in"))
        monkeypatch.setattr("mmretrieval.library.OPTIMISE_BAGS_FROM", 5)
        assert made.wants_graph(NAME)
        assert made.build_graph(NAME) == 6 and not made.wants_graph(NAME)
        made.open_indexes()
        assert index.graph_points(made._indexes[catalog.card(NAME).space].generation) == 6
        indexed = ranked(Engine(made), ask(words("red")), f"{NAME}@visual")
        made.close_indexes()
        assert indexed == pytest.approx(ranked(Engine(made, exact=True), ask(words("red")), f"{NAME}@visual"), abs=1e-6)


def test_many_small_parts_are_joined_and_hold_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with Library.create(tmp_path / "l", [NAME]) as made:
        for n in range(17):
            flag("red", "blue", n * 15).save(folder / f"{n}.png")
            (folder / f"{n}.json").write_text(json.dumps({"caption": f"flag number {n}"}))
            add(made, folder)
        space = catalog.card(NAME).space
        (merged,) = made.ledger.parts(space)[:1] if len(made.ledger.parts(space)) == 1 else [""]
        assert merged or len(made.ledger.parts(space)) < 5
        assert {v: len(b.ids) for v, b in made.bags(NAME).items()} == {"visual": 17, "text": 17}
        assert verify(made).problems == ()
        for place, ident in enumerate(made.bags(NAME)["text"].ids):
            expected = bag(Content(text=made.item(ident).text))
            np.testing.assert_allclose(made.bags(NAME)["text"].vectors[place], expected, atol=1e-6)


def test_a_spoilt_bag_is_found_out(tmp_path: Path) -> None:
    with Library.create(tmp_path / "l", [NAME]) as made:
        add(made, files_in(tmp_path / "in"))
        space = catalog.card(NAME).space
        (part,) = made.ledger.parts(space)
        file = made.parts_folder(space) / part
        ids, views, rows = read_part(file.parent, part)
        assert isinstance(rows, Vectors) and len(ids) == len(views) == len(rows) == 10
        data = bytearray(file.read_bytes())
        place = data.find(rows[3].tobytes())
        data[place + 2] ^= 1
        file.write_bytes(data)
        assert "checksum" in verify(made).problems[0]
        with pytest.raises(CorruptLibrary, match="checksum"):
            made.bags(NAME)


def test_a_cache_that_cannot_be_written_is_held_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with Library.create(tmp_path / "l", [NAME]) as made:
        add(made, files_in(tmp_path / "in"))
        held = {v: (b.ids, b.vectors.rows.tobytes()) for v, b in made.bags(NAME).items()}
        assert all(isinstance(b.vectors.rows, np.memmap) for b in made.bags(NAME).values())
        for broken in ("posix_fallocate", "open"):
            shutil.rmtree(made.path / "cache")
            with monkeypatch.context() as patch:
                patch.setattr(os, broken, full)
                found = Library.open(made.path).bags(NAME)
                assert {v: (b.ids, b.vectors.rows.tobytes()) for v, b in found.items()} == held


def test_parts_of_one_vector_an_item_are_written_as_before(library: Library) -> None:
    space = catalog.card("hashing").space
    (part,) = library.ledger.parts(space)
    schema = pq.read_schema(library.parts_folder(space) / part)
    assert schema.names == ["id", "view", "vector", "checksum"] and b"about" not in (schema.metadata or {})


def test_the_encoder_is_what_the_tests_take_it_for() -> None:
    red = embed_multi(catalog.load(NAME), [Content(text="red"), Content(image=drawing(3))], "item")
    np.testing.assert_allclose(red[0][0], word_row("red") / np.linalg.norm(colour_row(COLOURS["red"])), atol=1e-6)
    assert 1 <= len(red[1]) <= 64
