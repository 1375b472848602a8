"""What hubness says in words: true at the edges, and silent where noise could have said it."""

from __future__ import annotations

from collections.abc import Mapping

from mmretrieval.diagnostics.sampling import FEW

Numbers = Mapping[str, float | None]
Intervals = Mapping[str, tuple[float, float]]


def sentence(
    asked: str,
    fitted: str,
    q: int,
    n: int,
    k: int,
    titles: Mapping[str, str],
    numbers: Numbers,
    intervals: Intervals,
    left_out: Mapping[str, str],
) -> str:
    """What was found plainly, then which correction lowers it; `titles` are of the corrections tried, by name.

    `asked` says what the questions are, `fitted` what the corrections are fitted on.
    """
    largest, most = (percent(_of(numbers, f"{by}largest_share")) for by in ("", "chance."))
    never, missed = (percent(_of(numbers, f"{by}never_retrieved")) for by in ("", "chance."))
    said = (
        f"Over {asked}, the item found most often is among the first {k} of {largest} of them (chance: about "
        f"{most}), and {never} of the {n} items are never among the first {k} (chance: {missed})"
    )
    low, high = intervals["skewness"]
    skewed = (
        f"skewness {_of(numbers, 'skewness'):.2f}, 95 % interval {low:.2f} to {high:.2f}, chance "
        f"{_of(numbers, 'chance.skewness'):.2f}"
    )
    if hubby(numbers, intervals):
        said += f": some items are hubs, found by more questions than chance would have it ({skewed})."
    elif low > _of(numbers, "chance.skewness"):
        said += f": hubs that the order of equal items makes, and no more than chance could make beside it ({skewed})."
    else:
        said += f": no more hubs than chance could make ({skewed})."
    said += _copies(n, numbers)
    tried = {name: text for name, text in titles.items() if f"{name}.skewness" in numbers}
    said += "".join(f" {text}" for text in _corrected(tried, fitted, numbers, intervals, left_out))
    if q < FEW:
        said += f" With only {q} questions the intervals say little: ask more before you rely on them."
    return said


def hubby(numbers: Numbers, intervals: Intervals) -> bool:
    """Whether the counts are more skewed than chance would make them, beyond the noise of the questions.

    And not by the order of equal items alone: they are so as well where those share their counts, by as much noise.
    """
    low, shared = intervals["skewness"][0], _of(numbers, "skewness_shared")
    return min(low, shared - (_of(numbers, "skewness") - low)) > _of(numbers, "chance.skewness")


def stages(lasting: Mapping[str, str], numbers: Numbers, intervals: Intervals) -> tuple[str, ...]:
    """The corrections to try where there are hubs, the one that lowers skewness most first.

    Those that lower it beyond noise and do not lose right answers beyond noise. `lasting` has stages by name, without
    transductive ones: a search for one query cannot use those.
    """
    if not hubby(numbers, intervals):
        return ()
    helpful = [name for name in lasting if intervals[f"{name}.skewness_change"][1] < 0]
    unharmed = [name for name in helpful if intervals.get(f"{name}.found_change", (0.0, 0.0))[1] >= 0]
    return tuple(lasting[name] for name in sorted(unharmed, key=lambda name: _of(numbers, f"{name}.skewness_change")))


def advice(lasting: Mapping[str, str], numbers: Numbers, intervals: Intervals) -> str:
    """What to do about it, as a sentence; empty where there is nothing to do."""
    if not hubby(numbers, intervals):
        return ""
    if found := stages(lasting, numbers, intervals):
        return (
            f"Try {found[0]}: but fewer hubs are not better answers by themselves, and questions about the same things "
            "rightly find the same items, so prove it on questions held back."
        )
    return "Look at the items found most often: blank, blurred or very general ones come near every question."


def percent(share: float) -> str:
    """A share as a percentage that never rounds to none or all where it is neither."""
    if 0 < share < 0.001:
        return "less than 0.1 %"
    if 0.999 < share < 1:
        return "more than 99.9 %"
    return f"{100 * share:.1f} %" if 0 < share < 0.1 or 0.99 < share < 1 else f"{100 * share:.0f} %"


def _copies(n: int, numbers: Numbers) -> str:
    """A sentence on items with equal vectors, where their order changes the skewness by what is shown of it."""
    own, even = _of(numbers, "skewness"), _of(numbers, "skewness_shared")
    if f"{own:.2f}" == f"{even:.2f}":
        return ""
    return (
        f" {_of(numbers, 'copies'):,.0f} of the {n:,} items have the same vector as another; among equals the first "
        f"id is listed first, which makes hubs of its own (skewness {even:.2f} if equals shared their counts)."
    )


def _corrected(
    titles: Mapping[str, str], fitted: str, numbers: Numbers, intervals: Intervals, left_out: Mapping[str, str]
) -> list[str]:
    """Sentences on the corrections: the one that lowers skewness most, what it does to answers, what was not tried."""
    said = []
    lowered = [name for name in titles if intervals[f"{name}.skewness_change"][1] < 0]
    if titles and not lowered:
        said.append(
            f"No correction tried ({', '.join(titles.values())}; fitted on {fitted}) lowers the skewness beyond noise."
        )
    if lowered:
        best = min(lowered, key=lambda name: _of(numbers, f"{name}.skewness_change"))
        low, high = intervals[f"{best}.skewness_change"]
        after, change = _of(numbers, f"{best}.skewness"), _of(numbers, f"{best}.skewness_change")
        never = percent(_of(numbers, f"{best}.never_retrieved"))
        text = (
            f"Of the corrections tried, {titles[best]} lowers the skewness most, to {after:.2f} "
            f"(by {-change:.2f}, {-high:.2f} to {-low:.2f}), with {never} of the items never found"
        )
        said.append(text + _answers(best, numbers, intervals) + f". Corrections are fitted on {fitted}.")
    raised = [text for name, text in titles.items() if intervals[f"{name}.skewness_change"][0] > 0]
    if raised:
        said.append(f"{' and '.join(raised)} {'raise' if len(raised) > 1 else 'raises'} it.")
    if left_out:
        said.append(f"{', '.join(left_out)} could not be tried: {next(iter(left_out.values()))}.")
    return said


def _answers(name: str, numbers: Numbers, intervals: Intervals) -> str:
    if f"{name}.found_change" not in numbers:
        return ""
    low, high = intervals[f"{name}.found_change"]
    change = _of(numbers, f"{name}.found_change")
    shares = f"{percent(_of(numbers, 'found'))} before and {percent(_of(numbers, f'{name}.found'))} after"
    if low > 0 or high < 0:
        verb = "gains" if change > 0 else "loses"
        return f", and {verb} right answers (a right item among the first: {shares})"
    return f", and changes right answers no more than noise does (a right item among the first: {shares})"


def _of(numbers: Numbers, name: str) -> float:
    value = numbers[name]
    if value is None:
        raise ValueError(f"{name} has no value")
    return value
