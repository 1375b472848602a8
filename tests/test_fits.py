"""Fits on disk: bounded, the last used kept, nothing taken from whoever reads; slow and unkept ones are spoken of."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from kept_fits import add, found, words_library

from mmretrieval import fits, saved
from mmretrieval.engine import Engine
from mmretrieval.fits import Fits, kept_in
from mmretrieval.library import Library
from mmretrieval.recipe import parse
from mmretrieval.spaces import Spaces
from mmretrieval.transforms import TRANSFORMS

BITS = (50, 40, 30, 20, 10)


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return words_library(tmp_path / "l")


@pytest.fixture
def fitted(library: Library) -> Callable[[int], Path]:
    """Fits binary:BITS anew and gives the folder; what was fitted later was used later."""
    clock = iter(range(1_000_000, 2_000_000))

    def fit(bits: int) -> Path:
        before = set(kept_in(library.path))
        found(Engine(library, exact=True), f"hashing@text,binary:{bits}")
        (made,) = set(kept_in(library.path)) - before
        os.utime(made / saved.VALUE, (now := next(clock), now))
        return made

    return fit


def test_the_longest_unused_fits_go_once_there_are_too_many(
    library: Library, fitted: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits, "MOST", 3)
    first, second, third = (fitted(bits) for bits in BITS[:3])
    assert saved.restore(first) is not None  # used again: the second is the oldest now
    fourth = fitted(BITS[3])
    assert set(kept_in(library.path)) == {first, third, fourth} and not second.exists()


def test_the_longest_unused_fits_go_once_they_are_too_large(
    library: Library, fitted: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fitted(BITS[0])
    monkeypatch.setattr(fits, "MOST_BYTES", int(2.5 * saved.size(first)))
    made = [fitted(bits) for bits in BITS[1:]]
    assert first not in kept_in(library.path)
    assert sum(map(saved.size, kept_in(library.path))) <= fits.MOST_BYTES
    assert made[-1] in kept_in(library.path)
    monkeypatch.setattr(fits, "MOST_BYTES", 1)
    last = fitted(60)
    assert kept_in(library.path) == [last], "what was just made is kept, however large"


def test_a_fit_that_somebody_reads_is_left_alone(
    library: Library, fitted: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fits, "MOST", 1)
    first = fitted(BITS[0])
    with (first / saved.VALUE).open("rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        second = fitted(BITS[1])
        assert set(kept_in(library.path)) == {first, second}
    third = fitted(BITS[2])
    assert kept_in(library.path) == [third]


def test_what_a_running_engine_fitted_serves_it_after_it_was_removed(
    library: Library, fitted: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(library, exact=True)
    before = found(engine, "hashing@text,center")
    monkeypatch.setattr(fits, "MOST", 1)
    fitted(BITS[0])
    assert len(kept_in(library.path)) == 1
    assert found(engine, "hashing@text,center") == before


def test_fits_that_an_index_needs_are_kept(
    library: Library, fitted: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert Spaces(library, exact=False).materialise("hashing", parse("hashing@text,center")) == 6
    (needed,) = kept_in(library.path)
    os.utime(needed / saved.VALUE, (1, 1))
    monkeypatch.setattr(fits, "MOST", 1)
    fitted(BITS[0])
    assert needed in kept_in(library.path)


def test_fits_of_an_earlier_target_go_too(tmp_path: Path, second_encoder: str) -> None:
    library = words_library(tmp_path / "l", "hashing", second_encoder)
    found(Engine(library, exact=True), f"hashing@text,align:{second_encoder}")
    (before,) = kept_in(library.path)
    with library.ledger.transaction():  # as when only the target's vectors are made anew
        ident = library.ledger.items_with(library.card(second_encoder).space, "text")[0]
        note_change(library, second_encoder, ident)
    found(Engine(library, exact=True), f"hashing@text,align:{second_encoder}")
    (after,) = kept_in(library.path)
    assert before != after


def note_change(library: Library, encoder: str, ident: str) -> None:
    space = library.card(encoder).space
    library.ledger.connection.execute("INSERT INTO changes (space, item) VALUES (?, ?)", (space, ident))


def test_what_a_killed_process_left_goes_after_a_while(library: Library, fitted: Callable[[int], Path]) -> None:
    old, young = (library.path / fits.FOLDER / name for name in (".a-1.0", ".b-2.0"))
    for left in (old, young):
        left.mkdir(parents=True)
        (left / "arrays.npz").write_bytes(b"half")
    os.utime(old, (1, 1))
    fitted(BITS[0])
    assert young.exists() and not old.exists()
    assert len(kept_in(library.path)) == 1


def test_a_fit_that_cannot_be_kept_is_spoken_of_once(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saved, "save", full)
    with caplog.at_level(logging.WARNING, logger="mmretrieval.fits"):
        for _ in range(3):
            found(Engine(library, exact=True), "hashing@text,center,nnn:3")
    (said,) = [record.getMessage() for record in caplog.records]
    assert "the fit of center could not be kept" in said and "No space left on device" in said
    assert str(library.path / fits.FOLDER) in said and "make room" in said and "writable" in said


@pytest.mark.parametrize("moment", ["while it is sized", "while it is looked at", "when it takes its place"])
def test_what_another_process_removes_meanwhile_is_no_trouble(
    library: Library,
    fitted: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    moment: str,
) -> None:
    first = fitted(BITS[0])
    doomed = first.with_name(".half-written") if moment == "when it takes its place" else first
    doomed.mkdir(exist_ok=True)
    watched = {"while it is sized": first / "arrays.npz", "while it is looked at": first / saved.VALUE}
    stat, gone = Path.stat, False

    def removed_meanwhile(path: Path, **more: bool) -> os.stat_result:
        nonlocal gone
        if gone or path != watched.get(moment, doomed):
            return stat(path, **more)
        gone = True
        told = None if moment == "while it is sized" else stat(path, **more)  # it is there, and then no more
        shutil.rmtree(doomed)
        return told or stat(path, **more)

    monkeypatch.setattr(Path, "stat", removed_meanwhile)
    with caplog.at_level(logging.WARNING, logger="mmretrieval.fits"):
        second = fits_anew(library, BITS[1])
    monkeypatch.undo()
    assert [record.getMessage() for record in caplog.records] == []
    assert gone and not doomed.exists() and second in kept_in(library.path)


def fits_anew(library: Library, bits: int) -> Path:
    before = set(kept_in(library.path))
    found(Engine(library, exact=True), f"hashing@text,binary:{bits}")
    (made,) = set(kept_in(library.path)) - before
    return made


def test_a_fit_is_kept_though_no_room_could_be_made(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def denied(*_: object) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(saved, "size", denied)
    with caplog.at_level(logging.WARNING, logger="mmretrieval.fits"):
        found(Engine(library, exact=True), "hashing@text,center")
    (said,) = [record.getMessage() for record in caplog.records]
    assert "the fit of center is kept" in said and "could not be removed" in said and "Permission denied" in said
    assert len(kept_in(library.path)) == 1


def test_a_slow_fit_says_that_it_goes_on_and_a_quick_one_says_nothing(
    library: Library, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="mmretrieval.fits"):
        found(Engine(library, exact=True), "hashing@text,center")
        assert not caplog.records
        heard = threading.Event()
        handler = logging.Handler()
        handler.emit = lambda record: heard.set()  # type: ignore[method-assign]
        monkeypatch.setattr(fits, "SLOW_SECONDS", 0.01)
        row = TRANSFORMS["binary"]

        def slow(*arguments: object) -> object:
            assert heard.wait(30), "nothing was said while the fit went on"
            return row.run(*arguments)

        monkeypatch.setitem(TRANSFORMS, "binary", replace(row, run=slow))  # type: ignore[arg-type]
        logging.getLogger("mmretrieval.fits").addHandler(handler)
        try:
            found(Engine(library, exact=True), "hashing@text,binary:8")
        finally:
            logging.getLogger("mmretrieval.fits").removeHandler(handler)
    said = [record.getMessage() for record in caplog.records]
    assert said[0].startswith("fitting binary:8 of hashing on 6 vectors: ") and said[0].endswith(" s so far")
    assert said[-1].startswith("binary:8 of hashing was fitted in ")


def test_restoring_says_that_a_fit_is_used(library: Library) -> None:
    found(Engine(library, exact=True), "hashing@text,center")
    (kept,) = kept_in(library.path)
    os.utime(kept / saved.VALUE, (1, 1))
    found(Engine(library, exact=True), "hashing@text,center")
    assert saved.used(kept) > 1
    assert Fits(library).folder(parse("hashing@text,center").transforms[0], (), {"space": "x"}).parent == kept.parent


def test_new_items_make_all_earlier_fits_of_the_library_go(library: Library, fitted: Callable[[int], Path]) -> None:
    for bits in BITS[:3]:
        fitted(bits)
    add(library, ["one more"])
    assert len(kept_in(library.path)) == 3
    found(Engine(library, exact=True), "hashing@text,center")
    assert len(kept_in(library.path)) == 1
