"""What diagnostics are given of a dataset: its judged queries, its bank for corrections, generic captions as nulls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from eval.judging import library_folder, shelve
from eval.reading import load
from eval.subjects import of_dataset
from mmretrieval import catalog
from mmretrieval.bank import null_bank
from mmretrieval.geometry import unit
from mmretrieval.types import Content


def test_a_datasets_bank_is_for_corrections_and_generic_captions_are_the_nulls(write: Any, tmp_path: Path) -> None:
    asks = ["a white square on a table", "the calm sea", "a green field"]
    dataset = load(write(bank=[{"id": f"b{i}", "parts": [{"text": said}]} for i, said in enumerate(asks)]))
    folder = library_folder(dataset, tmp_path / "out")
    shelf, _ = shelve(dataset, folder, ["hashing"], own=True, workers=1)
    subject = of_dataset(dataset, shelf, "hashing@visual")
    encoder = catalog.load("hashing")
    banked, nulls = (unit(encoder.encode([Content(text=t) for t in some], "query")) for some in (asks, null_bank()))
    assert subject.reference is not None and subject.nulls is not None
    np.testing.assert_allclose(subject.reference.queries, banked, atol=1e-6)
    np.testing.assert_allclose(subject.nulls, nulls, atol=1e-6)
