"""From corpus to items and back: depth, shared bytes, several items an entry, other things in the library."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.judging import MARK, Shelf, asks, bank_of, library_folder, rank, shelve, source_path, sources
from eval.reading import load
from eval.runs import Ranked
from ingest.pipeline import ingest
from ingest.walk import Source
from mmretrieval import catalog
from mmretrieval.engine import Engine
from mmretrieval.errors import DatasetError, LibraryError
from mmretrieval.library import Library
from mmretrieval.types import Content, Part, Query, Role

PASSAGES = "\n\n".join(f"Paragraph {i} speaks of {w}. " + f"The {w} was seen again. " * 30 for i, w in enumerate(
    ("apples", "boats", "clouds", "dogs", "engines", "forests", "gardens", "harbours")))  # fmt: skip
QUERIES = [{"id": "q", "parts": [{"text": "boats in a harbour"}]}]


def ignore(_: int) -> None:
    pass


def ranked(folder: Path, library: Path, recipe: str, *, k: int = 10, own: bool = True) -> tuple[list[Ranked], Shelf]:
    data = load(folder)
    shelf, _ = shelve(data, library, ("hashing",), own=own, workers=1)
    with shelf.library:
        return rank(data, shelf, data.queries, recipe, k=k, on_done=ignore)[0], shelf


@pytest.fixture
def passages(write: Any) -> Iterator[Path]:
    """One long file of several passages, and three short texts."""
    corpus = [{"id": "long", "path": "assets/long.txt"}]
    corpus += [{"id": w, "text": f"Something about {w}."} for w in ("boats", "harbours", "winter")]
    (write() / "assets" / "long.txt").write_text(PASSAGES, encoding="utf-8")
    yield write(corpus, QUERIES, [("q", "boats", 1)])


def test_an_entry_scores_as_its_best_item(passages: Path, tmp_path: Path) -> None:
    result, shelf = ranked(passages, tmp_path / "library", "hashing@text")
    assert len(shelf.items["long"]) > 3
    with Library.open(tmp_path / "library") as library:
        query = Query((Part(Content(text="boats in a harbour")),))
        hits = Engine(library, exact=True).rank([query], "hashing@text", k=100).rankings[0].hits
    scores = {hit.id: hit.score for hit in hits}
    assert len(scores) == len(shelf.entries)
    best = {entry: max(scores[i] for i in items) for entry, items in shelf.items.items()}
    assert dict(zip(result[0].ids, result[0].scores, strict=True)) == best
    assert list(result[0].ids) == sorted(best, key=lambda e: -best[e])


def test_the_depth_is_enough_for_k_entries(passages: Path, tmp_path: Path) -> None:
    result, shelf = ranked(passages, tmp_path / "library", "hashing@text", k=2)
    assert shelf.depth_for(1) == 1
    assert shelf.depth_for(2) == len(shelf.items["long"]) + 1
    assert shelf.depth_for(100) == len(shelf.entries)
    assert len(result[0].ids) == 2


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8), st.integers(1, 10), st.randoms(use_true_random=False))
def test_any_order_cut_at_the_depth_holds_k_entries(sizes: list[int], k: int, rng: Any) -> None:
    items = {f"e{i}": tuple(f"i{i}-{j}" for j in range(n)) for i, n in enumerate(sizes)}
    entries = {item: (entry,) for entry, held in items.items() for item in held}
    shelf = Shelf(cast(Any, None), items, entries, {}, {}, False, "")
    order = list(entries)
    rng.shuffle(order)
    findable = sum(1 for n in sizes if n)
    assert len({entries[i][0] for i in order[: shelf.depth_for(k)]}) >= min(k, findable)


def test_same_bytes_are_found_under_every_id_and_excluded_one_by_one(write: Any, tmp_path: Path) -> None:
    corpus = [{"id": n, "text": "a boat"} for n in ("b2", "b1", "b3")] + [{"id": "winter", "text": "snow"}]
    queries = [
        {"id": "all", "parts": [{"text": "a boat"}]},
        {"id": "less", "parts": [{"text": "a boat"}], "exclude": ["b1", "b3"]},
        {"id": "none", "parts": [{"text": "a boat"}], "exclude": ["b1", "b2", "b3"]},
        {"id": "only", "parts": [{"text": "snow"}], "subset": ["b3"]},
    ]
    folder = write(corpus, queries, [("all", "b1", 1)])
    result, shelf = ranked(folder, tmp_path / "library", "hashing@text")
    assert [r.ids for r in result] == [("b1", "b2", "b3", "winter"), ("b2", "winter"), ("winter",), ("b3",)]
    assert len(set(shelf.items["b1"] + shelf.items["b2"] + shelf.items["b3"])) == 1
    assert result[0].scores[0] == result[0].scores[2]


def test_other_things_in_a_given_library_are_not_ranked(write: Any, tmp_path: Path) -> None:
    folder = write()
    alone, _ = ranked(folder, tmp_path / "own", "hashing@text")
    with Library.create(tmp_path / "shared", encoders=("hashing",)) as library:
        others = [Source(f"/other/{i}", data=f"a red square number {i}".encode()) for i in range(5)]
        ingest(library, others, workers=1)
    with pytest.raises(LibraryError, match="somebody's files"):
        shelve(load(write()), tmp_path / "shared", ("hashing",), own=False, workers=1)
    (tmp_path / "shared" / MARK).touch()
    shared, shelf = ranked(folder, tmp_path / "shared", "hashing@text", own=False)
    assert shelf.strangers
    assert shared == alone
    assert len(list(Library.open(tmp_path / "shared").items())) == 10


def test_its_own_library_follows_the_corpus(write: Any, tmp_path: Path) -> None:
    words = [{"id": n, "text": t} for n, t in (("a", "a boat"), ("b", "a lake"), ("c", "a hill"))]
    ranked(write(words, QUERIES, [("q", "a", 1)]), tmp_path / "library", "hashing@text")
    words = [{"id": n, "text": t} for n, t in (("a", "a ship"), ("b", "a lake"))]
    result, shelf = ranked(write(words, QUERIES, [("q", "a", 1)]), tmp_path / "library", "hashing@text")
    assert set(result[0].ids) == {"a", "b"}
    assert not shelf.strangers
    with Library.open(tmp_path / "library") as library:
        assert sorted(item.text for item in library.items()) == ["a lake", "a ship"]


def test_a_second_run_embeds_nothing_and_edited_words_only_words(write: Any, tmp_path: Path) -> None:
    data = load(write())
    first = shelve(data, tmp_path / "library", ("hashing",), own=True, workers=1)
    second = shelve(data, tmp_path / "library", ("hashing",), own=True, workers=1)
    assert (first[1].stored, first[1].unchanged) == (5, 0)
    assert (second[1].stored, second[1].unchanged, second[1].replaced) == (0, 5, 0)
    assert first[0].items == second[0].items
    assert first[0].content_hash == second[0].content_hash


def test_the_hash_sees_a_changed_picture(write: Any, tmp_path: Path) -> None:
    folder = write()
    before = shelve(load(folder), tmp_path / "library", ("hashing",), own=True, workers=1)[0]
    (folder / "assets" / "white.png").write_bytes((folder / "assets" / "blue.png").read_bytes())
    after = shelve(load(folder), tmp_path / "library", ("hashing",), own=True, workers=1)[0]
    assert before.content_hash != after.content_hash
    assert before.items["white"] != after.items["white"]


def test_filters_see_kind_and_meta_of_the_items(write: Any, tmp_path: Path) -> None:
    corpus = [{"id": n, "path": f"assets/{n}.png", "text": f"a {n} square", "meta": {"warm": n == "red"}} for n in
              ("red", "blue")]  # fmt: skip
    corpus.append({"id": "words", "text": "a red square"})
    queries = [
        {"id": "p", "parts": [{"text": "a red square"}], "filter": {"kind": "image"}},
        {"id": "w", "parts": [{"text": "a blue square"}], "filter": {"meta.warm": True}},
    ]
    folder = write(corpus, queries, [("p", "red", 1), ("w", "red", 1)])
    result, shelf = ranked(folder, tmp_path / "library", "hashing@text")
    assert [r.ids for r in result] == [("red", "blue"), ("red",)]
    data = load(folder)
    assert data.candidates(data.queries[0], shelf.payloads) == {"red", "blue"}
    assert data.candidates(data.queries[1], shelf.payloads) == {"red"}


def test_a_broken_file_leaves_the_others_and_a_broken_query_picture_is_an_error(write: Any, tmp_path: Path) -> None:
    folder = write()
    (folder / "assets" / "white.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    result, shelf = ranked(folder, tmp_path / "library", "hashing@text")
    assert set(shelf.unfindable) == {"white"}
    assert shelf.unfindable["white"]
    assert set(result[0].ids) == {"red", "green", "blue", "passage"}
    queries = [{"id": "c", "parts": [{"image": "assets/white.png"}]}, {"id": "t", "parts": [{"image": "assets/t.txt"}]}]
    (folder / "assets" / "t.txt").write_text("words", encoding="utf-8")
    for query in queries:
        folder = write(queries=[query], qrels=[(query["id"], "red", 1)])
        (folder / "assets" / "white.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
        with pytest.raises(DatasetError, match=rf"query '{query['id']}' shows .*, which cannot be read"):
            ranked(folder, tmp_path / "library", "hashing@visual")


def test_a_query_picture_is_read_as_an_item_is(write: Any, tmp_path: Path) -> None:
    queries = [{"id": n, "parts": [{"image": f"assets/{n}.png"}]} for n in ("red", "blue")]
    result, _ = ranked(write(queries=queries, qrels=[("red", "red", 1)]), tmp_path / "library", "hashing@visual")
    for found in result:
        assert found.ids[0] == found.query
        assert found.scores[0] == pytest.approx(1.0, abs=1e-6)
        assert "passage" not in found.ids  # it has no visual view


def test_weights_reach_the_engine(write: Any, tmp_path: Path) -> None:
    def asked(*weights: float) -> dict[str, float]:
        parts = [{"text": t, "weight": w} for t, w in zip(("a red square", "a blue square"), weights, strict=False)]
        folder = write(queries=[{"id": "q", "parts": parts}], qrels=[("q", "red", 1)])
        found = ranked(folder, tmp_path / "library", "hashing@text")[0][0]
        return dict(zip(found.ids, found.scores, strict=True))

    for_red = asked(1.0)
    assert asked(-0.5) == pytest.approx({entry: -score for entry, score in for_red.items()}, abs=1e-6)
    assert asked(1.0, 0.2)["red"] > asked(1.0, 1.0)["red"] > asked(0.2, 1.0)["red"]
    assert asked(1.0, -1.0)["blue"] < 0 < asked(-1.0, 1.0)["blue"]


def test_instructions_reach_the_encoder(write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [{"text": "a boat", "instruction": "Find a page:"}, {"image": "assets/red.png", "instruction": "Look:"}]
    queries = [{"id": "q", "parts": parts}, {"id": "p", "parts": [{"text": "a boat"}]}]
    folder = write(queries=queries, qrels=[("q", "red", 1)])
    encoder, told = catalog.load("hashing"), list[tuple[str, str | None]]()
    encode = encoder.encode

    def heard(contents: Sequence[Content], role: Role) -> Any:
        told.extend((role, c.instruction) for c in contents)
        return encode(contents, role)

    monkeypatch.setattr(encoder, "encode", heard)
    ranked(folder, tmp_path / "library", "hashing@text")
    assert {said for role, said in told if role == "query"} == {"Find a page:", "Look:", None}
    assert {said for role, said in told if role == "item"} == {None}


def test_sources_name_each_file_once(write: Any, tmp_path: Path) -> None:
    corpus = [{"id": n, "path": "assets/red.png", "text": "x"} for n in ("a", "b")] + [{"id": "c/d", "text": "words"}]
    folder = write(corpus, QUERIES, [("q", "a", 1)])
    data = load(folder)
    found = list(sources(data))
    assert [s.path for s in found] == [str(folder / "assets" / "red.png"), f"{folder}/corpus.jsonl#c/d"]
    assert [s.caption for s in found] == ["x", ""]
    assert found[1].data == b"words"
    assert source_path(data.corpus[0], data) == source_path(data.corpus[1], data)
    assert library_folder(data, tmp_path).parent == tmp_path / ".libraries"
    assert library_folder(data, tmp_path).name.startswith("tiny-")


def test_a_file_that_failed_is_tried_again_though_it_looks_unchanged(write: Any, tmp_path: Path) -> None:
    folder = write()
    path = folder / "assets" / "white.png"
    good = path.read_bytes()
    path.write_bytes(good[:8] + bytes(len(good) - 8))
    os.utime(path, (1e9, 1e9))
    assert set(ranked(folder, tmp_path / "library", "hashing@text")[1].unfindable) == {"white"}
    path.write_bytes(good)
    os.utime(path, (1e9, 1e9))
    assert not ranked(folder, tmp_path / "library", "hashing@text")[1].unfindable


def test_a_reference_query_that_asks_the_same_in_another_spelling_is_refused(write: Any, tmp_path: Path) -> None:
    """Encoders read most of these alike, so what is fitted on them would know the queries."""
    for parts in (
        [{"text": "A  red square "}],
        [{"text": "a red square", "weight": 2.0}],
        [{"text": "a green square"}, {"image": "assets/copy.png"}],
    ):
        folder = write(bank=[{"id": "b", "parts": parts}])
        (folder / "assets" / "copy.png").write_bytes((folder / "assets" / "red.png").read_bytes())
        data = load(folder)
        shelf, _ = shelve(data, tmp_path / "library", ("hashing",), own=True, workers=1)
        with shelf.library, pytest.raises(DatasetError, match="reference query 'b' of bank.jsonl asks the same as"):
            bank_of(data, shelf, data.queries)
    away = load(write(bank=[{"id": "b", "parts": [{"text": "a red square", "weight": -1.0}, {"text": "a square"}]}]))
    assert asks(away.bank[0]) not in {asks(query) for query in away.queries}
