"""Strangers see no folder of the machine, in answers, refusals, lists or the page itself; the log has whole paths."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from ingest.pipeline import ingest
from ingest.walk import walk
from mmretrieval.errors import RetrievalError
from mmretrieval.library import Library
from page.endpoints.called import or_refuse
from page.paths import MOST_FOLDERS, Paths, _finding, _named, _tops
from page.state import ROOT, Page
from tests.page.conftest import draw, make_media
from tests.page.raw_requests import Got, Sent, Visitor, hears
from tests.page.serving import served
from tests.page.test_junk import for_strangers

# Names that stand otherwise in HTML and in addresses than on a disk.
ODD = "a & b's <things>"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an odd name that holds a library, and the media in it, some of them gone by now."""
    place = tmp_path_factory.mktemp("private") / ODD
    media = make_media(place / "media")
    twin = place / "media" / "twins" / "twin.png"
    twin.parent.mkdir()
    twin.write_bytes((media / "red-car.png").read_bytes())
    with Library.create(place / "library", ("hashing",)) as library:
        ingest(library, list(walk([media])), workers=1)
    (media / "blue-boat.png").unlink()
    draw(media / "green-frog.png", (1, 2, 3))
    return place


@pytest.fixture(scope="module", params=["stranger", "read-only"])
def visitor(
    request: pytest.FixtureRequest, folder: Path, things: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Visitor]:
    options = "--dataset", str(things)
    if request.param == "read-only":
        with served(folder / "library", *options, "--read-only") as address, Visitor(address) as visitor:
            yield visitor
    else:
        with (
            for_strangers(folder / "library", tmp_path_factory.mktemp("strangers"), *options) as started,
            Visitor(started.address) as visitor,
        ):
            yield visitor


def event(visitor: Visitor, name: str) -> dict[str, Any]:
    (found,) = [one for one in visitor.events if one["api_name"] == name]
    return found


def call(visitor: Visitor, name: str, **given: Any) -> Got:
    """Asks an endpoint by name; arguments by theirs."""
    named = httpx.get(f"{visitor.address}gradio_api/info").json()["named_endpoints"][f"/{name}"]["parameters"]
    values = [given.get(one["parameter_name"], one.get("parameter_default")) for one in named]
    (got,) = visitor.ask([Sent(event(visitor, name)["id"], values)])
    return got


def leaks(text: str, folder: Path, things: Path) -> list[str]:
    """The folders of this machine that a text tells, in any form."""
    parents = [folder, folder.parent, folder.parent.parent, things, things.parent, ROOT, Path(sys.prefix)]
    forms = {form(str(one)) for one in parents for form in (str, html.escape, quote, lambda t: quote(t, safe=""))}
    plain = text.replace("\\\\", "\\").replace('\\"', '"')
    return [form for form in forms if form in plain]


def test_no_answer_of_any_event_tells_a_folder(visitor: Visitor, folder: Path, things: Path) -> None:
    said = {"do": "open", "item": "nobody", "k": 5, "file": str(folder), "link": "?text=red"}
    asked = [Sent(one["id"], visitor.usual(one), said if hears(one) else None) for one in visitor.events]
    asked += [Sent(one["id"], [str(folder / "x.png")] * max(1, len(one["inputs"]))) for one in visitor.events]
    answers = list(visitor.ask(asked))
    assert len(answers) == len(asked)
    # What somebody sent comes back to him in a refusal, as a name here too.
    told = {got.sent.text: leaks(got.text, folder, things) for got in answers if leaks(got.text, folder, things)}
    assert not told
    everything = " ".join(got.text for got in answers)
    assert "media/truncated.png" in everything and "media/twins/twin.png" in everything, "names are told"


def test_named_endpoints_tell_names(visitor: Visitor, folder: Path, things: Path) -> None:
    found = call(visitor, "search", words="red car", recipe="hashing@text", k=12)
    hits = found.output["data"][0]["hits"]
    assert ["media/red-car.png", "media/twins/twin.png"] in [hit["paths"] for hit in hits]
    assert call(visitor, "status").output["data"][0]["folder"] == "library"
    assert call(visitor, "failures").output["data"][0][0]["file"] == "media/truncated.png"
    assert call(visitor, "duplicates").output["data"][0] == [["media/red-car.png", "media/twins/twin.png"]]
    gone = next(hit["id"] for hit in hits if "blue boat" in hit["text"])
    other = next(hit["id"] for hit in hits if "green frog" in hit["text"])
    for ident, says in ((gone, "no longer there"), (other, "has changed since")):
        refused = call(visitor, "why", answer=ident, words="red", recipe="hashing@visual")
        assert says in refused.words and "media/" in refused.words and not leaks(refused.text, folder, things)
        answer = httpx.get(f"{visitor.address}media/original/{ident}")
        assert answer.status_code == 404 and says in answer.text and not leaks(answer.text, folder, things)
    unknown = call(visitor, "search", words="red", recipe="lite@visual")
    assert "--library library" in unknown.words and not leaks(unknown.text, folder, things)


def test_the_page_itself_tells_no_folder(visitor: Visitor, folder: Path, things: Path) -> None:
    for address in ("", "config", "gradio_api/info", "gradio_api/openapi.json", "theme.css", "manifest.json"):
        answer = httpx.get(f"{visitor.address}{address}")
        assert answer.status_code == 200 and not leaks(answer.text, folder, things), address
    for address in (f"gradio_api/file={folder}/library/library.toml", f"media/view/{folder}", "gradio_api/run/nobody"):
        answer = httpx.get(f"{visitor.address}{address}")
        assert answer.status_code >= 400 and not leaks(answer.text, folder, things), address


# --- who may change the library by the names that are shown ----------------------------------------------------------


def test_a_shown_name_is_enough_to_try_again_and_to_take_out(folder: Path, temporary: Path) -> None:
    page = Page(Library.open(folder / "library"), trusted=False)
    try:
        assert page.paths.file("media/truncated.png") == str(folder / "media" / "truncated.png")
        page.retry(["media/truncated.png"])
        page.board.wait(60)
        assert page.board.job is not None and page.board.job.failed == 1
        with pytest.raises(RetrievalError, match="holds no file twin.png"):
            page.remove(["twin.png"])
        assert page.remove(["media/twins/twin.png"]) == 0
    finally:
        page.board.wait(60)
        page.close()


def test_whoever_may_name_folders_sees_whole_paths(folder: Path, temporary: Path) -> None:
    whole = str(folder / "media" / "truncated.png")
    with served(folder / "library") as address, Visitor(address) as visitor:
        assert call(visitor, "status").output["data"][0]["folder"] == str(folder / "library")
        assert call(visitor, "failures").output["data"][0][0]["file"] == whole
        refused = call(visitor, "search", words="red", recipe="lite@visual")
        assert f"--library {folder / 'library'}" in refused.words
    page = Page(Library.open(folder / "library"))
    assert page.tells_paths and page.paths.shown(whole) == page.paths.told(whole) == whole == page.paths.file(whole)
    page.close()


# --- texts -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def paths(folder: Path, temporary: Path) -> Iterator[Paths]:
    page = Page(Library.open(folder / "library"), trusted=False)
    yield page.paths
    page.close()


def test_paths_in_any_form_are_cut_and_all_else_is_left(paths: Paths, folder: Path) -> None:
    library = str(folder / "library")
    for text, shown in (
        (library, "library"),
        (f"in {library}: nothing", "in library: nothing"),
        (f"'{library}/cache/x'.", "'library/cache/x'."),
        (html.escape(f"<b>{library}/x</b>"), html.escape("<b>library/x</b>")),
        (f"?from={quote(library, safe='')}%2Fx", "?from=library%2Fx"),
        ("/elsewhere/library2/x", "/elsewhere/library2/x"),
        ("media/thumb/1234 and/or a/b", "media/thumb/1234 and/or a/b"),
        ("", ""),
    ):
        assert paths.shown(text) == shown
    assert (
        paths.told("cannot read /opt/models/x/weights.bin (no such file)") == "cannot read weights.bin (no such file)"
    )
    assert paths.told("towards/away, 1/2, https://example.org/a/b") == "towards/away, 1/2, https://example.org/a/b"
    upload = {"path": f"{library}/x", "meta": {"_type": "gradio.FileData"}}
    assert paths.all_shown([{"a": (library, 1, None)}, upload]) == [{"a": ["library", 1, None]}, upload]


def test_an_encoder_that_is_named_by_a_path_is_understood_by_its_shown_name(folder: Path, temporary: Path) -> None:
    page = Page(Library.open(folder / "library"), trusted=False)
    spec = "open_clip:local-dir:/opt/models/mine"
    page.library.config = type(page.library.config)((spec, "hashing"), "hashing@all", page.library.settings)
    shown = page.paths.shown(f"{spec}@visual,center")
    assert shown == "open_clip:local-dir:mine@visual,center"
    assert page.paths.meant({"recipe": [shown]}) == {"recipe": [f"{spec}@visual,center"]}
    assert page.paths.meant(f"{spec}@all") == f"{spec}@all" and page.paths.meant(7) == 7
    page.close()


def test_files_in_many_folders_are_known_by_the_folders_above(tmp_path: Path, temporary: Path) -> None:
    media = tmp_path / "private" / "media"
    for number in range(MOST_FOLDERS + 6):
        (media / f"{number:03}").mkdir(parents=True)
        (media / f"{number:03}" / "note.txt").write_text(f"note number {number}")
    with Library.create(tmp_path / "library", ("hashing",)) as library:
        ingest(library, list(walk([media])), workers=1)
    page = Page(Library.open(tmp_path / "library"), trusted=False)
    assert page.paths.shown(str(media / "007" / "note.txt")) == "media/007/note.txt"
    page.close()


def test_the_log_keeps_whole_paths(paths: Paths, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise KeyError(str(folder / "library"))

    with pytest.raises(Exception, match="reference"):
        or_refuse(broken)
    assert str(folder / "library") in caplog.text


@pytest.mark.parametrize(
    "folders",
    [
        ["/srv/photos", "/mnt/nas/pics", *(f"/home/u{number}/pics/2020" for number in range(70))],
        ["/photos", *(f"/photos{number}" for number in range(70))],
    ],
)
def test_of_very_many_folders_each_is_still_hidden(folders: list[str]) -> None:
    tops = _tops(folders)
    finding = _finding(_named(tops))
    assert "" not in tops and all(finding.match(f"{folder}/a.jpg") for folder in folders)
