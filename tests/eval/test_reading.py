"""A dataset's folder: what is read, and that every breach is named by file, line, value and way out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from eval.checking import inspect
from eval.dataset import Asked, AskedPart
from eval.reading import load
from mmretrieval.errors import DatasetError
from mmretrieval.filters import Condition

RED = {"id": "red", "path": "assets/red.png", "text": "a red square"}
ASK = {"id": "q", "parts": [{"text": "red"}]}
JUDGED = [("q", "red", 1)]


def test_a_good_dataset_is_read_whole(write: Any) -> None:
    folder = write(bank=[{"id": "b1", "parts": [{"text": "a photo"}]}])
    found = inspect(folder)
    assert not found.problems
    assert not found.warnings
    data = load(folder)
    assert (data.name, data.licence, data.main_metric) == ("tiny", "CC0", "hit@10")
    assert [e.id for e in data.corpus] == ["red", "green", "blue", "white", "passage"]
    assert data.corpus[0].path == folder / "assets" / "red.png"
    assert data.corpus[4].path is None
    assert data.queries[2] == Asked(
        "c1",
        (AskedPart(image=folder / "assets" / "red.png"), AskedPart(text="a green square", weight=1.5)),
        frozenset({"red"}),
    )
    assert [q.form for q in data.queries] == ["text", "text", "composed"]
    assert data.qrels == {"t1": {"red": 2, "white": 0}, "t2": {"blue": 1}, "c1": {"green": 1}}
    assert data.relevant("t1") == {"red"}
    assert data.bank[0].parts == (AskedPart("a photo"),)


def test_counts(write: Any) -> None:
    found = inspect(write())
    counts = found.dataset.counts(found.kinds)
    assert counts == {
        "corpus": 5,
        "corpus_by_kind": {"image": 4, "text": 1},
        "queries": 3,
        "queries_by_form": {"text": 2, "composed": 1},
        "queries_judged": 3,
        "judgements": 4,
        "relevant_per_query": {"min": 1, "mean": 1.0, "max": 1},
        "bank": 0,
    }


def test_a_path_may_lead_out_of_the_folder_and_is_one_however_it_is_written(write: Any) -> None:
    folder = write([RED, {"id": "again", "path": "../tiny/assets/./red.png", "text": "a red square"}], [ASK], JUDGED)
    data = load(folder)
    assert data.corpus[0].path == data.corpus[1].path


def test_filter_subset_and_windows_line_ends(write: Any) -> None:
    folder = write([RED], [ASK | {"filter": {"kind": "image"}, "subset": ["red"]}], JUDGED)
    for name in ("corpus.jsonl", "queries.jsonl", "qrels.tsv"):
        data = (folder / name).read_bytes().replace(b"\n", b"\r\n")
        (folder / name).write_bytes(b"\xef\xbb\xbf" + data)
    query = load(folder).queries[0]
    assert query.filter == Condition("kind", "eq", "image")
    assert query.subset == {"red"}


CORPUS_BREACHES: list[tuple[Any, str]] = [
    ("{not json", "is not JSON"),
    ('["a list"]', "is not a JSON object"),
    ('{"id": "x", "text": "t", "meta": {"n": NaN}}', "NaN is no JSON number"),
    ({"path": "assets/red.png"}, "the id is None"),
    ({"id": 7, "text": "t"}, "the id is 7: it must be text in quotes"),
    ({"id": "a b", "text": "t"}, "white space"),
    ({"id": "red", "text": "t"}, "'red' stands in line 1 already"),
    ({"id": "x"}, "'x' has neither path nor text"),
    ({"id": "x", "text": "   "}, "neither path nor text"),
    ({"id": "x", "text": 3}, "text of 'x' is 3"),
    ({"id": "x", "path": "assets/none.png"}, "no such file"),
    ({"id": "x", "path": "/etc/hostname"}, "must be relative"),
    ({"id": "x", "path": "assets"}, "no such file"),
    ({"id": "x", "text": "t", "kind": "audio"}, "use one of image, video, document, text"),
    ({"id": "x", "text": "t", "meta": [1]}, "must be an object"),
    ({"id": "x", "txt": "t"}, "did you mean 'text'?"),
    ({"id": "x", "path": "assets/red.png", "text": "other words"}, "also the file of 'red'"),
]


@pytest.mark.parametrize(("record", "said"), CORPUS_BREACHES)
def test_a_breach_in_the_corpus_is_named(write: Any, record: Any, said: str) -> None:
    folder = write([RED, record], [ASK], JUDGED)
    problems = inspect(folder).problems
    assert [(p.file, p.line) for p in problems] == [("corpus.jsonl", 2)]
    assert said in problems[0].message
    with pytest.raises(DatasetError, match=r"corpus\.jsonl:2: "):
        load(folder)


QUERY_BREACHES: list[tuple[Any, str]] = [
    ({"id": "x"}, "has no parts"),
    ({"id": "x", "parts": []}, "has no parts"),
    ({"id": "x", "parts": ["red"]}, "must be an object with text or image"),
    ({"id": "x", "parts": [{}]}, "neither text nor image"),
    ({"id": "x", "parts": [{"text": "a", "image": "assets/red.png"}]}, "both text and image"),
    ({"id": "x", "parts": [{"text": " "}]}, "write what is looked for"),
    ({"id": "x", "parts": [{"image": "assets/none.png"}]}, "no such file"),
    ({"id": "x", "parts": [{"text": "a", "weight": "1"}]}, "the weight '1'"),
    ({"id": "x", "parts": [{"text": "a", "weight": True}]}, "the weight True"),
    ('{"id": "x", "parts": [{"text": "a", "weight": 1e999}]}', "the weight inf"),
    ('{"id": "x", "parts": [{"text": "a", "weight": NaN}]}', "NaN is no JSON number"),
    ({"id": "x", "parts": [{"text": "a", "weight": 0}]}, "weight 0"),
    ({"id": "x", "parts": [{"text": "a", "instruction": " "}]}, "the instruction ' '"),
    ({"id": "x", "parts": [{"text": "a", "instruction": 3}]}, "the instruction 3"),
    ({"id": "q", "parts": [{"text": "a"}]}, "stands in line 1 already"),
    ({"id": "x", "parts": [{"text": "a"}], "exclude": ["rad"]}, "did you mean 'red'?"),
    ({"id": "x", "parts": [{"text": "a"}], "subset": ["nothing"]}, "'nothing', which is not in corpus.jsonl"),
    ({"id": "x", "parts": [{"text": "a"}], "subset": []}, "is empty"),
    ({"id": "x", "parts": [{"text": "a"}], "exclude": "red"}, "must be a list of corpus ids"),
    ({"id": "x", "parts": [{"text": "a"}], "filter": {"kind": {"like": "i"}}}, "filter operation 'like' is unknown"),
    ({"id": "x", "parts": [{"text": "a"}], "excludes": []}, "did you mean 'exclude'?"),
]


@pytest.mark.parametrize(("record", "said"), QUERY_BREACHES)
@pytest.mark.parametrize("name", ["queries.jsonl", "bank.jsonl"])
def test_a_breach_in_queries_or_bank_is_named(write: Any, name: str, record: Any, said: str) -> None:
    both = [ASK, record]
    folder = write([RED], both if name == "queries.jsonl" else [ASK], JUDGED, both if name == "bank.jsonl" else None)
    problems = inspect(folder).problems
    assert [(p.file, p.line) for p in problems] == [(name, 2)]
    assert said in problems[0].message


QREL_BREACHES = [
    ("q\tred", "has 2 columns"),
    ("q red 1", "has 1 columns"),
    ("p\tred\t1", "query 'p' is not in queries.jsonl"),
    ("q\trad\t1", "did you mean 'red'?"),
    ("q\tred\t1.0", "the grade '1.0' is not a whole number"),
    ("q\tred\t-1", "the grade '-1' is not a whole number"),
    ("q\tred\t²", "the grade '²' is not a whole number"),
    ("q\tred\t", "the grade '' is not a whole number"),
]


@pytest.mark.parametrize(("line", "said"), QREL_BREACHES)
def test_a_breach_in_the_judgements_is_named(write: Any, line: str, said: str) -> None:
    folder = write([RED], [ASK], f"query-id\tcorpus-id\tscore\n{line}\n")
    problems = inspect(folder).problems
    assert [(p.file, p.line) for p in problems] == [("qrels.tsv", 2)]
    assert said in problems[0].message


def test_a_pair_judged_twice_and_a_wrong_header_are_problems(write: Any) -> None:
    twice = inspect(write([RED], [ASK], [("q", "red", 1), ("q", "red", 2)])).problems
    assert [p.line for p in twice] == [3]
    assert "judged twice" in twice[0].message
    headless = inspect(write([RED], [ASK], "q\tred\t1\n")).problems
    assert [p.line for p in headless] == [1]
    assert "query-id<tab>corpus-id<tab>score" in headless[0].message
    assert "is empty" in inspect(write([RED], [ASK], "")).problems[0].message


def test_one_fault_is_not_reported_as_many(write: Any) -> None:
    folder = write([RED, {"id": "x", "path": "assets/none.png"}], [ASK | {"exclude": ["x"]}], [("q", "x", 1)])
    assert len(inspect(folder).problems) == 1


def test_all_problems_are_listed_and_the_error_counts_them(write: Any) -> None:
    folder = write([RED, "{", {"id": "x"}], [ASK, {"id": "y"}], [("q", "red", "high")])
    found = inspect(folder).problems
    assert [(p.file, p.line) for p in found] == [
        ("corpus.jsonl", 2),
        ("corpus.jsonl", 3),
        ("queries.jsonl", 2),
        ("qrels.tsv", 2),
    ]
    with pytest.raises(DatasetError, match="and 3 more"):
        load(folder)


@pytest.mark.parametrize("name", ["dataset.toml", "corpus.jsonl", "queries.jsonl", "qrels.tsv"])
def test_a_missing_file_is_named(write: Any, name: str) -> None:
    folder = write()
    (folder / name).unlink()
    assert (name, 0) in [(p.file, p.line) for p in inspect(folder).problems]
    with pytest.raises(DatasetError, match="is missing"):
        load(folder)


def test_the_head_says_what_it_lacks(write: Any) -> None:
    toml = 'name = "tiny"\nlicence = ""\nsource = 3\ntask = "t"\nmain_metric = "hits@10"\n'
    said = [p.message for p in inspect(write(toml=toml)).problems]
    assert len(said) == 3
    assert any(m.startswith("licence is ''") for m in said)
    assert any(m.startswith("source is 3") for m in said)
    assert any("'hits@10' is no metric" in m for m in said)
    assert "is not TOML" in inspect(write(toml="name = ")).problems[0].message


def test_bytes_that_are_no_utf8_and_no_folder(write: Any, tmp_path: Path) -> None:
    folder = write([RED], [ASK], JUDGED)
    (folder / "corpus.jsonl").write_bytes((folder / "corpus.jsonl").read_bytes() + b'{"id": "\xff"}\n')
    assert [(p.line, "is not UTF-8" in p.message) for p in inspect(folder).problems] == [(2, True)]
    with pytest.raises(DatasetError, match="is no folder"):
        load(tmp_path / "nowhere")


def test_files_are_not_looked_for_where_they_are_not_needed(write: Any) -> None:
    folder = write()
    (folder / "assets" / "red.png").unlink()
    assert load(folder, files=False).corpus[0].id == "red"
    assert len(inspect(folder).problems) == 2  # the entry, and the query that shows it


def test_what_is_allowed_but_hardly_meant_is_a_warning(write: Any) -> None:
    corpus = [
        RED,
        {"id": "green", "path": "assets/green.png"},
        {"id": "twin", "path": "assets/copy.png", "text": "words"},
        {"id": "one", "text": "same"},
        {"id": "two", "text": "same"},
    ]
    queries = [
        ASK,
        {"id": "none", "parts": [{"text": "x"}]},
        {"id": "own", "parts": [{"text": "x"}], "exclude": ["red"]},
    ]
    folder = write([RED], [ASK], JUDGED)
    (folder / "assets" / "copy.png").write_bytes((folder / "assets" / "red.png").read_bytes())
    folder = write(corpus, queries, [*JUDGED, ("none", "red", 0), ("own", "red", 1), ("own", "green", 1)])
    found = inspect(folder)
    assert not found.problems
    assert [(w.file, w.line) for w in found.warnings] == [
        ("corpus.jsonl", 3),
        ("corpus.jsonl", 5),
        ("queries.jsonl", 2),
        ("queries.jsonl", 3),
    ]
    said = [w.message for w in found.warnings]
    assert "same bytes as 'red'" in said[0]
    assert "by the words of both" in said[0]
    assert "words of both" not in said[1]
    assert "no relevant entry" in said[2]
    assert "can never find 'red'" in said[3]


def test_parts_of_one_modality() -> None:
    image, words, avoid = AskedPart(image=Path("a.png")), AskedPart("red"), AskedPart("blue", weight=-0.5)
    composed = Asked("c", (image, words, avoid), frozenset({"x"}))
    assert composed.form == "composed"
    text = composed.only("text")
    assert text is not None
    assert text.parts == (words, avoid)
    assert text.exclude == composed.exclude
    assert composed.only("all") is composed
    assert Asked("t", (words,)).only("image") is None
    assert Asked("i", (image,)).form == "image"
    assert math.isclose(avoid.weight, -0.5)
