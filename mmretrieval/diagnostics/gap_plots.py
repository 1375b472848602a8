"""What the diagnostic `gap` shows, as values to draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from mmretrieval import geometry
from mmretrieval.diagnostics import spectrum
from mmretrieval.diagnostics.sampling import chosen
from mmretrieval.findings import Plot, Trace
from mmretrieval.geometry import Numbers
from mmretrieval.types import Array

if TYPE_CHECKING:
    from mmretrieval.diagnostics.gap import Look
    from mmretrieval.diagnostics.shift import Curves

# More pairs than this hide each other in a plane.
PLOTTED = 1000
# So many pairs say where the principal axes of all lie.
PLANED = 10_000
LARGEST = 20
BINS = 80
LONGEST = 500

Labels = tuple[str, str]


def plane(
    x: Array, y: Array, ids: Sequence[str], labels: Labels, seed: int, projection: str, *, centred: bool = False
) -> Plot:
    """Both members of at most 1,000 pairs in one plane, with a line between them; `centred` says that rows are."""
    some = chosen(len(ids), PLANED, seed)
    shown = chosen(len(some), PLOTTED, seed + 1)
    rows = some if projection == "pca" else some[shown]
    both = np.concatenate([geometry.directions(side[rows]) for side in (x, y)])
    axes, note, square = ["", ""], "", True
    if projection == "pca":
        points, shares = geometry.principal_plane(both)
        first, second = points[: len(rows)][shown], points[len(rows) :][shown]
        axes = [f"principal component {i + 1} ({share:.0%} of the variance)" for i, share in enumerate(shares)]
        note = "Directions of both kinds on the two axes along which they vary most, taken together."
    elif projection == "umap":
        points = spectrum.umap_plane(both, seed)
        first, second = points[: len(rows)], points[len(rows) :]
        axes = ["UMAP axis 1 (no unit)", "UMAP axis 2 (no unit)"]
        note = "Neighbours stay neighbours in UMAP; how far apart groups lie, and how large they are, means nothing."
        square = False
    else:
        raise ValueError(f"pairs are projected by 'pca' or 'umap', not by {projection!r}")
    named = tuple(ids[int(i)] for i in some[shown])
    joined = np.stack([first, second], axis=1).reshape(-1, 2)
    return Plot(
        name=f"{projection}_centered" if centred else projection,
        title=f"{_first(labels[0])} and {labels[1]} in one plane{', after centring' if centred else ''}",
        x=axes[0],
        y=axes[1],
        traces=(
            Trace("pairs", _plain(joined[:, 0]), _plain(joined[:, 1]), mark="links"),
            *(
                Trace(label, _plain(side[:, 0]), _plain(side[:, 1]), mark="points", labels=named, items=True)
                for label, side in zip(labels, (first, second), strict=True)
            ),
        ),
        note=f"{note} A line joins the two members of a pair; {len(named):,} of {len(ids):,} pairs are drawn.",
        square=square,
    )


def dimensions(gap: Numbers, labels: Labels) -> Plot:
    """The dimensions in which the mean directions differ most, and how few carry the gap."""
    order = np.argsort(-np.abs(gap), kind="stable")
    largest = order[:LARGEST]
    squared = float(gap @ gap)
    shares = gap[order] ** 2 / squared if squared > 0 else np.zeros(len(gap))
    note = "There is no difference of means to carry."
    if squared > 0:
        half, most = (int(np.searchsorted(np.cumsum(shares), share - 1e-12)) + 1 for share in (0.5, 0.9))
        note = (
            f"{half:,} of {len(gap):,} dimensions carry half of the squared distance of the means, {most:,} carry "
            "90 %. A rotation of the space would share it out differently."
        )
    return Plot(
        name="dimensions",
        title="The dimensions in which the means differ most",
        x="dimension (coordinate of the vector)",
        y=f"mean of {labels[0]} less mean of {labels[1]} (coordinate of unit vectors)",
        traces=(
            Trace(
                f"{labels[0]} less {labels[1]}",
                tuple(str(i) for i in largest),
                _plain(gap[largest]),
                mark="bars",
                labels=tuple(f"{share:.1%} of the squared distance" for share in shares[:LARGEST]),
            ),
        ),
        note=note,
    )


def explained(variances: Sequence[Numbers], labels: Labels) -> Plot:
    """How much of each modality's variance its first components hold."""
    traces = []
    for label, values in zip(labels, variances, strict=True):
        total = float(values.sum())
        held = np.cumsum(values) / total if total > geometry.NOTHING else np.zeros(len(values))
        places = np.unique(np.linspace(0, len(held) - 1, min(len(held), LONGEST)).round().astype(int))
        traces.append(Trace(label, _plain(places + 1.0), _plain(np.minimum(held[places], 1.0))))
    return Plot(
        name="explained",
        title="Effective dimension of each kind",
        x="principal components (count)",
        y="variance that they hold (share)",
        traces=tuple(traces),
        note="The sooner a curve rises, the fewer dimensions that kind of vector really uses.",
        percent="y",
    )


def cosines(name: str, title: str, look: Look, a: Numbers, b: Numbers, seed: int, labels: Labels) -> Plot:
    """Cosines within pairs, across mixed-up pairs, and within each modality (its cone), as shares of each.

    `a`, `b` are sampled directions: one random cycle through them gives every row another item's.
    """
    cycle = np.random.default_rng([seed, len(a), 2]).permutation(len(a))
    following = np.roll(cycle, 1)
    shown = {
        "pairs": look.pair_cosines,
        "mixed-up pairs": geometry.pair_cosines(a[cycle], b[following]),
        f"{labels[0]} with {labels[0]}": geometry.pair_cosines(a[cycle], a[following]),
        f"{labels[1]} with {labels[1]}": geometry.pair_cosines(b[cycle], b[following]),
    }
    edges = np.linspace(-1.0, 1.0, BINS + 1)
    filled = np.flatnonzero(sum(np.histogram(values, edges)[0] for values in shown.values()))
    # One empty bin on either side of what there is.
    edges = edges[max(filled[0] - 1, 0) : filled[-1] + 3]
    centres = _plain((edges[:-1] + edges[1:]) / 2)
    return Plot(
        name=name,
        title=title,
        x="cosine of two directions (-1 to 1)",
        y=f"pairs (share of each kind, bins of {edges[1] - edges[0]:.3g})",
        traces=tuple(
            Trace(called, centres, _plain(np.histogram(values, edges)[0] / len(values)))
            for called, values in shown.items()
        ),
        note=(
            "Retrieval needs pairs to lie right of mixed-up pairs; how far right either lies does not matter. A kind "
            "whose cosines with itself lie far right of 0 keeps to a narrow cone."
        ),
        percent="y",
    )


AXIS = "delta, shift along the gap (unit-vector lengths, half by each kind)"


def shifted(curves: Curves, labels: Labels) -> tuple[Plot, ...]:
    """Loss, recall and the temperature's role as both modalities are moved along the gap."""
    deltas = _plain(curves.deltas)
    apart = tuple(f"means {distance:+.2f} apart" for distance in curves.distance)
    closed = float(curves.deltas[np.abs(curves.distance).argmin()])
    best = float(curves.deltas[curves.loss[0].argmin()])
    marks = {"as it is": 0.0, "means meet": closed, "least loss": best}
    dashed: dict[float, str] = {}
    for said, at in marks.items():
        dashed[at] = f"{dashed[at]}, {said}" if at in dashed else said
    lines = {said: at for at, said in dashed.items()}
    return (
        _loss(curves, deltas, apart, lines),
        _recall(curves, labels, deltas, apart, lines),
        _temperature(curves, deltas, apart),
    )


def _loss(curves: Curves, deltas: tuple[float, ...], apart: tuple[str, ...], dashed: Mapping[str, float]) -> Plot:
    low, high = _plain(curves.loss_band[0]), _plain(curves.loss_band[1])
    band = "One batch has no interval."
    if low:
        band = f"The band is a 95 % interval, by Student's t over {curves.pairs // curves.batch} batches."
    return Plot(
        name="shift_loss",
        title="Contrastive loss along the gap",
        x=AXIS,
        y=f"contrastive loss (nats; batches of {curves.batch}, temperature {1 / curves.scales[0]:.2g})",
        traces=(Trace("loss, both directions", deltas, _plain(curves.loss[0]), low=low, high=high, labels=apart),),
        note=(
            "The loss that CLIP is trained with, at its temperature. Far out on either side the vectors of a kind "
            "grow alike, which softens the loss of wrong answers too: where it is least need not be the best place "
            f"to search, recall says that. {band}"
        ),
        dashed=dashed,
    )


def _recall(
    curves: Curves, labels: Labels, deltas: tuple[float, ...], apart: tuple[str, ...], dashed: Mapping[str, float]
) -> Plot:
    traces = [
        Trace(
            f"recall@{k}",
            deltas,
            _plain(recall),
            low=_plain(curves.recall_band[0]) if k == curves.ks[-1] else (),
            high=_plain(curves.recall_band[1]) if k == curves.ks[-1] else (),
            labels=apart,
        )
        for k, recall in zip(curves.ks, curves.recall, strict=True)
    ]
    return Plot(
        name="shift_recall",
        title="Recall along the gap",
        x=AXIS,
        y=f"recall among {curves.pairs:,} pairs (mean of both directions)",
        traces=tuple(traces),
        note=(
            f"{_first(labels[0])} ask for their {labels[1]}, and {labels[1]} for their {labels[0]}. Where a curve is "
            f"higher than at 0, that shift finds more. The band is the 95 % interval of recall@{curves.ks[-1]}."
        ),
        dashed=dashed,
        percent="y",
    )


def _temperature(curves: Curves, deltas: tuple[float, ...], apart: tuple[str, ...]) -> Plot:
    each = list(zip(curves.scales, curves.loss, strict=True))
    traces = [
        Trace(f"temperature {1 / scale:.2g}", deltas, _plain(_from_lowest(loss)), labels=apart) for scale, loss in each
    ]
    lowest = ", ".join(
        f"delta {curves.deltas[loss.argmin()]:g} for temperature {1 / scale:.2g}" for scale, loss in each
    )
    return Plot(
        name="temperature",
        title="The temperature's role",
        x=AXIS,
        y="loss above its lowest (share of each curve's own range)",
        traces=tuple(traces),
        note=(
            f"The loss is least at {lowest}. Liang et al. found that a low temperature keeps the gap of CLIP open, "
            "and that a high one lets it close."
        ),
        dashed={"as it is": 0.0},
        percent="y",
    )


def _from_lowest(loss: Numbers) -> Numbers:
    low, high = float(loss.min()), float(loss.max())
    scaled: Numbers = (loss - low) / (high - low) if high > low else np.zeros_like(loss)
    return scaled


def _first(label: str) -> str:
    """The label as the first word of a line; a file's name stays as it is."""
    return label if "." in label else label[:1].upper() + label[1:]


def _plain(values: Numbers) -> tuple[float, ...]:
    return tuple(float(value) for value in np.round(values, 6))
