"""Endpoints for judging, blind choices, the map and reasons, over HTTP: what they give, keep, and refuse."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from eval.reading import load
from mmretrieval.library import Library
from page.compare import blind, judging
from page.query.asking import Asked
from page.state import Page
from tests.page.conftest import draw
from tests.page.serving import served

LOOKING = {"judgements", "blind_standing", "map", "why"}
CHANGING: dict[str, dict[str, Any]] = {
    "judge": {"answer": "ITEM", "grade": 2, "words": "red car"},
    "export": {},
    "blind_choice": {
        "left": "hashing@text", "right": "hashing@visual", "choice": "left", "run": "r", "words": "red car",
    },
}  # fmt: skip
RECIPES = ("hashing@text,sum", "hashing@visual,sum")


def found(client: Client, words: str, k: int = 3) -> list[dict[str, Any]]:
    hits: list[dict[str, Any]] = client.predict(words=words, recipe="hashing@text", k=k, api_name="/search")["hits"]
    return hits


def test_they_are_listed_with_types_and_say_what_they_do(address: str) -> None:
    named = httpx.get(f"{address}gradio_api/info").json()["named_endpoints"]
    for name in LOOKING | set(CHANGING):
        said = named[f"/{name}"]
        assert len(said["description"]) > 40, name
        for parameter in said["parameters"]:
            assert parameter["python_type"]["type"] not in ("", "Any"), (name, parameter["parameter_name"])


def test_a_grade_is_what_the_page_itself_keeps(client: Client, library: Path, tmp_path: Path) -> None:
    first, second, _ = [hit["id"] for hit in found(client, "red car")]
    assert client.predict(answer=first, grade=3, words="red car", avoid="brick", api_name="/judge") == {
        "item": first,
        "grade": 3,
    }
    client.predict(answer=second, grade=0, words="red car", avoid="brick", api_name="/judge")
    own = Page(Library.open(library), read_only=True)
    try:
        assert judging.grades(own, Asked.of("red car", avoid="brick")) == {first: 3, second: 0}
    finally:
        own.close()
    kept = {(held["item"], held["grade"]) for held in client.predict(api_name="/judgements")}
    assert kept == {(first, 3), (second, 0)}
    back = client.predict(answer=second, grade=None, words="red car", avoid="brick", api_name="/judge")
    assert back["grade"] is None
    (left,) = client.predict(api_name="/judgements")
    assert left["item"] == first and "“red car”" in left["query"] and left["id"].startswith("q-")
    draw(tmp_path / "p.png", (1, 2, 3))
    picture = base64.b64encode((tmp_path / "p.png").read_bytes()).decode()
    client.predict(answer=first, grade=1, picture=picture, api_name="/judge")
    assert len(client.predict(api_name="/judgements")) == 2


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"grade": 4}, "the grade is 4: give a whole number from 0 to 3"),
        ({"grade": 1.5}, r"the grade is 1\.5"),
        ({"grade": True}, "the grade is True"),
        ({"answer": "nobody"}, "no item 'nobody'"),
        ({"answer": 7}, "the item is 7"),
        ({"words": ""}, "nothing was asked yet"),
        ({"picture": "/etc/passwd"}, "not base64"),
        ({"kinds": ["door"]}, "none of them"),
    ],
)
def test_wrong_judgements_are_refused_in_words(client: Client, changed: dict[str, Any], says: str) -> None:
    given = {"answer": found(client, "red car")[0]["id"], "grade": 2, "words": "green"} | changed
    with pytest.raises(AppError, match=says) as refused:
        client.predict(**given, api_name="/judge")
    assert "fault of the page" not in str(refused.value)
    assert all("green" not in held["query"] for held in client.predict(api_name="/judgements"))


def test_blind_choices_are_kept_and_counted(client: Client) -> None:
    nothing = client.predict(first=RECIPES[0], second=RECIPES[1], api_name="/blind_standing")
    assert (nothing["win_rate"], nothing["low"], nothing["high"]) == (None, 0.0, 1.0)
    sides = {"left": RECIPES[1], "right": RECIPES[0], "run": "mine"}
    for words, choice in (("red car", "right"), ("blue boat", "right"), ("green frog", "left"), ("a bird", "tie")):
        made = client.predict(words=words, choice=choice, **sides, api_name="/blind_choice")
        assert (made["left"], made["right"], made["choice"], made["run"]) == (RECIPES[1], RECIPES[0], choice, "mine")
    standing = client.predict(first=RECIPES[0], second=RECIPES[1], api_name="/blind_standing")
    assert (standing["wins"], standing["losses"], standing["ties"]) == (2, 1, 1)
    assert (standing["low"], standing["high"]) == pytest.approx(blind.wilson(2, 3))
    for changed, says in (
        ({"choice": "both"}, "'both' is no choice|both"),
        ({"run": " "}, "run is empty"),
        ({"left": "lite"}, "no vectors of 'lite'"),
        ({"left": ""}, "recipe"),
        ({"words": ""}, "nothing was asked yet"),
    ):
        with pytest.raises((AppError, ValueError), match=says):
            client.predict(**({"words": "red", "choice": "left"} | sides | changed), api_name="/blind_choice")
    assert client.predict(first=RECIPES[0], second=RECIPES[1], api_name="/blind_standing") == standing


def test_judgements_become_a_dataset(client: Client, library: Path) -> None:
    client.predict(answer=found(client, "blue boat")[0]["id"], grade=3, words="blue boat", api_name="/judge")
    made = client.predict(copied=True, api_name="/export")
    folder = Path(made["folder"])
    assert folder.parent == library / "exports" and made["grades"] >= 1 and made["left_out"] == []
    read = load(folder)
    assert len(read.queries) == made["queries"] and len(read.corpus) == made["entries"]
    with pytest.raises(AppError, match="copied is 'yes': give true or false"):
        client.predict(copied="yes", api_name="/export")


def test_the_map_comes_in_pieces(client: Client) -> None:
    whole = client.predict(encoder="hashing", vectors="visual", api_name="/map")
    n = whole["n"]
    assert whole["state"] == "done" and n == len(whole["x"]) == len(whole["items"]) > 8 and len(whole["axes"]) == 2
    pieces = [client.predict(first=at, count=5, api_name="/map") for at in range(0, n, 5)]
    assert [x for piece in pieces for x in piece["x"]] == whole["x"]
    assert client.predict(first=n + 9, count=5, api_name="/map")["items"] == []
    for changed, says in (
        ({"count": 0}, "count is 0: give a whole number from 1 to 10000"),
        ({"first": -1}, "first is -1"),
        ({"vectors": "smell"}, "none of them"),
        ({"method": "tsne"}, "none of them"),
        ({"encoder": "lite"}, "no vectors of 'lite'"),
        ({"seed": -1}, "seed is -1"),
    ):
        with pytest.raises(AppError, match=says):
            client.predict(**changed, api_name="/map")


def test_why_gives_the_falls_of_places_and_words(client: Client) -> None:
    best = found(client, "green frog")[0]
    (words,) = client.predict(answer=best["id"], words="green frog", recipe="hashing@text", api_name="/why")["findings"]
    assert words["kind"] == "words" and "frog" in words["pieces"]
    top = max(range(len(words["falls"])), key=words["falls"].__getitem__)
    assert words["pieces"][top] in ("green", "frog") and words["score"] == pytest.approx(best["score"], abs=1e-5)
    parts = [{"value": "green frog"}, {"value": "red", "weight": -0.5}]
    (seen,) = client.predict(answer=best["id"], parts=parts, recipe="hashing@visual", api_name="/why")["findings"]
    assert seen["kind"] == "regions" and [len(row) for row in seen["falls"]] == [8] * 8 and len(seen["by_part"]) == 2
    for changed, says in (
        ({"answer": "nobody"}, "no item 'nobody'"),
        ({"recipe": "lite"}, "no vectors of 'lite'"),
        ({"words": ""}, "nothing to look for"),
    ):
        with pytest.raises(AppError, match=says):
            client.predict(**({"answer": best["id"], "words": "frog"} | changed), api_name="/why")


def test_a_read_only_page_keeps_nothing(library: Path, client: Client) -> None:
    item = found(client, "red car")[0]["id"]
    before = {p: p.read_bytes() for p in library.glob("judgements*") if p.is_file()}, sorted(library.rglob("exports/*"))
    with served(library, "--read-only") as address:
        visitor = Client(address, verbose=False, download_files=False)
        for name, data in CHANGING.items():
            given = {key: item if value == "ITEM" else value for key, value in data.items()}
            with pytest.raises(AppError, match="this page is read-only"):
                visitor.predict(**given, api_name=f"/{name}")
            assert "this page is read-only" in raw(address, name, given)
        assert isinstance(visitor.predict(api_name="/judgements"), list)
        assert visitor.predict(first=RECIPES[0], second=RECIPES[1], api_name="/blind_standing")["first"] == RECIPES[0]
        assert visitor.predict(count=1, api_name="/map")["state"] == "done"
    after = {p: p.read_bytes() for p in library.glob("judgements*") if p.is_file()}, sorted(library.rglob("exports/*"))
    assert before == after and before[0]


def raw(address: str, name: str, given: dict[str, Any]) -> str:
    """What an endpoint answers to plain HTTP, where no client checks anything before."""
    listed = httpx.get(f"{address}gradio_api/info").json()["named_endpoints"][f"/{name}"]["parameters"]
    data = [given.get(one["parameter_name"], one.get("parameter_default")) for one in listed]
    begun = httpx.post(f"{address}gradio_api/call/{name}", json={"data": data}).raise_for_status().json()
    told = httpx.get(f"{address}gradio_api/call/{name}/{begun['event_id']}", timeout=30).raise_for_status().text
    assert "event: error" in told, told
    return told
