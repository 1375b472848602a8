"""What the diagnostic `gram` says in words, and what it advises to try."""

from __future__ import annotations

from collections.abc import Mapping

from mmretrieval.diagnostics.sampling import FEW, caution

Numbers = Mapping[str, float | None]
Intervals = Mapping[str, tuple[float, float]]
Names = Mapping[str, tuple[str, ...]]

# A rank correlation weaker than this is no reason to change a recipe.
STRONG = 0.3
# A tenth of few items is not quite a tenth, and takes up to so much of the first places when nobody is favoured; from
# the second share on a tenth takes too much.
FAIR, TOO_MUCH = 0.15, 0.3


def sentence(numbers: Numbers, intervals: Intervals, names: Names, sizes: Mapping[str, int], ranking: str = "") -> str:
    """What volumes tell apart, what they do not see, and whom they favour; `ranking` says who ranks all items."""
    said = [
        _apart(numbers, intervals, prefix, names[which], sizes[which])
        for which, prefix in (("own", ""), ("questions", "questions."))
        if names[which]
    ]
    said += [_opposites(numbers), _favoured(numbers, intervals, ranking)]
    fewest = min(sizes[which] for which in names if names[which])
    return " ".join(part for part in said if part) + caution(fewest)


def advice(
    numbers: Numbers, intervals: Intervals, names: Names, sizes: Mapping[str, int]
) -> tuple[str, tuple[str, ...]]:
    """A sentence on what to try next, and the stages that it names."""
    which = "questions" if names["questions"] else "own"
    prefix = "questions." if names["questions"] else ""
    if sizes[which] < FEW:
        return "So few say nothing of what would help: add items, or questions, first.", ()
    if _prior_is_strong(numbers, intervals):
        return _against_the_prior(numbers, intervals, prefix)
    if len(names[which]) == 2:
        return (
            "Two vectors leave volume nothing to add: gram and span need items with two views beside the query.",
            (),
        )
    low, high = intervals[f"{prefix}auc_gain"]
    if low > 0:
        return "Try gram:100: here the volume tells more than the mean cosine does.", ("gram:100",)
    if high < 0:
        return "Stay with cosine: here the volume tells less than the mean cosine does.", ()
    return "Nothing here says that volume tells more, or less, than the mean cosine: evaluate gram:100 to know.", ()


def _against_the_prior(numbers: Numbers, intervals: Intervals, prefix: str) -> tuple[str, tuple[str, ...]]:
    by_sine, by_volume = (numbers[f"prior.{ranking}_tenth"] or 0.0 for ranking in ("sine", "volume"))
    if by_sine >= by_volume:
        return (
            "Volume and sine both favour items by their own volume: compare gram:100 and span:100 with the plain "
            "recipe before using either.",
            (),
        )
    said = (
        "Try span:100 rather than gram:100: the sine to an item's span leaves out the own volume, which wins places "
        "whatever is asked"
    )
    if intervals.get(f"{prefix}sine_gain", (0.0, 0.0))[1] < 0:
        said += "; and evaluate it, for the mean cosine tells matched from shuffled better than either"
    return f"{said}.", ("span:100",)


def _apart(numbers: Numbers, intervals: Intervals, prefix: str, names: tuple[str, ...], n: int) -> str:
    first, rest = names[0], " and ".join(names[1:])
    low, high = intervals[f"{prefix}auc"]
    share = (
        f"{_percent(numbers[f'{prefix}auc'])} of comparisons (95 % interval {low:.0%} to {high:.0%}; 50 % is chance)"
    )
    if prefix:
        said = f"For {n} {first}, the volume with the {rest} of an item that answers is smaller than with another "
    else:
        said = f"Over {n} items, the volume of an item's {first} with its own {rest} is smaller than with another "
    said += f"item's in {share}"
    if low <= 0.5 <= high:
        said += ", which is no different from chance"
    said += f"; the mean cosine tells them apart in {_percent(numbers[f'{prefix}auc_cosine'])}"
    if len(names) == 2:
        return (
            f"{said}. With two vectors the volume is |sin| of their angle: it holds no more than their cosine, and "
            "cannot tell agreement from opposition."
        )
    return f"{said}, the sine to the item's span in {_percent(numbers[f'{prefix}auc_sine'])}."


def _opposites(numbers: Numbers) -> str:
    return (
        f"A query turned to its opposite keeps its volume, and passes for a match in {_percent(numbers['flip.auc'])} "
        f"of comparisons; where what opposes the query comes last, as in gram and span, in "
        f"{_percent(numbers['flip.auc_guarded'])}."
    )


def _favoured(numbers: Numbers, intervals: Intervals, ranking: str) -> str:
    value, tenth = numbers.get("prior.volume_spearman"), numbers.get("prior.volume_tenth")
    if value is None:
        return ""
    low, high = intervals["prior.volume_spearman"]
    facts = (
        f"the rank correlation of own volume with how often an item is found is {value:.2f} ({low:.2f} to {high:.2f}) "
        f"by volume, {_number(numbers['prior.sine_spearman'])} by sine and "
        f"{_number(numbers['prior.cosine_spearman'])} by cosine"
    )
    if tenth is not None:
        facts += (
            f", and the tenth of items with the smallest own volume takes {tenth:.0%} of the first places by volume, "
            f"{_percent(numbers['prior.sine_tenth'])} by sine and {_percent(numbers['prior.cosine_tenth'])} by cosine"
        )
    if _favours(intervals):
        return f"{ranking}Whatever is asked, volume favours items whose own views nearly coincide: {facts}."
    if low > 0:
        return f"{ranking}Volume finds items more often whose own views lie apart: {facts}."
    return f"{ranking}Own volume says nothing sure of how often an item is found: {facts}."


def _favours(intervals: Intervals) -> bool:
    """Whether items of small own volume are found more often, by either sign of it, beyond chance."""
    return intervals["prior.volume_spearman"][1] < 0 or intervals.get("prior.volume_tenth", (0.0, 0.0))[0] > FAIR


def _prior_is_strong(numbers: Numbers, intervals: Intervals) -> bool:
    value, tenth = numbers.get("prior.volume_spearman"), numbers.get("prior.volume_tenth")
    # A few items that take every place leave the rest equal, and a rank correlation small.
    strong = (value is not None and value <= -STRONG) or (tenth is not None and tenth >= TOO_MUCH)
    return value is not None and strong and _favours(intervals)


def _percent(value: float | None) -> str:
    return "none" if value is None else f"{value:.0%}"


def _number(value: float | None) -> str:
    # No minus before 0.00.
    return "none" if value is None else f"{round(value, 2) + 0.0:.2f}"
