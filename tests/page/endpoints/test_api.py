"""The named endpoints, over HTTP, on a page that may change its library: parts, recipes, adding, trying again."""

from __future__ import annotations

import base64
import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from mmretrieval.recipe import SLOTS
from tests.page.conftest import draw

ENDPOINTS = {
    "search", "compare", "diagnose", "stages", "status", "failures", "duplicates", "near_duplicates", "add_folder",
    "add_file", "add_encoder", "retry", "stop", "remove", "fix", "judge", "judgements", "export", "blind_standing",
    "blind_choice", "map", "why",
}  # fmt: skip


def ended(client: Client) -> dict[str, Any]:
    """The last ingest, when it has ended."""
    tick, deadline = threading.Event(), time.monotonic() + 60
    while time.monotonic() < deadline:
        job: dict[str, Any] = client.predict(api_name="/status")["job"]
        if job["state"] != "running":
            return job
        tick.wait(0.1)
    raise AssertionError("it goes on and on")


def coded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def test_every_endpoint_has_types_and_says_what_it_does(address: str) -> None:
    named = httpx.get(f"{address}gradio_api/info").json()["named_endpoints"]
    assert set(named) >= {f"/{name}" for name in ENDPOINTS}
    for name in ENDPOINTS:
        said = named[f"/{name}"]
        assert len(said["description"]) > 40, name
        for parameter in said["parameters"]:
            assert parameter["python_type"]["type"] not in ("", "Any"), (name, parameter["parameter_name"])


def test_parts_are_what_the_simple_arguments_are(client: Client, tmp_path: Path) -> None:
    draw(tmp_path / "p.png", (201, 21, 20))
    simple = client.predict(
        words="red car", avoid="brick", recipe="hashing@text", k=8, avoid_weight=0.5, api_name="/search"
    )
    parts = [{"kind": "words", "value": "red car"}, {"value": "brick", "weight": -0.5}]
    same = client.predict(parts=parts, recipe="hashing@text", k=8, api_name="/search")
    as_text = client.predict(parts=json.dumps(parts), recipe="hashing@text", k=8, api_name="/search")
    assert simple["hits"] == same["hits"] == as_text["hits"]
    picture = {"kind": "picture", "value": coded(tmp_path / "p.png")}
    seen = client.predict(parts=[picture], recipe="hashing@visual", k=2, api_name="/search")
    assert seen["hits"][0]["text"] == "a red apple on a table"
    region = picture | {"fragment": "xywh=percent:0,0,50,50"}
    assert client.predict(parts=[region], recipe="hashing@visual", k=2, api_name="/search")["hits"]


def test_items_as_parts_liked_and_disliked(client: Client) -> None:
    found = client.predict(words="red", recipe="hashing@text", k=3, api_name="/search")["hits"]
    liked = {"kind": "item", "value": found[0]["id"], "feedback": True}
    answer = client.predict(
        words="red", parts=[liked], recipe="hashing@text,rocchio", k=11, api_name="/search", explain=True
    )
    assert found[0]["id"] not in [hit["id"] for hit in answer["hits"]]
    assert all(hit["contributions"] for hit in answer["hits"])
    among = [hit["id"] for hit in found[1:]]
    few = client.predict(words="red", within=among, recipe="hashing@text", k=10, api_name="/search")
    assert sorted(hit["id"] for hit in few["hits"]) == sorted(among)


def test_contributions_add_up_to_the_score(client: Client) -> None:
    answer = client.predict(
        words="red car", avoid="brick", recipe="hashing@text", k=5, explain=True, api_name="/search"
    )
    for hit in answer["hits"]:
        (only,) = hit["contributions"]
        assert only["additive"] and sum(only["values"]) == pytest.approx(hit["score"], abs=1e-6)
    plain = client.predict(words="red car", recipe="hashing@text", k=1, api_name="/search")["hits"][0]
    assert "contributions" not in plain and "chance" not in plain


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ("[{", "not JSON"),
        ("7", "no list of objects"),
        ({"kind": "words"}, "no list of objects"),
        (["red"], "no list of objects"),
        ([{"kind": "file", "value": "/etc/passwd"}], "none of them, there are words, picture, item"),
        ([{"kind": "picture", "value": "/etc/passwd"}], "not base64"),
        ([{"kind": "picture", "value": base64.b64encode(b"no picture").decode()}], "not a picture"),
        ([{"value": " "}], "has no value"),
        ([{"value": 7}], "value of part 1 is 7"),
        ([{"value": "red"}, {"value": "x", "weight": 3}], "weight of part 2 is 3: give a number from -2 to 2"),
        ([{"value": "red", "path": "/etc/passwd"}], "'path', which no part has"),
        ([{"value": "red", "feedback": 1}], "give true or false"),
        ([{"kind": "item", "value": "nobody"}], "no item 'nobody'"),
        ([{"value": "red"}] * 65, "65 parts, at most 64"),
    ],
)
def test_wrong_parts_are_refused_in_words(client: Client, parts: Any, says: str) -> None:
    with pytest.raises(AppError, match=says) as refused:
        client.predict(parts=parts, recipe="hashing@all", api_name="/search")
    assert "fault of the page" not in str(refused.value) and "Traceback" not in str(refused.value)


def test_three_recipes_in_step(client: Client) -> None:
    recipes = ["hashing@text", "hashing@visual", "hashing@text"]
    found = client.predict(words="red car", recipes=recipes, k=5, api_name="/compare")
    first, second, third = found["columns"]
    assert [column["recipe"] for column in found["columns"]] == [f"{name},sum" for name in recipes]
    assert first["ids"] == third["ids"] != second["ids"] and len(first["ids"]) == 5
    assert [(p["a"], p["b"]) for p in found["pairs"]] == [(0, 1), (0, 2), (1, 2)]
    assert found["pairs"][1]["overlap"] == 1.0 and found["pairs"][1]["rank_biased_overlap"] == pytest.approx(1)
    assert found["pairs"][0] | {"a": 1, "b": 2} == pytest.approx(found["pairs"][2])
    for wrong in (["hashing"], ["hashing"] * 5):
        with pytest.raises(AppError, match="give 2 to 4"):
            client.predict(words="red", recipes=wrong, api_name="/compare")
    with pytest.raises(AppError, match="no vectors of 'lite'"):
        client.predict(words="red", recipes=["hashing", "lite"], api_name="/compare")


def test_stages_are_described_with_their_arguments(client: Client) -> None:
    found = client.predict(api_name="/stages")
    assert {stage["name"] for stage in found["stages"]} == {name for _, table, _ in SLOTS for name in table}
    assert found["encoders"] == ["hashing"] and found["default_recipe"] == "hashing@all" and found["grammar"]
    (one,) = client.predict(name="rrf", api_name="/stages")["stages"]
    assert one["slot"] == "fuser" and one["arguments"][0]["default"] == 60
    with pytest.raises(AppError, match="did you mean|Did you mean"):
        client.predict(name="rff", api_name="/stages")


def test_a_file_is_sent_searched_and_taken_out(client: Client, library: Path, tmp_path: Path) -> None:
    draw(tmp_path / "lemon.png", (255, 250, 10))
    client.predict(name="../../<b>lemon.png", data=coded(tmp_path / "lemon.png"), api_name="/add_file")
    job = ended(client)
    assert (job["state"], job["stored"], job["share"], job["seconds_left"]) == ("done", 1, 1.0, None), job
    picture = coded(tmp_path / "lemon.png")
    found = client.predict(picture=picture, recipe="hashing@visual", k=3, api_name="/search")["hits"]
    assert "lemon" not in str(found), "what the query is made of is left out of its answer"
    held = [p for p in (library / "uploads").rglob("*") if p.is_file()]
    assert [p.name for p in held] == ["<b>lemon.png"]
    assert client.predict(paths=[str(held[0])], api_name="/remove") == 1
    for name, data, says in (("..", picture, "is no file"), ("x.png", "!", "not base64"), ("x.png", "", "is no file")):
        with pytest.raises(AppError, match=says):
            client.predict(name=name, data=data, api_name="/add_file")


def test_failures_are_listed_and_tried_again(client: Client, library: Path) -> None:
    (failure,) = client.predict(api_name="/failures")
    assert failure["file"].endswith("truncated.png") and "cannot be decoded" in failure["reason"]
    kept = Path(failure["file"]).read_bytes()
    with pytest.raises(AppError, match="no file that could not be read"):
        client.predict(paths=["/etc/passwd"], api_name="/retry")
    client.predict(paths=[failure["file"]], api_name="/retry")
    assert ended(client)["failed"] == 1
    draw(Path(failure["file"]), (1, 2, 3))
    client.predict(api_name="/retry")
    assert ended(client)["stored"] == 1 and client.predict(api_name="/failures") == []
    Path(failure["file"]).write_bytes(kept)
    with pytest.raises(AppError, match="nothing is being ingested"):
        client.predict(api_name="/stop")


def test_duplicates_and_disk_use(client: Client, library: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin.png"
    twin.write_bytes((library.parent / "media" / "red-car.png").read_bytes())
    client.predict(path=str(twin), api_name="/add_folder")
    assert ended(client)["state"] == "done"
    assert client.predict(api_name="/duplicates") == [
        sorted([str(twin), str(library.parent / "media" / "red-car.png")])
    ]
    near = client.predict(cosine=0.8, api_name="/near_duplicates")
    assert near["compared"] == near["items"] and near["pairs"]
    with pytest.raises(AppError, match=r"cosine is 0\.1"):
        client.predict(cosine=0.1, api_name="/near_duplicates")
    status = client.predict(api_name="/status")
    assert status["disk"]["embeddings"] == status["embedding_bytes"]


@pytest.mark.parametrize("given", [[], ["red"], ["red"] * 40])
def test_values_without_names_are_counted(address: str, given: list[str]) -> None:
    asked = httpx.post(f"{address}gradio_api/call/search", json={"data": given}, timeout=60).json()["event_id"]
    said = httpx.get(f"{address}gradio_api/call/search/{asked}", timeout=60).text
    assert f"in this order, and {len(given)} came: words, " in said and "/gradio_api/call/v2/search" in said
