"""The front door: options, refusals, and the named endpoints over HTTP."""

from __future__ import annotations

import base64
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError, AuthenticationError

from page import auth
from tests.page.conftest import draw
from tests.page.serving import ROOT, served


def run(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "app.py", *options], cwd=ROOT, capture_output=True, text=True, check=False)


def test_help_is_quick_and_loads_neither_gradio_nor_torch() -> None:
    program = "import sys, app\ntry:\n app.main()\nexcept SystemExit: pass\nprint(sorted(sys.modules))"
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds = time.perf_counter() - started
    assert "--read-only" in done.stdout
    assert not re.search(r"'(gradio|torch|numpy)'", done.stdout)
    assert seconds < 5  # under one on an idle machine


def test_a_missing_library_says_how_to_make_one(tmp_path: Path) -> None:
    done = run("--library", str(tmp_path / "none"))
    assert done.returncode == 2
    assert "python -m ingest add" in done.stderr and "Traceback" not in done.stderr


def test_a_folder_that_is_no_dataset_stops_the_page(made: Path, tmp_path: Path) -> None:
    done = run("--library", str(made), "--dataset", str(tmp_path))
    assert done.returncode == 2
    assert "dataset.toml" in done.stderr and "Traceback" not in done.stderr


def test_a_public_page_without_a_password_must_be_meant(made: Path) -> None:
    done = run("--library", str(made), "--host", "0.0.0.0")
    assert done.returncode == 2 and "--yes-public" in done.stderr


def test_a_broken_auth_file_stops_the_page(made: Path, tmp_path: Path) -> None:
    (tmp_path / "users").write_text("ada:plain\n")
    done = run("--library", str(made), "--auth-file", str(tmp_path / "users"))
    assert done.returncode == 2 and "line 1" in done.stderr


def test_the_auth_line_is_made_by_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "page.auth", "ada"],
        cwd=ROOT,
        input="engine\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.fullmatch(r"ada:scrypt\$[0-9a-f]{32}\$[0-9a-f]{128}\n", done.stdout)


# --- a read-only page behind a password, over HTTP -------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    users = tmp_path_factory.mktemp("auth") / "users"
    users.write_text(auth.line("ada", "engine") + "\n")
    with served(made, "--read-only", "--auth-file", str(users)) as address:
        yield address


@pytest.fixture(scope="module")
def client(address: str) -> Client:
    return Client(address, auth=("ada", "engine"), verbose=False, download_files=False)


def test_strangers_are_kept_out(address: str) -> None:
    with pytest.raises((AuthenticationError, ValueError)):
        Client(address, auth=("ada", "wrong"), verbose=False)


def test_search_by_name(client: Client) -> None:
    found = client.predict(words="green frog", recipe="hashing@text", k=3, api_name="/search")
    assert found["recipe"] == "hashing@text,sum" and len(found["hits"]) == 3
    first = found["hits"][0]
    assert first["text"] == "a green frog by the pond" and first["rank"] == 1 and first["trail"]
    again = client.predict(item=first["id"], recipe="hashing@visual", k=3, api_name="/search")
    assert first["id"] not in [hit["id"] for hit in again["hits"]]


def test_search_by_picture(client: Client, tmp_path: Path) -> None:
    draw(tmp_path / "p.png", (201, 21, 20))
    picture = base64.b64encode((tmp_path / "p.png").read_bytes()).decode()
    found = client.predict(picture=picture, recipe="hashing@visual", k=2, api_name="/search")
    assert found["hits"][0]["text"] == "a red apple on a table"
    with pytest.raises(AppError, match="base64"):
        client.predict(picture="/etc/passwd!", api_name="/search")


def test_what_is_wrong_reaches_the_caller(client: Client) -> None:
    with pytest.raises(AppError, match="did you mean 'text'"):
        client.predict(words="red", recipe="hashing@txt", api_name="/search")


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        *[
            ("/search", {"words": "red", "k": k}, "k is .*whole number from 1 to 200")
            for k in (2.7, "x", None, 0, True)
        ],
        *[
            ("/search", {"words": "red", f"{part}_weight": weight}, f"{part}_weight is .*a number from")
            for part in ("words", "picture", "item", "avoid")
            for weight in ("x", None, 2.5, [1])
        ],
        ("/search", {"words": "red", "avoid": "car", "avoid_weight": -1}, "from 0 to 2"),
        *[("/search", {"words": words}, "words is .*give a text") for words in (123, ["red"], {"a": 1})],
        ("/search", {"words": None}, "nothing to look for"),
        ("/search", {"words": "red", "item": 7}, "item is 7"),
        ("/search", {"words": "red", "recipe": 7}, "the recipe is 7"),
        ("/search", {"words": "red", "picture": [1]}, "picture is"),
        ("/search", {"words": "red" * 100_000}, "300,000 characters"),
        ("/search", {"words": "a\0b"}, "NUL"),
        *[("/search", {"words": "red", "kinds": kinds}, "none of them") for kinds in (["nope"], "nope")],
        *[("/search", {"words": "red", "kinds": kinds}, "give a list") for kinds in ({"a": 1}, [1], 3)],
        ("/search", {"words": "red", "conditions": "year = " + "9" * 400}, "too large a number"),
        ("/search", {"words": "red", "conditions": "year > " + "9" * 3000}, "too large a number"),
        *[("/compare", {"words": "red", "k": k}, "whole number from 1 to 200") for k in ("x", None, -3, 10**6)],
        *[("/diagnose", {"sample": s}, "sample is .*from 4 to 100000") for s in (-1, 0, "x", None, 10**30)],
        *[("/diagnose", {"seed": seed}, "seed is .*from 0 to") for seed in (-1, "x", None, 10**30, 0.5)],
        ("/diagnose", {"recipe": 5}, "the recipe is 5"),
        ("/diagnose", {"recipe": "nobody"}, "no encoder is called"),
        ("/diagnose", {"recipe": "lite"}, "has no vectors of 'lite'"),
        ("/diagnose", {"diagnostic": "gapp"}, "gap"),
        ("/diagnose", {"of": "dataset"}, "no dataset: start it with"),
        ("/diagnose", {"of": "/etc"}, "none of them"),
        ("/diagnose", {"of": 3}, "give a list of texts"),
        ("/diagnose", {"classes": ["a"]}, "classes is"),
        ("/diagnose", {"diagnostic": ["gap"]}, "the diagnostic is"),
    ],
)
def test_wrong_arguments_are_refused_in_words(client: Client, name: str, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(AppError, match=says) as refused:
        client.predict(**arguments, api_name=name)
    assert "fault of the page" not in str(refused.value)


def test_one_kind_may_be_a_bare_text(client: Client) -> None:
    found = client.predict(words="red", kinds="image", recipe="hashing@all", k=20, api_name="/search")
    assert {hit["kind"] for hit in found["hits"]} == {"image"}


def test_weights_below_0_push_away(client: Client) -> None:
    found = client.predict(words="red car", words_weight=-1, recipe="hashing@text", k=20, api_name="/search")
    assert found["hits"][-1]["text"] == "a red car in the street"


def test_compare_diagnose_and_status_by_name(client: Client) -> None:
    both = client.predict(words="red", left="hashing@text", right="hashing@text", k=4, api_name="/compare")
    assert both["left"] == both["right"] and both["overlap"] == 1.0 and both["rank_biased_overlap"] == pytest.approx(1)
    gap = client.predict(recipe="hashing@visual", diagnostic="gap", api_name="/diagnose")
    assert gap["basis"]["n"] == 11 and "pair_cosine" in gap["numbers"] and gap["recipe"] == "hashing@visual,sum"
    low, high = gap["intervals"]["pair_cosine"]
    assert low < gap["numbers"]["pair_cosine"] < high and gap["sentence"] and gap["stages"] == []  # too few to tell
    with pytest.raises(AppError, match="two encoders"):
        client.predict(recipe="hashing@visual", diagnostic="agreement", api_name="/diagnose")
    status = client.predict(api_name="/status")
    assert status["kinds"]["image"] == 8 and status["read_only"] is True


def test_the_endpoints_of_a_read_only_page_refuse(client: Client, made: Path) -> None:
    path = str(made.parent / "media" / "red-car.png")
    for name, arguments in (
        ("/add_folder", {"path": str(made.parent / "media")}),
        ("/add_encoder", {"spec": "lite"}),
        ("/add_file", {"name": "x.png", "data": "eA=="}),
        ("/retry", {}),
        ("/stop", {}),
        ("/remove", {"paths": [path]}),
        ("/fix", {"recipe": "hashing@text"}),
    ):
        with pytest.raises(AppError, match="read-only"):
            client.predict(**arguments, api_name=name)
    standing = client.predict(api_name="/status")
    assert standing["items"] == 12 and standing["fix"] is None


def test_plots_are_for_those_who_may_see_the_page(address: str) -> None:
    for path in ("script/plotly.js", "finding/x/figure/0", "finding/x/table/0", "finding/x/thumb/y"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(address + path)
        assert refused.value.code == 401
        refused.value.close()
