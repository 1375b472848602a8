"""Filters as values: what they mean, their JSON form, and what is refused."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings

from mmretrieval.errors import BadFilter
from mmretrieval.filters import AllOf, AnyOf, Condition, Filter, Not, filter_to_json, matches, parse_filter
from mmretrieval.store.sql import where
from tests.store.strategies import FILTERS, PAYLOADS

IMAGE = {
    "path": ["/data/Trip [1]/cats/one.jpg", "/copies/one (2).jpg"],
    "duration": 7.5,
    "has_text": True,
    "kind": "image",
    "page": 3,
    "meta": {
        "year": 1999,
        "tags": ["cat", "dog", None, 7],
        "free": True,
        "gone": None,
        "taken": "2020-05-03 16:30:05+02:00",
    },
}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"kind": "image"}, True),
        ({"kind": "Image"}, False),
        ({"kind": ["video", "image"]}, True),
        ({"kind": []}, False),
        ({"page": 3.0}, True),
        ({"page": "3"}, False),
        ({"page": {"gte": 3, "lt": 4}}, True),
        ({"page": {"gt": 3}}, False),
        ({"meta.year": {"lte": 1999}}, True),
        ({"meta.tags": "dog"}, True),
        ({"meta.tags": {"gt": 6}}, True),
        ({"meta.tags": "mouse"}, False),
        ({"meta.free": True}, True),
        ({"meta.free": 1}, False),
        ({"meta.free": {"gte": 1}}, False),
        ({"meta.gone": {"exists": False}}, True),
        ({"meta.tags": {"exists": True}}, True),
        ({"meta.absent": {"exists": True}}, False),
        ({"meta.absent": {"lt": 5}}, False),
        ({"not": {"meta.absent": {"lt": 5}}}, True),
        ({"kind.image": "x"}, False),
        ({"any": [{"kind": "video"}, {"page": 3}]}, True),
        ({"any": []}, False),
        ({"all": []}, True),
        ({"all": [{"kind": "image"}, {"not": {"page": 3}}]}, False),
        ({"kind": "image", "page": 4}, False),
        ({"not": {}}, False),
        ({"path": {"glob": "/data/*.jpg"}}, True),
        ({"path": {"glob": "cats/*.jpg"}}, True),
        ({"path": {"glob": "ats/*.jpg"}}, False),
        ({"path": {"glob": "one.jp?"}}, True),
        ({"path": {"glob": "one.jp"}}, False),
        ({"path": {"glob": "*/CATS/*"}}, False),
        ({"path": {"glob": "Trip [1]/*"}}, True),
        ({"path": {"glob": "Trip [0-9]/*"}}, False),
        ({"path": {"glob": "/cats/*"}}, False),
        ({"path": "/copies/one (2).jpg"}, True),
        ({"path": "one (2).jpg"}, False),
        ({"path": {"exists": True}}, True),
        ({"meta.tags": {"glob": "d*"}}, True),
        ({"meta.tags": {"glob": "og"}}, False),
        ({"meta.year": {"glob": "*"}}, False),
        ({"duration": {"gt": 7, "lte": 7.5}}, True),
        ({"has_text": True}, True),
        ({"has_text": False}, False),
        ({"meta.taken": {"gte": "2020"}}, True),
        ({"meta.taken": {"lte": "2020"}}, True),
        ({"meta.taken": {"gt": "2020"}}, False),
        ({"meta.taken": {"lt": "2020-06"}}, True),
        ({"meta.taken": {"gte": "2020-05-04"}}, False),
        ({"meta.taken": {"gt": "2020-05-03T16:30"}}, False),
        ({"meta.taken": {"gt": "2020-05-03T16:30:04Z"}}, True),
        ({"meta.taken": {"gte": 2020}}, False),
        ({"meta.year": {"gte": "1999"}}, False),
        ({"kind": {"gte": "1999"}}, False),
    ],
)
def test_what_a_filter_means(data: dict[str, Any], expected: bool) -> None:
    value = parse_filter(data)
    assert value is not None and matches(value, IMAGE) is expected


def test_an_empty_object_is_no_filter() -> None:
    assert parse_filter({}) is None and parse_filter(None) is None


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"kind": {"like": "x"}}, "'like' is unknown"),
        ({"kind": None}, "None"),
        ({"kind": {"lt": "x"}}, "'x'"),
        ({"page": {"gt": True}}, "True"),
        ({"page": {"exists": 1}}, "exists"),
        ({"page": {"in": 3}}, "3"),
        ({"kind": [["image"]]}, "image"),
        ({"meta.taken": {"gt": "2020-13"}}, "'2020-13': give a number, or a date such as"),
        ({"meta.taken": {"gt": "2020-05-03 at noon"}}, "give a number, or a date"),
        ({"path": {"glob": 3}}, "glob cannot be compared with 3"),
        ({"path": {"glob": "*" * 1001}}, "glob"),
        ({"any": {"kind": "image"}}, "'any' takes a list"),
        ({'x" OR 1=1 --': 1}, "not a payload key"),
        ({"meta..a": 1}, "not a payload key"),
        ({"": 1}, "not a payload key"),
        (["kind"], "a JSON object"),
    ],
)
def test_what_is_refused_names_the_value(data: Any, said: str) -> None:
    with pytest.raises(BadFilter) as caught:
        parse_filter(data)
    assert said in str(caught.value)


@settings(deadline=None)
@given(FILTERS, PAYLOADS)
def test_the_json_form_reads_back(value: Filter, payload: dict[str, Any]) -> None:
    text = json.dumps(filter_to_json(value))
    back = parse_filter(json.loads(text))
    # By its text, for NaN is not equal to itself.
    assert back is not None and json.dumps(filter_to_json(back)) == text
    assert matches(back, payload) == matches(value, payload)


@settings(deadline=None, max_examples=400)
@given(FILTERS, PAYLOADS)
def test_sqlite_agrees(value: Filter, payload: dict[str, Any]) -> None:
    sql, parameters = where(value)
    text = json.dumps(payload, ensure_ascii=False)
    with closing(sqlite3.connect(":memory:")) as ledger:
        ((answer,),) = ledger.execute(f"SELECT {sql} FROM (SELECT ? AS payload)", [*parameters, text]).fetchall()
    assert answer in (0, 1), f"{value} is NULL for {text}"
    assert bool(answer) == matches(value, payload), f"{value} is answered wrongly for {text}"


def test_a_long_filter_is_not_too_deep_for_sqlite() -> None:
    many = AnyOf(tuple(Condition("page", "eq", n) for n in range(5000)))
    among = Condition("page", "in", tuple(range(100_000)))
    with closing(sqlite3.connect(":memory:")) as ledger:
        for value, page in ((many, 4999), (among, 99_999), (AllOf((Not(many), among)), 5000)):
            sql, parameters = where(value)
            answers = ledger.execute(
                f"SELECT {sql} FROM (SELECT ? AS payload UNION ALL SELECT ?)",
                [*parameters, json.dumps({"page": page}), json.dumps({"page": -1})],
            ).fetchall()
            assert answers == [(1,), (0,)]
