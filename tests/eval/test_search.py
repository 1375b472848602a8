"""`python -m eval search` from outside: composed queries, filters, what is printed, JSON, exit codes."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from drawings import drawing
from ingesting import add
from PIL import Image
from typer.testing import CliRunner, Result

from eval.__main__ import app
from eval.search import asked, place_of, weighed
from mmretrieval.errors import BadQuery
from mmretrieval.fragments import Place, parse
from mmretrieval.library import Library
from mmretrieval.types import Part

ASSETS = Path(__file__).parents[1] / "assets"
SAID = ["a red fox", "two red foxes", "a blue whale", "the tall lighthouse"]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    """Four pictures with captions and years, a film of two clips, a document of two pages and a passage."""
    root = tmp_path_factory.mktemp("searched")
    for folder in ("in/foxes", "in/others"):
        (root / folder).mkdir(parents=True)
    for n, caption in enumerate(SAID):
        place = root / "in" / ("foxes" if "fox" in caption else "others") / f"{n}.png"
        drawing(n).save(place)
        about = {"caption": caption, "year": 1999 + n, "tags": ["animal"] if n < 3 else ["stone"]}
        place.with_suffix(".json").write_text(json.dumps(about))
    for file in (ASSETS / "videos/b_frames.mp4", ASSETS / "documents/two_pages.pdf"):
        (root / "in" / file.name).write_bytes(file.read_bytes())
    (root / "in" / "words.txt").write_text("The whale [b]is[/b] blue, and the sea is too.")
    made = Library.create(root / "library", ["hashing"])
    assert add(made, root / "in").failed == 0
    return made


def call(library: Library, *arguments: object) -> Result:
    return CliRunner().invoke(app, ["search", "--library", str(library.path), *map(str, arguments)])


def told(library: Library, *arguments: object) -> dict[str, Any]:
    result = call(library, *arguments, "--json")
    assert result.exit_code == 0, result.output
    assert len(result.stdout.splitlines()) == 1
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def captions(found: dict[str, Any]) -> list[str]:
    return [hit["text"] for hit in found["hits"]]


def by_caption(library: Library, text: str) -> Any:
    return next(item for item in library.items() if item.text == text)


def test_a_correction_that_is_not_as_asked_says_so(library: Library) -> None:
    said = call(library, "--text", "red fox", "--recipe", "hashing@text,nnn:999")
    assert said.exit_code == 0 and "as there are no 999" in said.stdout
    assert "no 9" not in call(library, "--text", "red fox", "--recipe", "hashing@text,nnn:9").stdout


def test_words_find_and_are_printed(library: Library) -> None:
    found = told(library, "--text", "red fox", "--recipe", "hashing@text", "-k", 3)
    assert captions(found)[:2] == ["a red fox", "two red foxes"]
    assert [hit["rank"] for hit in found["hits"]] == [1, 2, 3]
    assert found["recipe"] == "hashing@text,sum"
    assert found["query"] == [{"given": "text", "part": "red fox", "weight": 1}]
    first = found["hits"][0]
    assert (first["kind"], first["meta"]["year"]) == ("image", 1999) and first["trail"][0]["rank"] == 1
    people = call(library, "--text", "red fox", "--recipe", "hashing@text", "-k", 3)
    assert people.exit_code == 0
    for said in ("hashing@text,sum", "a red fox", "image", f"{first['score']:.4f}", f"item:{first['id']}"):
        assert said in people.stdout
    assert "two red foxes" in call(library, "--text", "red fox", "--json", "--recipe", "hashing@text").stderr


def test_weights_push_and_pull(library: Library) -> None:
    near = told(library, "--text", "fox", "--text", "0.2*whale", "--recipe", "hashing@text")
    away = told(library, "--text", "fox", "--text", "-0.8*red", "--recipe", "hashing@text")
    assert near["query"][1] == {"given": "text", "part": "whale", "weight": 0.2}
    assert away["query"][1] == {"given": "text", "part": "red", "weight": -0.8}
    scores = {name: {h["text"]: h["score"] for h in found["hits"]} for name, found in (("near", near), ("away", away))}
    assert scores["away"]["a red fox"] < scores["near"]["a red fox"]


def test_pictures_regions_moments_and_pages_ask(library: Library, tmp_path: Path) -> None:
    own = by_caption(library, "a blue whale")
    assert own.id not in [h["id"] for h in told(library, "--part", own.paths[0], "--recipe", "hashing@visual")["hits"]]
    # The same picture in other bytes, in the middle of another: the region finds what it shows.
    inner = drawing(2)
    frame = Image.new("RGB", (inner.width + 40, inner.height + 60), (128, 128, 128))
    frame.paste(inner, (10, 20))
    frame.save(tmp_path / "framed.png")
    region = f"{tmp_path}/framed.png#xywh=10,20,{inner.width},{inner.height}"
    found = told(library, "--part", region, "--recipe", "hashing@visual", "-k", 1)["hits"][0]
    assert found["id"] == own.id and found["score"] == pytest.approx(1, abs=1e-3)
    clip = next(i for i in library.items() if i.kind == "video" and i.t0 == 8)
    film = tmp_path / "other bytes.mp4"
    film.write_bytes(Path(clip.paths[0]).read_bytes() + b"\0")
    first = told(library, "--part", f"{film}#t=8,12", "--recipe", "hashing@visual", "-k", 1)["hits"][0]
    assert (first["id"], first["t0"]) == (clip.id, 8.0)
    page = next(i for i in library.items() if i.page == 2)
    again = told(library, "--part", f"item:{page.id}#page=1", "--recipe", "hashing@visual", "-k", 1)["hits"][0]
    assert again["page"] == 1 and again["score"] == pytest.approx(1, abs=1e-5)


def test_a_hit_s_place_can_be_asked_with(library: Library) -> None:
    places = {place_of(item) for item in library.items()}
    assert any(p.endswith("b_frames.mp4#t=0,8") for p in places)
    assert any(p.endswith("two_pages.pdf#page=2") for p in places)
    for place in places:
        assert told(library, "--part", place, "--recipe", "hashing")["query"][0]["part"] == place


def test_items_liked_and_disliked(library: Library) -> None:
    fox, whale = by_caption(library, "a red fox"), by_caption(library, "a blue whale")
    given = (
        ("item", f"item:{fox.id}", 0.5),
        ("like", fox.id, 1.0),
        ("dislike", whale.id, 2.0),
        ("part", f"item:{whale.id}", -1.0),
    )
    parts, own = asked(given, library)
    told_of = [(p.item, p.weight, p.feedback) for p in parts]
    assert told_of == [(fox.id, 0.5, False), (fox.id, 1, True), (whale.id, -2, True), (whale.id, -1, False)]
    assert own == frozenset()
    found = told(library, "--like", fox.id, "--dislike", f"0.5*{whale.id}", "--recipe", "hashing@visual")
    assert not {fox.id, whale.id} & {hit["id"] for hit in found["hits"]}


def test_where_says_which_answers_count(library: Library) -> None:
    def passing(where: str) -> set[str]:
        found = told(library, "--text", "whale", "--where", where, "--recipe", "hashing")
        return {place.rsplit("/", 1)[-1] for place in (hit["place"] for hit in found["hits"])}

    assert passing("kind = image, year >= 2001") == {"2.png", "3.png"}
    assert passing("path = foxes/*") == {"0.png", "1.png"}
    assert passing("tag = stone") == {"3.png"}
    assert passing("duration > 7") == {"b_frames.mp4#t=0,8"}
    assert passing("has_text = false") == {"b_frames.mp4#t=0,8", "b_frames.mp4#t=8,12"}
    nothing = call(library, "--text", "whale", "--where", "year > 3000", "--recipe", "hashing")
    assert nothing.exit_code == 0 and "nothing was found: loosen --where" in nothing.stdout


def test_within_says_which_items_are_ranked(library: Library, tmp_path: Path) -> None:
    some = [by_caption(library, said).id for said in ("a blue whale", "the tall lighthouse", "a red fox")]
    file = tmp_path / "chosen.txt"
    file.write_text(f"{some[0]}\n\n item:{some[1]} \n{some[1]}\n")

    def ranked(*within: object) -> set[str]:
        return {hit["id"] for hit in told(library, "--text", "fox", "--recipe", "hashing", *within)["hits"]}

    assert ranked("--within", some[0], "--within", f"item:{some[2]}") == {some[0], some[2]}
    assert ranked("--within", file) == set(some[:2])
    assert ranked("--within", file, "--within", some[2]) == set(some)
    assert ranked("--within", file, "--where", "year >= 2002") == {some[1]}
    both = told(library, "--text", "fox", "--recipe", "hashing", "--within", file)
    assert both["within"] == sorted(some[:2]) and told(library, "--text", "fox")["within"] is None


def test_items_that_are_gone_are_counted_and_the_others_ranked(library: Library) -> None:
    here, gone = by_caption(library, "a red fox").id, "8f14e45f-ceea-467f-a9d5-0c1d5a3b9c11"
    result = call(library, "--text", "fox", "--within", here, "--within", gone, "--recipe", "hashing")
    assert result.exit_code == 0 and here in result.stdout
    assert "1 of the 2 items of --within are not in this library" in result.stdout
    nothing = call(library, "--text", "fox", "--within", gone, "--where", "year > 1", "--recipe", "hashing")
    assert nothing.exit_code == 0 and "nothing was found: loosen --where or --within" in nothing.stdout


@pytest.mark.parametrize(
    ("held", "says"),
    [
        (None, "no item's id, and no file that can be read (No such file or directory)"),
        (b"", "there is no id in it"),
        (b"\n \n", "there is no id in it"),
        (b"8f14e45f-ceea-467f-a9d5-0c1d5a3b9c11\n\nfox.png\n", "line 3, 'fox.png', is no item's id"),
        (b"\xff\xfe\x00", "it is no text"),
    ],
)
def test_what_names_no_items_says_why(library: Library, tmp_path: Path, held: bytes | None, says: str) -> None:
    if held is not None:
        (tmp_path / "chosen.txt").write_bytes(held)
    result = call(library, "--text", "fox", "--within", tmp_path / "chosen.txt")
    assert result.exit_code == 1 and says in " ".join(result.stderr.split()), result.output


def test_the_time_of_each_stage_is_told(library: Library) -> None:
    recipe = ("--text", "red fox", "--recipe", "hashing@text+bm25@text,rrf:60,cutoff:0.5")
    found = told(library, *recipe)
    names = [one["stage"] for one in found["stages"]]
    wanted = ["encode hashing", "search hashing@text", "search bm25@text", "fuse rrf:60", "mark cutoff:0.5", "other"]
    assert [name for name in names if name in wanted] == wanted
    # Rounded: seconds to the tenth of a millisecond, stages to the thousandth.
    assert sum(one["ms"] for one in found["stages"]) == pytest.approx(1000 * found["seconds"], abs=0.1)
    (line,) = [line for line in call(library, *recipe).stdout.splitlines() if "encode hashing" in line]
    assert re.fullmatch(r"[0-9.]+ s: ([^,]+ [0-9.,]+ ms, )+other [0-9.,]+ ms", line)


def test_words_of_strangers_are_shown_as_they_are(library: Library) -> None:
    people = call(library, "--text", "the sea is too", "--recipe", "hashing@text", "-k", 1)
    assert "[b]is[/b]" in people.stdout.replace("\n", "")


@pytest.mark.parametrize(
    ("arguments", "says", "code"),
    [
        ([], "nothing to look for", 2),
        (["--text", " "], "says nothing to look for", 1),
        (["--text", "2*"], "says nothing to look for", 1),
        (["--part", "nowhere.jpg"], "nowhere.jpg: the file cannot be opened", 1),
        (["--part", f"{ASSETS}/documents/two_pages.pdf#page=7"], "has 2 pages", 1),
        (["--part", "a.jpg#zoom=2"], "places are xywh=, t= and page=", 1),
        (["--item", "7"], "has no item '7'", 2),
        (["--like", "-1*ITEM"], "choose --like or --dislike", 1),
        (["--text", "a", "--where", "year ! 3"], "is no condition", 2),
        (["--text", "a", "--where", "taken > soon"], "give a number, or a date", 2),
        (["--text", "a", "--recipe", "hashing@nothing"], "nothing", 2),
    ],
)
def test_what_cannot_be_asked_says_why(library: Library, arguments: list[str], says: str, code: int) -> None:
    some = next(library.items()).id
    result = call(library, *(a.replace("ITEM", some) for a in arguments))
    assert result.exit_code == code, result.output
    assert says in " ".join(result.stderr.split()) and "Traceback" not in result.output


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("red car", ("red car", 1.0)),
        ("2*red car", ("red car", 2.0)),
        ("-0.5*night", ("night", -0.5)),
        (" +.5 * night ", ("night", 0.5)),
        ("1*2*3", ("2*3", 1.0)),
        ("a*b", ("a*b", 1.0)),
        ("-night", ("-night", 1.0)),
    ],
)
def test_a_weight_stands_before_what_it_weighs(text: str, wanted: tuple[str, float]) -> None:
    assert weighed(text) == wanted


def test_a_page_asks_by_its_picture(library: Library) -> None:
    ((part,), _) = asked((("part", f"{ASSETS}/documents/two_pages.pdf#page=1", 1.0),), library)
    assert isinstance(part, Part) and part.content is not None and part.content.modalities == ("image",)


def test_an_odd_path_is_still_a_place(library: Library) -> None:
    item = replace(next(library.items()), paths=("item:odd#t=1",), t0=None, page=None)
    assert parse(place_of(item)) == Place("./item:odd#t=1")
    with pytest.raises(BadQuery):
        Place("item:odd")


def test_what_is_no_better_than_chance_is_counted(library: Library) -> None:
    for recipe, weak in (("hashing@visual,cutoff:0", 3), ("hashing@visual,cutoff:1", 0), ("hashing@visual", 0)):
        result = call(library, "--recipe", recipe, "--text", "fox", "-k", 3)
        assert ("3 of these 3 (dim) are no better than chance" in result.stdout) is bool(weak)
        hits = told(library, "--recipe", recipe, "--text", "fox", "-k", 3)["hits"]
        assert sum(hit["weak"] for hit in hits) == weak
        assert all((hit["chance"] is None) is ("cutoff" not in recipe) for hit in hits)


def test_what_could_not_be_judged_is_counted_too(library: Library) -> None:
    """A passage has no picture, and only bm25 finds it."""
    asking = ("--text", "Whales sing", "-k", 20)
    hits = told(library, "--recipe", "hashing@visual+bm25,cutoff:0.02", *asking)["hits"]
    unjudged = sum(hit["chance"] is None for hit in hits)
    assert 0 < unjudged < len(hits)
    said = call(library, "--recipe", "hashing@visual+bm25,cutoff:0.02", *asking).stdout
    assert f"{unjudged} of these {len(hits)} could not be judged by the recipe's cut-off" in said
    for recipe in ("hashing@visual+bm25", "hashing@visual,cutoff:0.02"):
        assert "could not be judged" not in call(library, "--recipe", recipe, *asking).stdout
