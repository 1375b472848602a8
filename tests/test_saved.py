"""Fits on disk come back as they were, and are made again where they are spoilt or the library has changed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from captioned_pictures import captioned_library, order
from kept_fits import words

from ingest.pipeline import ingest
from ingest.walk import Source
from mmretrieval import saved
from mmretrieval.bank import nulls
from mmretrieval.engine import Engine
from mmretrieval.geometry import Numbers, unit
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from mmretrieval.reference import Reference
from mmretrieval.search import CORRECTIONS
from mmretrieval.spaces import Space, Spaces
from mmretrieval.stages import StageRow
from mmretrieval.store.exact import Matrix
from mmretrieval.transforms import TRANSFORMS
from mmretrieval.transforms.center import Centred
from mmretrieval.types import Array, View


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return captioned_library(tmp_path)


def units(count: int, seed: int, dim: int = 6) -> Array:
    return unit(np.random.default_rng(seed).normal(size=(count, dim)))


def test_a_fit_is_kept_and_taken_up_again_until_the_library_changes(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = 0
    row = TRANSFORMS["center"]

    def counted(*arguments: object) -> object:
        nonlocal fits
        fits += 1
        return row.run(*arguments)

    monkeypatch.setitem(TRANSFORMS, "center", StageRow(counted, row.promise))  # type: ignore[arg-type]
    first = order(Engine(library, exact=True), "hashing@visual,center")
    assert order(Engine(library, exact=True), "hashing@visual,center") == first
    assert fits == 1
    (kept,) = (library.path / "transforms").iterdir()
    about = json.loads((kept / "value.json").read_text())["about"]
    assert about["stage"] == "center"
    assert about["bank"] == {"name": "generic captions", "digest": nulls().digest, "queries": len(nulls().queries)}
    assert about["items"] == {"visual": 12, "text": 12}
    ingest(library, [Source("more", data=b"other words")], workers=1)
    order(Engine(library, exact=True), "hashing@visual,center")
    assert fits == 2
    assert len(list((library.path / "transforms").iterdir())) == 1


def test_a_spoilt_file_or_a_folder_that_cannot_be_written_is_no_loss(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = order(Engine(library, exact=True), "hashing@visual,center")
    (kept,) = (library.path / "transforms").iterdir()
    whole = (kept / "arrays.npz").read_bytes()
    turned = bytes([*whole[:150], whole[150] ^ 255, *whole[151:]])
    for spoilt in (b"nothing", b"", whole[:200], turned):
        (kept / "arrays.npz").write_bytes(spoilt)
        assert saved.restore(kept) is None
        assert order(Engine(library, exact=True), "hashing@visual,center") == first
        assert saved.restore(kept) is not None, "a spoilt fit is replaced by the next one"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mmretrieval.saved.save", full)
    assert order(Engine(library, exact=True), "hashing@visual,center") == first


def test_a_page_keeps_transforms_for_a_while_and_leaves_nothing_of_that_on_disk(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Few new items do not move a page's mean; what it corrects by then is its own, and drift adds up to a new fit."""
    monkeypatch.setattr("mmretrieval.spaces.DRIFT", 0.1)  # 24 vectors: two more are near, three are not
    recipe = "hashing@text,center,nnn:5"
    page = Spaces(library, exact=False)

    def mean(spaces: Spaces) -> Numbers:
        space = spaces.get("hashing", parse(recipe))
        assert isinstance(space, Space) and isinstance(made := space.transforms[0], Centred)
        return made.means.views["text"]

    first = mean(page)
    for more in range(2):
        ingest(library, [Source(f"more {more}", data=f"words of their own, {more}".encode())], workers=1)
        np.testing.assert_array_equal(mean(page), first)
    fresh = Engine(library, exact=True).rank([words("red fox")], recipe, 12).rankings[0].hits
    shutil.rmtree(library.path / "transforms")
    anew = Engine(library, exact=True).rank([words("red fox")], recipe, 12).rankings[0].hits
    assert [(h.id, h.score) for h in fresh] == [(h.id, h.score) for h in anew]
    ingest(library, [Source("one more", data=b"and the third")], workers=1)
    assert not np.array_equal(mean(page), first)


@pytest.mark.parametrize("name", [*TRANSFORMS, *CORRECTIONS])
def test_every_fitted_value_comes_back_from_disk_as_it_was(name: str, tmp_path: Path) -> None:
    ids = tuple(f"{i:03d}" for i in range(60))
    items: dict[View, Matrix] = {"visual": Matrix(ids, units(60, 1, 24)), "text": Matrix(ids, units(60, 2, 24))}
    target = Reference({v: Matrix(ids, units(60, 7, 16)) for v in items}, {"text": units(30, 8, 16)}, units(30, 8, 16))
    reference = Reference(items, {"text": units(30, 3, 24)}, units(30, 3, 24), target)
    row = {**TRANSFORMS, **CORRECTIONS}[name]
    made = row.run(reference, *small(name, [p.default for p in row.parameters]))
    saved.save(tmp_path / "kept", made, {"a": 1})
    again = saved.restore(tmp_path / "kept")
    assert type(again) is type(made)
    if name in CORRECTIONS:
        scores = np.random.default_rng(4).normal(size=(5, 60))
        np.testing.assert_array_equal(again.scores("visual", scores), made.scores("visual", scores))
        return
    asked = units(5, 5, 24)
    np.testing.assert_array_equal(again.query("text", asked), made.query("text", asked))
    base = target.items["visual"].rows if name.startswith("align") else items["visual"].rows
    np.testing.assert_array_equal(again.items("visual", base), made.items("visual", base))


def small(name: str, arguments: list[float]) -> list[float]:
    """Arguments that fit sixty items of 24 numbers."""
    return {"pca": [8.0], "mrl": [8.0], "whiten": [8.0]}.get(name, arguments)


def test_a_file_that_names_another_class_is_not_followed(tmp_path: Path) -> None:
    for named in ("os:system", "mmretrieval.library:Library", "mmretrieval.transforms.center:fit"):
        folder = tmp_path / named.replace(":", "-")
        folder.mkdir()
        np.savez(folder / "arrays.npz")
        value = {"class": named, "fields": {}}
        (folder / "value.json").write_text(json.dumps({"about": {}, "value": value}))
        assert saved.restore(folder) is None
