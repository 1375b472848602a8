"""What ingests are tried on."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmretrieval.library import Library


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A library without items, of the encoder that needs no weights."""
    return Library.create(tmp_path / "library", ["hashing"])
