"""Who gets which bytes: only items of the library, only by id, only for visitors who may see the page."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.testclient import TestClient

from mmretrieval.errors import RetrievalError
from mmretrieval.types import Item
from page import auth
from page.originals import routes
from page.state import Page


@pytest.fixture
def client(page: Page) -> TestClient:
    app = Starlette(routes=routes(page))
    app.__dict__.update(auth=None, tokens={}, cookie_id="c")
    return TestClient(app)


def item_of(page: Page, kind: str, number: int = 0) -> Item:
    return [item for item in page.library.items() if item.kind == kind][number]


def test_thumbnails_views_and_originals_of_items(page: Page, client: TestClient) -> None:
    picture = item_of(page, "image")
    for size in ("thumb", "view"):
        answer = client.get(f"/media/{size}/{picture.id}")
        assert answer.status_code == 200 and answer.headers["content-type"] == "image/webp"
        assert Image.open(io.BytesIO(answer.content)).size == (96, 96)
        assert answer.headers["x-content-type-options"] == "nosniff"
    whole = client.get(f"/media/original/{picture.id}")
    assert whole.content == Path(picture.paths[0]).read_bytes()
    assert whole.headers["content-type"] == "image/png"


def test_a_page_of_a_document_is_seen_as_a_page(page: Page, client: TestClient) -> None:
    pages = [client.get(f"/media/view/{item_of(page, 'document', i).id}").content for i in range(2)]
    assert pages[0] != pages[1]
    for data in pages:
        assert max(Image.open(io.BytesIO(data)).size) == page.library.settings.picture_side
    # The second time it comes from the cache, with the same bytes.
    assert client.get(f"/media/view/{item_of(page, 'document', 0).id}").content == pages[0]


def test_a_clip_can_be_sought(page: Page, client: TestClient) -> None:
    clip = item_of(page, "video")
    part = client.get(f"/media/original/{clip.id}", headers={"Range": "bytes=100-199"})
    assert part.status_code == 206
    assert part.content == Path(clip.paths[0]).read_bytes()[100:200]
    assert part.headers["content-type"] == "video/webm"


def test_text_is_offered_as_a_download_only(page: Page, client: TestClient) -> None:
    answer = client.get(f"/media/original/{item_of(page, 'text').id}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert client.get(f"/media/view/{item_of(page, 'text').id}").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["original/unknown", "view/unknown", "thumb/unknown", "original/%2Fetc%2Fpasswd", "thumb/..%2F..%2Fledger.sqlite"],
)
def test_nothing_else_is_served(client: TestClient, path: str) -> None:
    answer = client.get(f"/media/{path}")
    assert answer.status_code == 404
    assert "root:" not in answer.text


def test_a_size_that_there_is_not_is_not_found(page: Page, client: TestClient) -> None:
    assert client.get(f"/media/nosuch/{item_of(page, 'image').id}").status_code == 404


def test_a_visitor_who_has_not_logged_in_gets_nothing(page: Page) -> None:
    app = Starlette(routes=routes(page))
    app.__dict__.update(auth=object(), tokens={"good": "user"}, cookie_id="c")
    picture = item_of(page, "image")
    for cookie, status in ((None, 401), ("bad", 401), ("good", 200)):
        cookies = {"access-token-c": cookie} if cookie else {}
        with TestClient(app, cookies=cookies) as client:
            assert client.get(f"/media/thumb/{picture.id}").status_code == status


# --- the auth file ---------------------------------------------------------------------------------------------------


def test_the_auth_file_lets_in_who_knows_the_password(tmp_path: Path) -> None:
    file = tmp_path / "users"
    lines = [auth.line("ada", "engine"), "# a remark", "", auth.line("grace", "compiler")]
    file.write_text("\n".join(lines) + "\n")
    assert "engine" not in file.read_text()
    allowed = auth.read(file)
    assert allowed("ada", "engine") and allowed("grace", "compiler")
    assert not allowed("ada", "compiler") and not allowed("nobody", "engine") and not allowed("ada", "")


@pytest.mark.parametrize("text", ["ada:plain", "ada:scrypt$zz$zz", "", "# only a remark"])
def test_a_broken_auth_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "users").write_text(text)
    with pytest.raises(RetrievalError, match=r"python -m page\.auth"):
        auth.read(tmp_path / "users")


def test_a_missing_auth_file_and_bad_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RetrievalError, match="cannot be read"):
        auth.read(tmp_path / "none")
    for user, password in (("a b", "x"), ("a:b", "x"), ("", "x"), ("ada", "")):
        with pytest.raises(RetrievalError):
            auth.line(user, password)
