"""Overlap and rank-biased overlap against what can be counted by hand."""

from __future__ import annotations

import pytest

from eval.agreement import overlap, rank_biased_overlap


def test_overlap_and_rank_biased_overlap() -> None:
    assert overlap("abcd", "abxy") == 0.5
    assert rank_biased_overlap("abcd", "abcd") == pytest.approx(1.0)
    assert rank_biased_overlap("abcd", "wxyz") == 0.0
    # By hand: agreements 0, 1, 2/3 at depths 1..3 with p = 0.5: 2/3 / 8 + (0/2 + 1/4 + (2/3)/8) = 0.41666...
    assert rank_biased_overlap("abc", "bad", 0.5) == pytest.approx(2 / 3 / 8 + 1 / 4 + 2 / 3 / 8)
    assert rank_biased_overlap((), ()) == 1.0
