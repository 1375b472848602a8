"""What the diagnostic `gram` shows: its plots as values, and the items to look at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.prior import Retrieved
from mmretrieval.diagnostics.tuples import Compared, measure
from mmretrieval.findings import Exhibit, Plot, Trace
from mmretrieval.geometry import Numbers

BINS = 40
# More points than this hide each other in a plot.
PLOTTED = 2000
CURVE = 200
# Rows of a table of items, and digits below which two values in it are equal.
LISTED = 10
DIGITS = 9

VOLUME = "volume (0 copies, 1 orthogonal)"


def plots(
    own: Compared | None, asked: Compared | None, found: Retrieved | None, ids: Sequence[str], seed: int
) -> tuple[Plot, ...]:
    """Histograms of volumes, the ROC curve, volume against cosine, own volume against how often an item is found."""
    shown = [(name, compared) for name, compared in (("", own), ("questions", asked)) if compared is not None]
    drawn = [_histogram(name, compared) for name, compared in shown]
    drawn.append(_roc(shown))
    # Two vectors have but one cosine: where there are tuples of more, those say more.
    drawn.append(_cosines(max((compared for _, compared in shown), key=lambda compared: compared.size > 2), seed))
    if found is not None:
        drawn.append(_found(found, ids, seed))
    return tuple(drawn)


def roc(matched: Numbers, shuffled: Numbers) -> tuple[Numbers, Numbers]:
    """The ROC curve of calling a tuple matched where its value is small: shares of shuffled and of matched so called.

    Both rise from 0 to 1, with at most 200 points between; the area under it is `smaller_share`, but for those left
    out.
    """
    values = np.unique(np.concatenate([matched, shuffled]))
    if len(values) > CURVE:
        values = values[np.linspace(0, len(values) - 1, CURVE).round().astype(int)]
    called = [np.searchsorted(np.sort(side), values, side="right") / len(side) for side in (shuffled, matched)]
    x, y = (np.concatenate([[0.0], side]) for side in called)
    return x, y


def _named(compared: Compared) -> str:
    return " + ".join(compared.tuples.names)


def _histogram(name: str, compared: Compared) -> Plot:
    # In many dimensions nearly all volumes are near 1: the axis begins where they do.
    least = min(float(measured.volume.min()) for measured in (compared.matched, compared.shuffled))
    edges = np.linspace(min(np.floor(10 * least) / 10, 0.9), 1.0, BINS + 1)
    centres = _plain((edges[:-1] + edges[1:]) / 2)
    sides = (("matched", compared.matched), ("shuffled", compared.shuffled))
    return Plot(
        name=f"volumes-{name}" if name else "volumes",
        title=f"Volumes of {_named(compared)}",
        x=VOLUME,
        y="tuples (share of each kind)",
        traces=tuple(
            Trace(side, centres, _plain(np.histogram(measured.volume, edges)[0] / len(measured.volume)), mark="bars")
            for side, measured in sides
        ),
        note="Matched: a query with an item that belongs to it. Shuffled: the same query with another item. The less "
        "they overlap, the better volume tells them apart.",
        percent="y",
    )


def _roc(shown: Sequence[tuple[str, Compared]]) -> Plot:
    traces = []
    for name, compared in shown:
        a, b = compared.matched, compared.shuffled
        curves = [("volume", a.volume, b.volume), ("mean cosine", -a.cosine, -b.cosine)]
        if compared.size > 2:
            curves.insert(1, ("sine to the span", a.sine, b.sine))
        for what, matched, shuffled in curves:
            x, y = roc(matched, shuffled)
            traces.append(Trace(f"{name}: {what}" if name else what, _plain(x), _plain(y)))
    traces.append(Trace("chance", (0.0, 1.0), (0.0, 1.0)))
    return Plot(
        name="roc",
        title="What tells matched from shuffled tuples",
        x="shuffled tuples taken for matched (share)",
        y="matched tuples found (share)",
        traces=tuple(traces),
        note="The area under a curve is its AUC: the share of comparisons that the matched tuple wins.",
        square=True,
        percent="xy",
    )


def _cosines(compared: Compared, seed: int) -> Plot:
    some = _some(len(compared.tuples), seed)
    ids = tuple(compared.tuples.ids[i] for i in some)
    traces = [
        Trace(name, _plain(measured.pairwise[some]), _plain(measured.volume[some]), mark="points")
        for name, measured in (("shuffled", compared.shuffled), ("matched", compared.matched))
    ]
    traces[1] = Trace(traces[1].name, traces[1].x, traces[1].y, mark="points", labels=ids, items=True)
    note = "Two vectors have one cosine, and the volume is sqrt(1 - cosine squared): the same at both ends."
    if compared.size > 2:
        note = "Points that lie above or below the band have cosines that the mean hides."
    return Plot(
        name="cosines",
        title=f"Volume against pairwise cosines of {_named(compared)}",
        x="mean cosine of all pairs in the tuple (-1 to 1)",
        y=VOLUME,
        traces=tuple(traces),
        note=note,
    )


def _found(found: Retrieved, ids: Sequence[str], seed: int) -> Plot:
    some = _some(len(ids), seed)
    labels = tuple(ids[i] for i in some)
    return Plot(
        name="prior",
        title="Own volume against how often an item is found",
        x="own volume of the item's views (0 copies, 1 orthogonal)",
        y=f"rankings with it in the first {found.top} (count, of {found.asked})",
        traces=tuple(
            Trace(
                what, _plain(found.own[some]), _plain(found.times[ranking][some]), "points", labels=labels, items=True
            )
            for what, ranking in (
                ("by volume", "volume"),
                ("by sine to the span", "sine"),
                ("by mean cosine", "cosine"),
            )
        ),
        note="A cloud that falls to the right: items whose own views nearly coincide are found whatever is asked.",
    )


def exhibits(
    own: Compared | None, asked: Compared | None, found: Retrieved | None, ids: Sequence[str]
) -> tuple[Exhibit, ...]:
    """Where volume and cosine disagree, what a query's opposite gets, and what is found most often by volume."""
    either = [compared for compared in (own, asked) if compared is not None]
    shown = [*(_disagreeing(compared) for compared in either), _opposites(either[0])]
    if found is not None:
        shown.append(_favourites(found, ids))
    return tuple(table for table in shown if table is not None)


def _disagreeing(compared: Compared) -> Exhibit | None:
    """The matched tuples whose rank by volume is furthest from their rank by mean pairwise cosine, both best first."""
    from scipy.stats import rankdata

    measured = compared.matched
    by_volume = rankdata(np.round(measured.volume, DIGITS))
    by_cosine = rankdata(np.round(-measured.pairwise, DIGITS))
    apart = np.abs(by_volume - by_cosine)
    most = [int(i) for i in np.argsort(-apart, kind="stable")[:LISTED] if apart[i] >= 1]
    if not most:
        return None
    return Exhibit(
        title=f"Where the volume of {_named(compared)} and its pairwise cosines disagree most",
        columns=("volume", "mean cosine", "lowest cosine to the query", "rank by volume", "rank by cosine"),
        rows=tuple(
            (
                (compared.tuples.ids[i],),
                (
                    *(float(v[i]) for v in (measured.volume, measured.pairwise, measured.lowest)),
                    float(by_volume[i]),
                    float(by_cosine[i]),
                ),
            )
            for i in most
        ),
    )


def _opposites(compared: Compared, count: int = 3) -> Exhibit:
    """The best matched tuples, and the same with the query turned round."""
    best = np.argsort(compared.matched.volume, kind="stable")[:count]
    turned = measure(-compared.tuples.queries[best], compared.tuples.matched[best])
    return Exhibit(
        title="A query and its opposite: the volume is the same, the cosine is not",
        columns=("volume", "volume of the opposite", "mean cosine to the query", "mean cosine to the opposite"),
        rows=tuple(
            (
                (compared.tuples.ids[i],),
                (
                    float(compared.matched.volume[i]),
                    float(turned.volume[j]),
                    float(compared.matched.cosine[i]),
                    float(turned.cosine[j]),
                ),
            )
            for j, i in enumerate(best)
        ),
    )


def _favourites(found: Retrieved, ids: Sequence[str]) -> Exhibit:
    most = np.argsort(-found.times["volume"], kind="stable")[:LISTED]
    kinds = ("volume", "sine", "cosine")
    return Exhibit(
        title=f"Found most often by volume, among the first {found.top} of {found.asked} rankings",
        columns=("own volume", "times by volume", "times by sine", "times by mean cosine"),
        rows=tuple(((ids[i],), (float(found.own[i]), *(float(found.times[kind][i]) for kind in kinds))) for i in most),
    )


def _some(n: int, seed: int) -> npt.NDArray[np.int64]:
    """At most PLOTTED of n places, drawn by seed."""
    if n <= PLOTTED:
        return np.arange(n)
    return np.sort(np.random.default_rng([seed, n, 2]).choice(n, size=PLOTTED, replace=False))


def _plain(values: Numbers) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
