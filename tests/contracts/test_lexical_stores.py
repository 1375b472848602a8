"""The scan over postings answers as a Qdrant Edge index of the same sparse vectors does, with its own IDF."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import qdrant_edge as qe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmretrieval import lexical
from mmretrieval.errors import BadQuery
from mmretrieval.filters import Condition, Filter, matches
from mmretrieval.lexical import Terms
from mmretrieval.store import edge
from mmretrieval.store.lexical import LexicalStore
from mmretrieval.store.qdrant import encode, restrictions
from mmretrieval.types import Found, Selection
from tests.store.strategies import FILTERS, PAYLOADS

IDS = sorted(str(uuid.uuid5(uuid.NAMESPACE_URL, f"text {i}")) for i in range(12))
ABSENT = str(uuid.uuid5(uuid.NAMESPACE_URL, "a text that nobody stores"))
CORPUS = Path(__file__).parents[2] / "samples" / "evaluation"
# Scores are sums in float32 there, and in float64 here.
NEAR = 1e-5


class EdgeWords:
    """The same words in a Qdrant Edge shard: sparse vectors by Qdrant's BM25 with the modifier Idf."""

    def __init__(self, folder: Path, texts: dict[str, tuple[str, dict[str, Any]]]) -> None:
        folder.mkdir()
        words = qe.EdgeSparseVectorParams(modifier=qe.Modifier.Idf)
        self.shard = qe.EdgeShard.create(str(folder), qe.EdgeConfig(sparse_vectors={"text": words}))
        model = lexical._model()
        points = [qe.Point(i, {"text": model.embed_document(t)}, encode(p)) for i, (t, p) in texts.items()]
        for start in range(0, len(points), 256):
            self.shard.update(qe.UpdateOperation.upsert_points(points[start : start + 256]))

    def search(self, query: Terms, limit: int, selection: Selection, select: Callable[..., Any]) -> Found:
        (tree,) = restrictions([selection], select)
        asked = qe.QueryRequest(
            limit=limit,
            query=qe.Query.Nearest(qe.SparseVector(query.terms.tolist(), query.shares.tolist()), using="text"),
            filter=None if tree is None else edge._filter(tree),
        )
        answer = self.shard.query_batch(qe.QueryBatchRequest([asked]))[0] if len(query) else []
        return Found.ordered([str(p.id) for p in answer], [p.score for p in answer])


@contextmanager
def both(texts: dict[str, tuple[str, dict[str, Any]]]) -> Iterator[tuple[LexicalStore, EdgeWords, Callable[..., Any]]]:
    def select(value: Filter) -> frozenset[str]:
        return frozenset(i for i, (_, payload) in texts.items() if matches(value, payload))

    ids = sorted(i for i, (text, _) in texts.items() if text.strip())
    scan = LexicalStore(ids, lexical.read(texts[i][0] for i in ids), select)
    with TemporaryDirectory() as folder:
        index = EdgeWords(Path(folder) / "0", texts)
        yield scan, index, select
        index.shard.close()


def asked(parts: Sequence[tuple[str, float]]) -> Terms:
    return lexical.composed([lexical.terms_of(text) for text, _ in parts], [weight for _, weight in parts])


def same(ours: Found, theirs: Found) -> None:
    """The same items with the same scores, in the same order but where scores are the same to float32."""
    found = dict(zip(theirs.ids, theirs.scores.tolist(), strict=True))
    assert set(ours.ids) == set(found)
    np.testing.assert_allclose(ours.scores, [found[i] for i in ours.ids], rtol=NEAR, atol=NEAR)
    in_our_order = np.array([found[i] for i in ours.ids])
    assert (np.diff(in_our_order) <= NEAR * np.maximum(1, np.abs(in_our_order[1:]))).all()


WORDS = st.sampled_from(["fox", "foxes", "red", "Red", "whale", "the", "of", "2017-09-14", "é", "bridge", "sea", "A7"])
TEXTS = st.lists(WORDS, max_size=8).map(" ".join)
SOME_IDS = st.frozensets(st.sampled_from([*IDS, ABSENT]), max_size=8)
SELECTIONS = st.builds(Selection, st.none() | FILTERS, SOME_IDS, st.none() | SOME_IDS)
LIBRARIES = st.dictionaries(st.sampled_from(IDS), st.tuples(TEXTS, PAYLOADS), max_size=12)
# At least one word that is no stop word, so that there is something to ask.
QUERIES = st.tuples(st.sampled_from(["fox", "red whale", "the sea", "A7 bridge é"]), TEXTS).map(" ".join)
STEADY = settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])


@STEADY
@given(LIBRARIES, st.lists(st.tuples(QUERIES, SELECTIONS), min_size=1, max_size=12))
def test_the_scan_finds_what_an_edge_index_finds(
    texts: dict[str, tuple[str, dict[str, Any]]], queries: list[tuple[str, Selection]]
) -> None:
    with both(texts) as (scan, index, select):
        for text, selection in queries:
            query = asked([(text, 1.0)])
            (ours,) = scan.search("text", [query], 20, [selection])
            same(ours, index.search(query, 20, selection, select))


@STEADY
@given(LIBRARIES, QUERIES, QUERIES, st.sampled_from([-0.3, -1.0, -2.0, 0.7]))
def test_weighted_parts_score_alike(
    texts: dict[str, tuple[str, dict[str, Any]]], first: str, second: str, weight: float
) -> None:
    """Qdrant gives what has only words that push away, too, and leaves out what scores 0: neither is compared."""
    with both(texts) as (scan, index, select):
        try:
            query = asked([(first, 1.0), (second, weight)])
        except BadQuery:
            return  # all that pulls is taken away again
        (ours,) = scan.search("text", [query], 20, [Selection()])
        theirs = index.search(query, 20, Selection(), select)
        pulling = set(query.terms[query.shares > 0].tolist())
        kept = [n for n, i in enumerate(theirs.ids) if pulling & set(scan.terms(i).tolist())]
        found = [n for n, score in enumerate(ours.scores) if abs(score) > NEAR]
        same(
            Found(tuple(ours.ids[n] for n in found), ours.scores[found]),
            Found(
                tuple(theirs.ids[n] for n in kept if abs(theirs.scores[n]) > NEAR),
                np.array([theirs.scores[n] for n in kept if abs(theirs.scores[n]) > NEAR]),
            ),
        )


@pytest.mark.parametrize("narrowed", [None, Condition("kind", "eq", "image")], ids=["all", "filtered"])
def test_captions_of_the_samples_rank_alike_to_any_depth(narrowed: Filter | None) -> None:
    """Real captions and queries: the same ids in the same order, cut at 10 and at 200."""
    entries = [json.loads(line) for line in (CORPUS / "corpus.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = {
        str(uuid.uuid5(uuid.NAMESPACE_URL, e["id"])): (e.get("text", ""), {"kind": e.get("kind")}) for e in entries
    }
    lines = (CORPUS / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    said = [p["text"] for line in lines for p in json.loads(line)["parts"] if "text" in p]
    asking = [asked([(text, 1.0)]) for text in said if len(lexical.terms_of(text))]
    assert len(asking) > 200
    selection, found = Selection(narrowed), 0
    with both(texts) as (scan, index, select):
        for depth in (10, 200):
            answers = scan.search("text", asking, depth, [selection] * len(asking))
            for query, ours in zip(asking, answers, strict=True):
                whole = index.search(query, len(texts), selection, select)
                assert ours.ids == whole.ids[:depth]
                np.testing.assert_allclose(ours.scores, whole.scores[:depth], rtol=NEAR, atol=NEAR)
                found += len(ours)
    assert found > 1000


def test_a_filter_changes_no_score() -> None:
    """IDF counts the texts of the library, not those that pass: a score means the same under every filter."""
    texts = {
        i: (t, {"page": n}) for n, (i, t) in enumerate(zip(IDS, ["red fox", "red", "red sea", "fox"], strict=False))
    }
    only = Selection(Condition("page", "lte", 1))
    with both(texts) as (scan, index, select):
        query = asked([("red fox", 1.0)])
        whole, some = scan.search("text", [query, query], 20, [Selection(), only])
        scores = dict(zip(whole.ids, whole.scores, strict=True))
        assert [scores[i] for i in some.ids] == some.scores.tolist() and len(some) == 2
        same(some, index.search(query, 20, only, select))


def test_why_the_scan_and_no_index_answers() -> None:
    """In a shard, a deleted text goes on counting: the same library would score by its history."""
    texts: dict[str, tuple[str, dict[str, Any]]] = {
        i: (t, {}) for i, t in zip(IDS, ["red fox", "red", "blue sea", "sea"], strict=False)
    }
    query = asked([("red fox", 1.0)])
    left = {i: texts[i] for i in IDS[:2]}
    with both(texts) as (_, index, select), both(left) as (scan, fresh, _):
        index.shard.update(qe.UpdateOperation.delete_points(IDS[2:4]))
        (ours,) = scan.search("text", [query], 9, [Selection()])
        same(ours, fresh.search(query, 9, Selection(), select))
        kept = index.search(query, 9, Selection(), select)
        assert kept.ids == ours.ids and not np.allclose(kept.scores, ours.scores, rtol=0.05)
