"""What the diagnostic `gap` says in words, and what it advises to try."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmretrieval.diagnostics.sampling import caution

Values = Mapping[str, float | None]
Intervals = Mapping[str, tuple[float, float]]
Labels = tuple[str, str]

# Vectors nearer than this are the same, but for rounding.
SAME = 1e-6
# What a classifier of two kinds has right that knows nothing.
CHANCE = 0.5
# Why it can have less right than chance.
BELOW = (
    "comes of means that were made equal over all items, held-out ones among them, so that what is left of one part "
    "points away from the other's; it is no sign of a gap"
)
BELOW_CENTRED = (
    f"Centred, a linear classifier gets less of the held-out vectors right than the 0.5 of chance. That {BELOW}. "
    "The row below it takes their own means off the held-out pairs, and 0.5 is chance there."
)
# Recall at 10 among fewer pairs than this says nothing.
ENOUGH = 100
STILL = "That the means lie apart does not say that retrieval suffers: only an evaluation does."


def sentence(n: int, labels: Labels, numbers: Values, intervals: Intervals) -> str:
    """How far apart the two lie, what that is worth, and what is left of it after centring."""
    a, b = labels
    if _number(numbers, "pair_l2") <= SAME:
        return f"Over {n} items, {a} and {b} have the same vectors: there is no gap between them.{caution(n)}"
    low, high = intervals["centroid_distance_corrected"]
    apart = low > 0
    if apart:
        said = (
            f"Over {n} items with both, the means of the unit vectors of {a} and of {b} lie "
            f"{_decimal(numbers, 'centroid_distance_corrected')} apart (95 % interval {low:.2f} to {high:.2f}, what "
            f"sampling noise adds taken off; 0 is no gap, 2 the most possible)"
        )
    else:
        said = (
            f"Over {n} items with both, the means of the unit vectors of {a} and of {b} are no further apart than "
            f"sampling noise would put them (less that noise their distance is 0, and by a 95 % interval "
            f"{f'at most {high:.2f}' if high >= 0.005 else 'less than 0.005'}; 2 is the most possible)"
        )
    said += (
        f"; {_classified(numbers, intervals)}. The mean cosine is {_decimal(numbers, 'pair_cosine')} within pairs and "
        f"{_decimal(numbers, 'mixed_cosine')} across mixed-up ones: how far these two differ is what makes pairs "
        "findable."
    )
    return f"{said} {_after(numbers, intervals, apart)}{f' {STILL}' if apart else ''}{caution(n)}"


def _classified(numbers: Values, intervals: Intervals, name: str = "separability") -> str:
    """What a linear classifier sees, and what it means where that is no more than chance, or less."""
    share, (low, high) = _percent(numbers, name), intervals[name]
    if low > CHANCE:
        return f"a linear classifier gives {share} of held-out vectors to the right kind (50 % is chance)"
    if high >= CHANCE:
        return (
            f"a linear classifier is not shown to tell the kinds apart ({share} of held-out vectors right, 95 % "
            f"interval {low:.0%} to {high:.0%}; 50 % is chance)"
        )
    return (
        f"a linear classifier cannot tell the kinds apart: it is right for {share} of held-out vectors. That this is "
        f"less than the 50 % of chance {BELOW}"
    )


def _after(numbers: Values, intervals: Intervals, apart: bool) -> str:
    if numbers["centered.pair_cosine"] is None:
        return "With each kind's mean taken off nothing is left to compare: one of them, or both, points one way only."
    cosines = (
        f"{_decimal(numbers, 'centered.pair_cosine')} within pairs and {_decimal(numbers, 'centered.mixed_cosine')} "
        "across mixed-up ones"
    )
    if not apart:
        return f"Taking each kind's mean off leaves cosines of {cosines}."
    unseen = "centered.separability_unseen"
    seen = (
        "still tells the kinds apart"
        if intervals[unseen][0] > CHANCE
        else "is not shown to tell the kinds apart any more"
    )
    return (
        f"With each kind's mean taken off, that distance is closed by construction, and the classifier, which sees "
        f"little else, {seen} ({_percent(numbers, unseen)} right, held-out vectors having means of their own; 50 % is "
        f"chance); the mean cosine is then {cosines}."
    )


def advice(pairs: int, labels: Labels, numbers: Values, intervals: Intervals) -> dict[str, Any]:
    """What to try next, in a sentence, and the stages that it names; `pairs` are those that were shifted."""
    if _number(numbers, "pair_l2") <= SAME or intervals["centroid_distance_corrected"][0] <= 0:
        return {
            "advice": "There is no gap to close: if retrieval disappoints, look at hubness and at the scores "
            "(calibration) instead.",
            "stages": (),
        }
    if numbers["centered.pair_cosine"] is None:
        return {
            "advice": "Vectors of one kind, or of both, are all the same, and no transform can part what is the same: "
            "look at the files and at the encoder first.",
            "stages": (),
        }
    said = _closing(labels, numbers, intervals) if pairs >= ENOUGH else ""
    return {
        "advice": f"{said}Try center, which takes each kind's mean off, or gapshift:1, which moves the two together, "
        "and compare recall with and without: a gap that is closed is no gain by itself.",
        "stages": ("center", "gapshift:1"),
    }


def _closing(labels: Labels, numbers: Values, intervals: Intervals) -> str:
    """What closing the gap by shifting did on these pairs."""
    before = sum(_number(numbers, f"shift_recall_10_{side}") for side in "ab") / 2
    after = sum(_number(numbers, f"shift_closed_recall_10_{side}") for side in "ab") / 2
    low, high = intervals["shift_closed_recall_change"]
    if low > 0:
        verdict = "which is a gain"
    elif high < 0:
        verdict = "which is a loss"
    else:
        verdict = "which is no change that these pairs can show"
    return (
        f"Moved along the gap until the means meet, {labels[0]} and {labels[1]} find each other with recall@10 of "
        f"{after:.3f} instead of {before:.3f} (95 % interval of the change {low:+.3f} to {high:+.3f}), {verdict}. "
    )


def _decimal(numbers: Values, name: str) -> str:
    """Two decimals, and no minus before 0.00."""
    return f"{round(_number(numbers, name), 2) + 0.0:.2f}"


def _percent(numbers: Values, name: str) -> str:
    """A share in whole per cent; almost all is not all."""
    value = _number(numbers, name)
    return "almost 100%" if 0.995 <= value < 1.0 else f"{value:.0%}"


def _number(numbers: Values, name: str) -> float:
    value = numbers[name]
    return float("nan") if value is None else value
