"""What `calibration` says in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mmretrieval.diagnostics.sampling import caution

if TYPE_CHECKING:
    from mmretrieval.diagnostics.calibration import Group, Mix
    from mmretrieval.diagnostics.subject import Subject

# The first places of a list, which people look at.
K = 10
# A view's share of the first places is said to be off from so far on.
FAR = 0.1
# The kind of question that is spoken of, in order of what people ask.
KINDS = ("text", "composed", "image", "caption")


def sentence(
    groups: Sequence[Group],
    mixes: Sequence[Mix],
    numbers: Mapping[str, float | None],
    intervals: Mapping[str, tuple[float, float]],
) -> str:
    group = min(groups, key=lambda g: KINDS.index(g.kind) if g.kind in KINDS else len(KINDS))
    low, high = intervals[f"{group.name}.auc"]
    even = numbers[f"{group.name}.even"]
    least, most = intervals.get(f"{group.name}.even", (0.0, 0.0))
    more = (
        f"one of the first {K} answers is more likely relevant than not from a score of {even:.2f} on "
        f"({least:.2f} to {most:.2f})"
        if even is not None
        else "from which score on an answer is more likely relevant than not cannot be said from these"
    )
    said = (
        f"Over {len(group.asked)} {group.called}, a relevant item scores higher by {group.label} than an "
        f"irrelevant one in {numbers[f'{group.name}.auc_within']:.1%} of comparisons within a question and in "
        f"{numbers[f'{group.name}.auc']:.1%} across questions (95 % interval {low:.1%} to {high:.1%}; 50 % is "
        f"chance); {more}."
    )
    mixed = [_of_mix(mix, group, numbers) for mix in mixes if not mix.rival and mix.kind == group.kind]
    return " ".join([said, *mixed]) + caution(len(group.asked))


def _of_mix(mix: Mix, group: Group, numbers: Mapping[str, float | None]) -> str:
    view = _farthest(mix, numbers)
    label = mix.labels[mix.names.index(view)]
    share, due = numbers[f"{mix.group}.{view}_share"], numbers[f"{mix.group}.{view}_expected"]
    after = numbers.get(f"{mix.group}.{view}_share_centred")
    centred = f", and {after:.0%} after mean-centring" if after is not None else ""
    return (
        f"In one list of all views, {share:.0%} of the first {K} answers to {group.called} are {label}, which are "
        f"{due:.0%} of what is listed{centred}."
    )


def _farthest(mix: Mix, numbers: Mapping[str, float | None]) -> str:
    """The view whose share of the first places is farthest from its share of the rows; of two, words or the last."""

    def off(view: str) -> float:
        share, due = numbers[f"{mix.group}.{view}_share"], numbers[f"{mix.group}.{view}_expected"]
        return 0.0 if share is None or due is None else round(abs(share - due), 9)

    return max(reversed(mix.names), key=lambda view: (off(view), view == "text"))


def without_nulls(spaces: Sequence[Subject]) -> tuple[str, ...]:
    """Why the scores of generic captions are not shown for these spaces, in a sentence; none for no space."""
    if not spaces:
        return ()
    reason = (
        "files of vectors bring no encoder that could read them"
        if all(space.of_files for space in spaces)
        else "none have a vector here, as where an encoder reads no words"
    )
    named = _listed([space.name or "this space" for space in spaces])
    return (f"How generic captions score, written with no item in mind, is not shown for {named}: {reason}.",)


def advice(
    groups: Sequence[Group],
    mixes: Sequence[Mix],
    numbers: Mapping[str, float | None],
    intervals: Mapping[str, tuple[float, float]],
) -> tuple[str, tuple[str, ...]]:
    """What to try where scores of different questions, or of different modalities, are on different scales."""
    sentences: list[str] = []
    stages: list[str] = []
    taken: list[str] = []
    mended: list[str] = []
    tried: list[str] = []
    for mix in mixes:
        view = _farthest(mix, numbers)
        due, key = numbers[f"{mix.group}.{view}_expected"], f"{mix.group}.{view}_share"
        now, after = numbers[key], numbers.get(f"{key}_centred")
        if due is None or now is None or mix.rival or abs(now - due) <= FAR:
            continue
        taken.append(f"{mix.called} ({mix.labels[mix.names.index(view)]}: {now:.0%} where {due:.0%} are listed)")
        if after is not None:
            tried.append(f"{after:.0%} for {mix.called}")
            if abs(after - due) < abs(now - due) / 2:
                mended.append(mix.kind)
    if taken:
        helps = f"; after center it is {_listed(tried)}" if tried else ""
        apart = (
            "this recipe searches views apart" if "@all" in groups[0].encoder else "search views apart, as @all does"
        )
        sentences.append(
            f"One modality has more or fewer of the first places of a mixed list than of its rows, for "
            f"{_listed(taken)}: {apart}{helps}."
        )
        stages += ["center"] if mended else []
    for group in groups:
        across, own = numbers[f"{group.name}.auc"], numbers[f"{group.name}.auc_within"]
        if across is not None and own is not None and intervals[f"{group.name}.auc"][1] < own:
            sentences.append(
                "Scores tell more within a question than across questions, so that one threshold for all loses some: "
                "csls takes off how near a question is to everything."
            )
            stages.append("csls")
            break
    if not sentences:
        sentences.append("Scores of different questions are about as comparable as those of one.")
    return " ".join(sentences), tuple(stages)


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
