"""`python -m eval diagnose` from outside: its sources, its JSON, its text, its exit codes."""

from __future__ import annotations

import io
import json
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import token_encoder
from rich.console import Console
from typer.testing import CliRunner, Result

from eval import diagnose, diagnosis
from eval.__main__ import app
from eval.diagnosis import Diagnosis, absent, as_json, below_chance, exhibited, figure, measured_on, number_tables
from eval.diagnosis_page import Face, page
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.errors import RetrievalError
from mmretrieval.findings import Exhibit, Finding
from mmretrieval.stages import StageRow

ROOT = Path(__file__).resolve().parents[2]
MEASURED = (
    *("centroid_distance", "centroid_cosine", "pair_cosine", "pair_l2", "alignment"),
    *("uniformity_a", "uniformity_b", "uniformity", "xuniformity", "separability"),
    *(f"components_{share}_{side}" for share in (90, 95, 99) for side in "ab"),
    *("effective_rank_a", "effective_rank_b", "intra_cosine_a", "intra_cosine_b"),
)
ZEROES = [(-0.0, "0.000"), (3e-16, "0.000"), (-3e-16, "0.000"), (0.000042, "0.000042"), (-0.000042, "-0.000042")]
VOLUMES = ("volume_matched_mean", "volume_shuffled_mean", "auc", "own_volume_mean")


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["diagnose", *map(str, arguments)])


def said(result: Result, code: int = 0) -> dict[str, Any]:
    assert result.exit_code == code, result.stderr
    assert len(result.stdout.splitlines()) == 1
    found: dict[str, Any] = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return found


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three files of 80 paired rows, each modality away from the others."""
    chance = np.random.default_rng(0)
    shared = chance.normal(size=(80, 12))
    for i, name in enumerate(("image", "text", "sound")):
        np.save(tmp_path / f"{name}.npy", shared + chance.normal(size=(80, 12)) + 3 * np.eye(12)[i])
    return [tmp_path / f"{name}.npy" for name in ("image", "text", "sound")]


def tiny(subject: Subject, *, seed: int = 0, sample: int | None = 10_000) -> Finding:
    """A finding with a group of numbers, one without a value, and numpy's numbers in its basis."""
    rows = subject.views[subject.searched].rows
    numbers = {"mean": float(rows.mean()), "none": None, "centered.mean": 0.0, "centered.wide": 2.5}
    return Finding(
        "tiny",
        f"The mean over {len(rows)} rows is what it is.",
        numbers,
        intervals={"mean": (-1.0, 1.0), "centered.mean": (-0.5, 0.5)},
        advice="Take the mean off.",
        stages=("center",),
        basis={"n": np.int64(len(rows)), "seed": seed, "sample": sample, "shares": np.array([0.5, 0.5]), "at": (1, 2)},
    )


def elsewhere(subject: Subject, *, seed: int = 0, sample: int | None = 10_000) -> Finding:
    raise RetrievalError("this needs a second encoder: name two in the recipe")


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = {"tiny": StageRow(tiny, "The mean."), "elsewhere": StageRow(elsewhere, "Two encoders.")}
    monkeypatch.setattr(diagnosis, "DIAGNOSTICS", rows)


# --- what is printed -----------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("table")
def test_json_nests_groups_beside_their_own_intervals(files: list[Path]) -> None:
    found = said(call("--vectors", *files, "--json", "--seed", 7, "--sample", "all"))
    assert found["skipped"] == {"elsewhere": "this needs a second encoder: name two in the recipe"}
    mean = found["tiny"].pop("mean")
    assert isinstance(mean, float)
    notes = found["tiny"]["basis"].pop("notes")
    assert "random half" in notes[0]
    assert found["tiny"] == {
        "none": None,
        "centered": {"mean": 0.0, "wide": 2.5, "ci": {"mean": [-0.5, 0.5]}},
        "ci": {"mean": [-1.0, 1.0]},
        "n": 80,
        "seed": 7,
        "sentence": "The mean over 80 rows is what it is.",
        "advice": "Take the mean off.",
        "stages": ["center"],
        "basis": {
            "n": 80,
            "seed": 7,
            "sample": None,
            "shares": [0.5, 0.5],
            "at": [1, 2],
            "source": "image.npy, text.npy, sound.npy",
        },
    }


@pytest.mark.usefixtures("table")
def test_people_read_sentences_numbers_and_advice_on_the_other_stream(files: list[Path]) -> None:
    result = call("--vectors", *files, "--json")
    text = " ".join(result.stderr.split())
    for words in (
        "The mean over 80 rows is what it is.",
        "What to try: Take the mean off. Stages of a recipe: center",
        "Measured on n = 80, seed = 0; brackets",
        "elsewhere: not here. this needs a second encoder: name two in the recipe",
        "[-1.000, 1.000]",
    ):
        assert words in text, words
    without = call("--vectors", *files)
    assert "The mean over 80 rows" in without.stdout and "The mean over" not in without.stderr


@pytest.mark.usefixtures("table")
def test_nan_is_never_written(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Finding("tiny", "A bug.", {"mean": math.nan}, basis={"n": 1, "seed": 0})
    monkeypatch.setitem(diagnosis.DIAGNOSTICS, "tiny", StageRow(lambda *_, **__: broken, ""))
    result = call("--vectors", *files, "--json")
    assert isinstance(result.exception, ValueError)
    assert result.stdout == ""


def test_columns_are_states_of_one_thing_and_keys_are_whole() -> None:
    numbers = {"pair_cosine": 0.82149, "rank_a": 1.0, "centered.pair_cosine": 0.001234, "shift_loss": 2.5}
    labels = {"labels": {"visual": "pictures"}, "a": "visual"}
    found = Finding("gap", ".", numbers | {"shift_best_loss": None}, {"pair_cosine": (0.8, 0.8333)}, basis=labels)
    first, second = number_tables(found)
    assert first.columns == ("as they are", "centred") and first.prefixes == ("", "centered.")
    assert first.rows == (
        ("mean cosine within pairs (-1 to 1)", "pair_cosine", (("0.821", "[0.800, 0.833]"), ("0.0012", ""))),
        ("singular values above 1 of pictures (count)", "rank_a", (("1", ""), ("", ""))),
    )
    # What has no value is in no table, but in a sentence with its key.
    assert second.columns == ("not moved",) and second.prefixes == ("shift_",)
    assert absent(found) == (
        "No value for shift_best_loss: the means coincide, so that there is no gap to move along.",
    )


def test_less_than_chance_is_explained_under_the_numbers_everywhere() -> None:
    less = {
        "separability": (0.98, 1.0),
        "centered.separability": (0.2, 0.27),
        "centered.separability_unseen": (0.5, 0.7),
    }
    found = Finding("gap", "Said.", {name: sum(bounds) / 2 for name, bounds in less.items()}, less)
    (why,) = below_chance(found)
    assert "held-out ones among them" in why and "The row below it" in why
    rows = [key for _, key, _ in number_tables(found)[0].rows]
    assert rows.index("separability_unseen") == rows.index("separability") + 1
    assert below_chance(replace(found, intervals=less | {"centered.separability": (0.4, 0.51)})) == ()
    whole = Diagnosis("x", {"gap": replace(found, basis={"n": 300, "seed": 0})}, {})
    stream = io.StringIO()
    diagnose.tell(Console(file=stream, width=200), whole)
    assert why in " ".join(stream.getvalue().split()) and why.replace("'", "&#x27;") in page(whole)


def test_numbers_that_no_table_knows_stand_by_their_names() -> None:
    (table,) = number_tables(Finding("x", ".", {"a_b": 1.5, "c.d": None, "e.f": 2.0}))
    assert [(label, key) for label, key, _ in table.rows] == [("a b", "a_b"), ("e: f", "e.f")]


def test_many_columns_go_into_several_tables() -> None:
    numbers = {f"{name}skewness": 1.0 for name in ("", "nnn.", "qbnorm.", "csls.", "chance.")}
    tables = number_tables(Finding("hubness", ".", numbers, basis={"k": 10}), beside=3)
    assert [len(table.columns) for table in tables] == [3, 2]
    assert [t.prefixes for t in tables] == [("", "nnn.", "qbnorm."), ("csls.", "chance.")]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0.000"),
        (1.0, "1.000"),
        (-0.5, "-0.500"),
        (37.0, "37"),
        (12345.0, "12,345"),
        (3e-7, "3e-07"),
        *ZEROES,
    ],
)
def test_figures_are_short_and_whole_where_they_are_whole(value: float | None, text: str) -> None:
    assert figure(value) == text


# --- the real diagnostics ------------------------------------------------------------------------------------------


def check_group(found: dict[str, Any], keys: tuple[str, ...]) -> None:
    assert set(keys) <= set(found)
    for key in keys:
        assert found[key] is None or isinstance(found[key], float | int), key
    for key, (low, high) in found["ci"].items():
        assert low - 1e-9 <= found[key] <= high + 1e-9, key


def test_gap_and_gram_have_the_keys_that_programs_rely_on(files: list[Path]) -> None:
    result = call("--vectors", *files, "--only", "gap", "--only", "gram", "--json", "--seed", 5)
    found = said(result)
    assert list(found) == ["gap", "gram", "skipped"] and found["skipped"] == {}
    check_group(found["gap"], MEASURED)
    check_group(found["gap"]["centered"], MEASURED)
    check_group(found["gram"], VOLUMES)
    for finding in (found["gap"], found["gram"]):
        assert (finding["n"], finding["seed"]) == (80, 5)
        assert {"ci", "sentence", "advice", "stages", "basis"} <= set(finding)
    # a is the first file, b the second.
    a, b, c = (np.load(f) / np.linalg.norm(np.load(f), axis=1, keepdims=True) for f in files)
    gap, gram = found["gap"], found["gram"]
    assert gap["centroid_distance"] == pytest.approx(np.linalg.norm(a.mean(0) - b.mean(0)), rel=1e-9)
    assert gap["alignment"] == pytest.approx(((a - b) ** 2).sum(1).mean(), rel=1e-9)
    near = [np.exp(-2 * ((x[:, None] - x[None]) ** 2).sum(-1))[np.triu_indices(80, 1)].mean() for x in (a, b)]
    assert [gap["uniformity_a"], gap["uniformity_b"]] == pytest.approx(list(np.log(near)), rel=1e-9)
    volumes = [np.sqrt(np.linalg.det(m @ m.T)) for m in np.stack([a, b, c], axis=1)]
    assert gram["volume_matched_mean"] == pytest.approx(np.mean(volumes), rel=1e-9)
    own = [np.sqrt(np.linalg.det(m @ m.T)) for m in np.stack([b, c], axis=1)]
    assert gram["own_volume_mean"] == pytest.approx(np.mean(own), rel=1e-9)


def test_two_files_have_no_own_volume_and_a_second_run_says_the_same(files: list[Path]) -> None:
    first = said(call("--vectors", *files[:2], "--only", "gram", "--json"))
    assert first["gram"]["own_volume_mean"] is None
    assert said(call("--vectors", *files[:2], "--only", "gram", "--json")) == first


def test_all_diagnostics_run_or_say_why_not(files: list[Path]) -> None:
    found = said(call("--vectors", *files, "--json"))
    skipped = found.pop("skipped")
    assert set(found) | set(skipped) == set(diagnosis.DIAGNOSTICS)
    assert {"gap", "gram", "hubness"} <= set(found)
    assert all(reason.strip() for reason in skipped.values())
    assert "agreement" in skipped
    for name, finding in found.items():
        assert finding["sentence"].endswith("."), name
        assert {"n", "seed", "ci", "advice", "stages", "basis"} <= set(finding), name


def test_a_dataset_and_its_library_are_diagnosed_with_their_captions(write: Any, tmp_path: Path) -> None:
    out, page = tmp_path / "runs", tmp_path / "page.html"
    options = ("--recipe", "hashing", "--only", "gap", "--json")
    found = said(call("--dataset", write(), "--out", out, "--workers", 1, "--html", page, *options))
    assert found["gap"]["n"] == 4
    assert "5 entries, 2 judged" not in found["gap"]["basis"]["notes"][0]
    assert "dataset tiny: 5 entries" in found["gap"]["basis"]["notes"][0]
    assert "a red square" in page.read_text(encoding="utf-8")
    (library,) = (out / ".libraries").iterdir()
    again = said(call("--library", library, *options))
    assert again["gap"]["centroid_distance"] == found["gap"]["centroid_distance"]


def test_two_files_are_two_encoders_where_agreement_is_asked_for(files: list[Path]) -> None:
    wide = files[0].with_name("wide.npy")
    np.save(wide, np.concatenate([np.load(files[0]), np.random.default_rng(1).normal(size=(80, 5))], axis=1))
    result = call("--vectors", files[0], wide, "--only", "agreement", "--json")
    found = said(result)["agreement"]
    assert found["n"] == 80 and found["basis"]["spaces"] == ["image.npy", "wide.npy"]
    assert found["stages"] == []  # files have no recipe
    a, b = (np.load(f) for f in (files[0], wide))
    near = []
    for rows in (a, b):
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        cosines = unit @ unit.T
        np.fill_diagonal(cosines, -np.inf)
        near.append(np.argsort(-cosines, axis=1)[:, :10])
    shared = np.mean([len(set(x) & set(y)) / 10 for x, y in zip(*near, strict=True)])
    assert found["a"]["mutual_knn"] == pytest.approx(shared, abs=1e-9)
    both = said(call("--vectors", *files[:2], "--only", "agreement", "--only", "gap", "--json"))
    assert both["gap"]["n"] == both["agreement"]["n"] == 80
    three = call("--vectors", *files, "--only", "agreement")
    assert three.exit_code == 1 and "give two" in three.stderr
    other = call("--vectors", files[0], wide, "--only", "gap")
    assert other.exit_code == 1 and "--only agreement" in other.stderr


def test_refusals_of_files_name_nothing_that_files_lack(tmp_path: Path) -> None:
    given = [tmp_path / "image.npy", tmp_path / "words.npy"]
    some, all_rows = np.zeros((12, 6)), np.random.default_rng(0).normal(size=(12, 6))
    some[0, 0] = 1
    for rows in ((some, all_rows), (all_rows[:5], all_rows[1:6])):
        for file, array in zip(given, rows, strict=True):
            np.save(file, array)
        skipped = json.loads(call("--vectors", *given, "--json").stdout)["skipped"]
        alone = call("--vectors", *given, "--only", "agreement").stderr
        for name, reason in {**skipped, "agreement": alone}.items():
            assert not re.search(r"caption|librar|dataset|document|add |\ba a\b|\b1 items|\ba view", reason), (
                name,
                reason,
            )
            assert "give files of more rows" in reason, (name, reason)


def test_a_file_that_asks_is_not_compared_with_itself(files: list[Path]) -> None:
    found = said(call("--vectors", *files, "--only", "calibration", "--json"))["calibration"]
    assert "caption_a" in found and "caption_c" in found and "caption_b" not in found
    assert found["mixed_caption"]["hit"] < 1.0


def test_items_are_told_by_their_words_and_files() -> None:
    table = Exhibit("Odd", ("cosine", "class"), ((("i1", "i2"), (0.51234, "x")), (("i3",), (0.25, ""))))
    seen = {"i1": Face("a red square (red.png)"), "i2": Face(f"{'long ' * 40}(blue.png)")}
    lines = exhibited(table, lambda ids: {i: seen[i] for i in ids if i in seen}, 4)
    assert lines[0].startswith("a red square (red.png) | long long") and "(blue.png): cosine 0.512, class x" in lines[0]
    assert lines[1] == "i3: cosine 0.250" and len(lines[0]) < 140
    assert len(exhibited(table, None, 1)) == 1


def test_what_was_measured_on_says_what_was_left_out() -> None:
    assert measured_on({"n": 5, "of": 5, "seed": 1, "sample": 10}) == "n = 5, seed = 1"
    assert measured_on({"n": 5, "of": 8, "seed": 1, "sample": 5}) == "n = 5 of 8, seed = 1, at most 5 drawn"


def test_a_recipe_is_echoed_as_it_was_typed(write: Any, tmp_path: Path) -> None:
    result = call("--dataset", write(), "--out", tmp_path, "--workers", 1, "--recipe", "hashing", "--only", "gap")
    assert result.stdout.startswith("Diagnosis of hashing on ") and "hashing is short for hashing@all" in result.stdout
    assert ",sum" not in result.stdout


def test_what_of_a_recipe_is_not_looked_at_is_said(write: Any, tmp_path: Path) -> None:
    def noted(recipe: str) -> list[str]:
        given = ("--dataset", write(), "--out", tmp_path, "--workers", 1, "--only", "gap", "--recipe", recipe)
        return said(call(*given, "--json"))["gap"]["basis"]["notes"][1:]

    left = "corrections, fusers and rerankers change scores and lists, which have no part in the geometry: "
    assert noted("hashing@visual,csls,gram:5") == [f"{left}csls, gram:5 left out"]
    assert noted("hashing,center,nnn") == ["hashing,center is short for hashing@all,center", f"{left}nnn left out"]
    assert noted("hashing@visual+hashing@text") == [
        "hashing@text is left out: another view of the first encoder is the same space"
    ]
    compare = "agreement and calibration compare hashing@visual with lite-0@visual; all others look at the first alone"
    assert noted("hashing@visual+lite-0@visual+lite-conse@visual") == [
        "lite-conse@visual is left out: two encoders are compared, not more",
        compare,
    ]


def test_pairs_can_be_drawn_by_umap(files: list[Path], tmp_path: Path) -> None:
    given = ("--vectors", *files[:2], "--only", "gap", "--html", tmp_path / "page.html")
    found = said(call(*given, "--projection", "umap", "--json"))["gap"]
    assert found["basis"]["projection"] == "umap"
    assert "UMAP axis 1" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert said(call(*given, "--json"))["gap"]["basis"]["projection"] == "pca"


def test_an_error_is_the_last_that_is_said(files: list[Path]) -> None:
    result = call("--vectors", files[0], "--only", "gap", "--only", "agreement", "--vectors", files[1], files[2])
    assert result.exit_code == 1 and result.stderr.rstrip().splitlines()[-1].startswith("error: ")


@pytest.fixture
def late(tmp_path: Path) -> Iterator[None]:
    """A late-interaction encoder in the catalogue."""
    with token_encoder.registered(tmp_path):
        yield


@pytest.mark.usefixtures("late")
@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ("hashing@joint", "hashing@joint: hashing makes no joint view, only visual, text"),
        (f"{token_encoder.NAME}@visual", "gives several vectors for each item, and a diagnostic compares one"),
        ("bm25", "bm25 compares words, and a diagnostic compares vectors"),
        ("hashing@visual+hashing@text", "two views of one encoder are the same vectors"),
        ("", "names no encoder"),
    ],
)
def test_a_recipe_that_cannot_be_looked_at_is_refused_in_words(
    write: Any, tmp_path: Path, recipe: str, says: str
) -> None:
    out = tmp_path / "runs"
    result = call("--dataset", write(), "--out", out, "--workers", 1, "--recipe", recipe, "--only", "agreement")
    assert result.exit_code in (1, 2) and isinstance(result.exception, SystemExit)
    assert says in " ".join(result.stderr.split())
    # What the encoder's card tells is told before the dataset is read.
    assert out.exists() == (recipe == "hashing@visual+hashing@text")


# --- wrong usage, bad data -----------------------------------------------------------------------------------------


def test_the_command_as_it_is_typed(files: list[Path]) -> None:
    command = [sys.executable, "-m", "eval", "diagnose", "--vectors", *map(str, files), "--only", "gap", "--json"]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["gap"]["basis"]["source"] == "image.npy, text.npy, sound.npy"


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    "spelled",
    [
        lambda a, b: ["--vectors", a, b, "--json"],
        lambda a, b: [f"--vectors={a}", b, "--json"],
        lambda a, b: ["--json", "--vectors", a, "--vectors", b],
        lambda a, b: ["--vectors", a, b, "--only", "tiny", "--json"],
    ],
)
def test_several_files_after_one_option(files: list[Path], spelled: Any) -> None:
    assert said(call(*spelled(*files[:2])))["tiny"]["basis"]["source"] == "image.npy, text.npy"


@pytest.mark.usefixtures("table")
def test_wrong_usage_is_2_and_says_what_to_do(files: list[Path], tmp_path: Path) -> None:
    image, text, _ = files
    for arguments, words in (
        ((), "exactly one of"),
        (("--vectors", image, text, "--library", tmp_path), "--library and --vectors"),
        (("--vectors", image), "two or more files"),
        (("--vectors",), "requires an argument"),
        ((image, text), "unexpected extra argument"),
        ((image, "--vectors", text, image), "unexpected extra argument"),
        (("--vectors", image, tmp_path / "none.npy"), "does not exist"),
        (("--vectors", image, text, "--recipe", "lite"), "no encoder"),
        (("--vectors", image, text, "--only", "tinny"), "Did you mean 'tiny'"),
        (("--vectors", image, text, "--sample", "some"), "'all'"),
        (("--vectors", image, text, "--sample", "0"), "'all'"),
        (("--vectors", image, text, "--seed", "-1"), "greater than or equal to 0"),
        (("--vectors", image, text, "--html", tmp_path), "is a directory"),
        (("--vectors", image, text, "--html", image / "page.html"), "cannot be written"),
    ):
        result = call(*arguments)
        assert result.exit_code == 2, (arguments, result.stderr)
        assert words in " ".join(result.stderr.replace("│", " ").split()), (words, result.stderr)
        assert result.stdout == ""


@pytest.mark.usefixtures("table")
def test_bad_data_is_1(files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image, text, _ = files
    np.save(tmp_path / "other.npy", np.zeros((7, 12)))
    (tmp_path / "words.npy").write_text("no array")
    (tmp_path / "empty").mkdir()
    for arguments, words in (
        (("--vectors", image, tmp_path / "other.npy"), "(7, 12)"),
        (("--vectors", image, tmp_path / "words.npy"), "no .npy file"),
        (("--vectors", image, text, "--only", "elsewhere"), "second encoder"),
        (("--library", tmp_path / "empty"), "library"),
    ):
        result = call(*arguments, "--json")
        assert result.exit_code == 1, (arguments, result.stderr)
        assert words in result.stderr and result.stdout == ""
    monkeypatch.delitem(diagnosis.DIAGNOSTICS, "tiny")
    assert list(said(call("--vectors", image, text, "--json"), code=1)) == ["skipped"]


def test_a_finding_without_groups_has_one_ci() -> None:
    found = as_json(Finding("x", "One.", {"a": 1.0}, {"a": (0.5, 1.5)}, basis={"n": 3, "seed": 0}))
    assert found["ci"] == {"a": [0.5, 1.5]} and "centered" not in found
    json.dumps(asdict(Finding("x", "One.", {"a": 1.0})), allow_nan=False)
