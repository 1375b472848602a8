"""`python -m models bench`: what is measured, against what, and in which form it is told. No time is judged."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mmretrieval.errors import DatasetError, EncoderError
from mmretrieval.types import Content
from models import bench
from models.__main__ import LIBRARY, SAMPLES, main

ROOT = Path(__file__).resolve().parents[2]
PROMISED = {
    "encoder", "runtime", "images_per_s", "plain_images_per_s", "texts_per_s", "plain_texts_per_s",
    "text_query_ms", "plain_text_query_ms", "min_cosine", "peak_rss_mb",
}  # fmt: skip
FURTHER = {
    "picture_query_ms", "plain_picture_query_ms", "median_cosine", "n", "versions", "threads", "cpu", "precision",
}  # fmt: skip


@pytest.fixture(scope="module")
def samples() -> bench.Samples:
    return bench.read_samples(SAMPLES, 4)


def test_samples_are_real_pictures_with_their_captions_spread_over_all_folders() -> None:
    found = bench.read_samples(SAMPLES, 64)
    assert len(found.pictures) == len(found.captions) == len(set(found.pictures)) == 64
    assert {p.relative_to(SAMPLES).parts[0] for p in found.pictures} == {"photos", "pictures"}
    assert all(caption.strip() for caption in found.captions)
    with Image.open(found.pictures[0]) as picture:
        assert min(picture.size) > 1
    with pytest.raises(DatasetError, match="ask for no more"):
        bench.read_samples(SAMPLES, 100_000)


def test_cosines_are_those_of_rows_in_pairs() -> None:
    left = np.array([[3, 4], [1, 0], [0, 2]], dtype=np.float32)
    right = np.array([[6, 8], [0, 1], [0, -1]], dtype=np.float32)
    np.testing.assert_allclose(bench.cosines(left, right), [1, 0, -1])
    with pytest.raises(EncoderError, match="rows of"):
        bench.cosines(left, right[:2])


def test_agreement_takes_the_worst_and_the_median_of_all_modalities() -> None:
    unit = np.eye(3, dtype=np.float32)
    turned = np.array([[1, 0, 0], [0, 0.8, 0.6], [0, 0, 1]], dtype=np.float32)
    told = bench._agreement({"": {"image": unit, "text": unit}, "plain_": {"image": turned, "text": unit}})
    assert told["min_cosine"] == told["min_cosine_image"] == pytest.approx(0.8)
    assert told["median_cosine"] == told["min_cosine_text"] == 1
    assert bench._agreement({"": {"text": unit}})["min_cosine"] is None


def test_a_speed_up_is_the_median_of_rounds_compared_with_themselves() -> None:
    assert bench._ratio([4.0, 40.0, 6.0], [2.0, 10.0, 2.0]) == 3
    assert bench._ratio([1.0], [4.0]) == 0.25


# --- processes -----------------------------------------------------------------------------------------------------


def absent() -> Any:
    raise EncoderError("its weights are not here")


def exits() -> Any:
    os._exit(7)


@pytest.fixture
def worker(samples: bench.Samples) -> Iterator[bench.Worker]:
    made = bench.Worker(functools.partial(bench.fast_way, LIBRARY, "hashing"), samples, threads=1)
    yield made
    made.close()


def test_a_process_answers_what_it_measured(worker: bench.Worker, samples: bench.Samples) -> None:
    assert worker.facts["kinds"] == ["image", "text"]
    assert (worker.facts["n"], worker.facts["threads"]) == (4, 1)
    rows = worker.ask("rows", "text")
    expected = LIBRARY["embed"](LIBRARY["load"]("hashing"), [Content(text=c) for c in samples.captions], "item")
    np.testing.assert_array_equal(rows, expected)
    assert worker.ask("many", "image") > 0
    assert worker.ask("single", ("text", 9)) > 0
    assert 20 < worker.ask("peak_mb") < 4000


def test_what_goes_wrong_in_a_process_is_told_in_the_one_that_asked(
    worker: bench.Worker, samples: bench.Samples
) -> None:
    with pytest.raises(EncoderError, match="KeyError"):
        worker.ask("rows", "sound")
    with pytest.raises(EncoderError, match="weights are not here"):
        bench.Worker(absent, samples, None)
    with pytest.raises(EncoderError, match="ended with 7"):
        bench.Worker(exits, samples, None)


def test_the_command_ends_with_the_promised_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "hashing", "--pictures", "3", "--seconds", "0", "--threads", "1", "--json"]) == 0
    printed = capsys.readouterr()
    (row,) = json.loads(printed.out.splitlines()[-1])["rows"]
    assert set(row) >= PROMISED | FURTHER
    assert row["encoder"] == "hashing"
    assert (row["n"], row["rounds"], row["threads"]) == (3, bench.ROUNDS_AT_LEAST, 1)
    assert row["plain_images_per_s"] is row["min_cosine"] is None  # there is nothing plainer than itself
    assert row["plain"] == "none: no plain way is written down for it"
    assert row["images_per_s"] > 0
    assert "pictures" in printed.err
    assert printed.out.count("\n") == 1


def test_lite_is_measured_against_its_plain_way_and_agrees_with_it() -> None:
    """As a user starts it: processes that measure must find their functions from there too."""
    command = [sys.executable, "-m", "models", "bench", "lite-0", "--pictures", "2", "--seconds", "0", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout.splitlines()[-1])["rows"]
    assert all(row[key] is not None for key in PROMISED | FURTHER)
    assert row["min_cosine"] > 0.9999
    assert row["median_cosine"] >= row["min_cosine"]
    assert "OpenVINO" in row["runtime"]
    assert row["versions"]["torch"] != "not installed"
    assert row["plain_images_per_s"] > 0


@pytest.mark.parametrize("wrong", [["bench", "lyte"], ["bench", "hashing", "--pictures", "99999"]])
def test_what_cannot_be_measured_is_an_error_without_a_traceback(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(wrong) == 2
    assert "error:" in capsys.readouterr().err


def test_an_encoder_that_cannot_be_loaded_costs_only_its_own_row(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "clip-b32", "hashing", "--pictures", "2", "--seconds", "0", "--json"]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    told = json.loads(printed.out)
    assert [row["encoder"] for row in told["rows"]] == ["hashing"]
    assert set(told["failed"]) == {"clip-b32"}
    assert "error: clip-b32: " in printed.err


def test_counts_are_whole_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "hashing", "--pictures", "0"])
    assert "whole number" in capsys.readouterr().err
