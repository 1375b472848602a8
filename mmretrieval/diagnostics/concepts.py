"""What a library is of: clusters of its items, what stands in their middle and outside, and how modalities mix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mmretrieval.diagnostics.clusters import (
    MOST,
    NEAREST,
    RESTARTS,
    SEEDED,
    SEEDED_EACH,
    STEPS,
    Clusters,
    choice,
    clustered,
    complexity,
    groupings,
)
from mmretrieval.diagnostics.mixing import Mixed, agreement, around, chance_free, classed, halves, mixed
from mmretrieval.diagnostics.neighbours import Neighbours, nearest
from mmretrieval.diagnostics.sampling import RESAMPLES, caution, interval, means, resamples, share_interval
from mmretrieval.diagnostics.subject import Subject
from mmretrieval.diagnostics.viewed import Viewed, basis, viewed
from mmretrieval.findings import Exhibit, Finding, Plot, Trace
from mmretrieval.geometry import Numbers, blocks, directions

LEAST = 10
# Cosine from which two items are near-duplicates, and the cosines at which pairs are counted for the plot.
DUPLICATE = 0.98
THRESHOLDS = (0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.97, 0.98, 0.99, 0.995, 0.999)
INTERVALS = (
    "d_intra and near_duplicates: 95 % percentile bootstrap over items, their clusters and neighbours kept. Mixtures "
    "and v_measure: Student's t around the value, by its spread over random halves of the items, each clustered again; "
    "none where all of them agree. Shares for which all items are alike: Clopper-Pearson. No interval: clusters, "
    "largest, d_inter and one_modality, which are of clusters and not of items, near_duplicate_pairs, and ami"
)
NO_MORE = "there are no more different vectors"
# Neighbours whose mean cosine says how odd an item is; rows of an exhibit; items that stand for a cluster.
AROUND, SHOWN, MEMBERS = 5, 12, 4


def concepts(subject: Subject, *, seed: int = 0, sample: int | None = 10_000) -> Finding:
    """Clusters of the items in the searched view, near-duplicates and odd items, and both modalities in one clustering.

    K-means of directions, as many clusters as the root of half of the items (2 to 100), or as there are different
    vectors. Numbers: clusters, how many those are; largest, the
    share of items in the largest; d_intra, the mean cosine distance of an item to its cluster's centre; d_inter, the
    mean distance of a centre to the 20 nearest others; near_duplicates, the share of items with another at a cosine of
    0.98 or more (how alike such items look depends on the encoder: see the plot), near_duplicate_pairs how many pairs.
    Groups "mixed" and "centered" as in `mixing.mixed`: both views of the items in one clustering, with and without
    their means. With classes (`subject.classes`) also the V-measure and the adjusted mutual information (0 is chance)
    of as many clusters as classes, of each view, as in "visual.v_measure", and of the mixtures.
    Raises RetrievalError where fewer than 10 items have a vector in the searched view.
    """
    seen = viewed(subject, subject.searched, LEAST, seed, sample)
    clusters = clustered(seen.rows, choice(len(seen)), seed)
    intra, inter = complexity(seen.rows, clusters)
    near = nearest(seen.rows, min(AROUND, len(seen) - 1))
    # A row whose nearest is further off than the lowest threshold (less rounding) is in no pair that is counted.
    close = _cosines(near)[:, 0] >= min(THRESHOLDS) - 1e-4
    pairs = duplicates(seen.rows[close], (*THRESHOLDS, DUPLICATE))
    numbers, intervals = _numbers(seen, clusters, inter, near, seed)
    numbers["near_duplicate_pairs"] = float(pairs[-1])
    together = mixed(subject, seed, sample)
    by_view, spans, parts = _views(subject, seed, sample)
    numbers |= dict(together.numbers) | by_view
    intervals |= dict(together.intervals) | spans
    return Finding(
        diagnostic="concepts",
        sentence=_sentence(subject, seen, numbers, together),
        numbers=numbers,
        intervals=intervals,
        plots=(
            _complexity_plot(seen, clusters, intra, inter),
            _sizes_plot(seen, clusters),
            *([_duplicates_plot(pairs[:-1])] if any(pairs) else []),
        ),
        exhibits=(_concepts_table(subject, seen, clusters, intra, inter), _odd(seen, near), _alike(seen, near)),
        absent=() if any(pairs) else (f"No two items have a cosine of {min(THRESHOLDS)} or more.",),
        advice=_advice(numbers),
        stages=("center",) if _parted(numbers) else (),
        basis=basis(len(seen), seed, sample, "scikit-learn")
        | {
            "labels": subject.labelled,
            "of": seen.of,
            "zero_rows": seen.zero,
            "mixed": {
                "n": together.pairs,
                "clusters": together.made[0],
                "clusters_centered": together.made[1],
                "clusters_asked": together.asked,
                "views": list(together.views),
            },
            "k_means": {
                "clusters_asked": choice(len(seen)),
                "starts": RESTARTS,
                "steps": STEPS,
                "seeds_from": SEEDED,
                "or_for_each_seed": SEEDED_EACH,
            },
            "duplicate_cosine": DUPLICATE,
            "intervals": INTERVALS,
            "resamples": RESAMPLES,
            "halves": {"mixed": together.halves} | parts,
        },
    )


def duplicates(rows: npt.NDArray[np.floating], thresholds: tuple[float, ...]) -> list[int]:
    """How many pairs of different rows (n, d) have a cosine of each threshold or more; float32, one block at a time."""
    narrow = directions(rows).astype(np.float32)
    least, counts = min(thresholds), np.zeros(len(thresholds), dtype=np.int64)
    for block in blocks(len(narrow), 512):
        cosines = narrow[block] @ narrow[block.start :].T
        # Each pair once: the part of a row that lies right of the diagonal.
        high = np.sort(cosines[np.triu(cosines >= least, 1)])
        counts += len(high) - np.searchsorted(high, np.array(thresholds, dtype=np.float32), side="left")
    return [int(c) for c in counts]


def _numbers(
    seen: Viewed, clusters: Clusters, inter: Numbers, near: Neighbours, seed: int
) -> tuple[dict[str, float | None], dict[str, tuple[float, float]]]:
    own = 1.0 - np.einsum("nd,nd->n", directions(seen.rows), clusters.centres[clusters.labels])
    twin = (_cosines(near)[:, 0] >= DUPLICATE).astype(np.float64)
    counts = resamples(len(seen), seed)
    numbers: dict[str, float | None] = {
        "clusters": float(len(clusters.centres)),
        "largest": float(np.bincount(clusters.labels).max() / len(seen)),
        "d_intra": float(own.mean()),
        "d_inter": float(inter.mean()),
        "near_duplicates": float(twin.mean()),
    }
    spans = {
        "d_intra": interval(means(own, counts)),
        "near_duplicates": share_interval(twin, means(twin, counts)),
    }
    return numbers, {
        name: (min(low, numbers[name] or 0.0), max(high, numbers[name] or 0.0)) for name, (low, high) in spans.items()
    }


def _cosines(near: Neighbours) -> Numbers:
    cosines: Numbers = 1.0 - near.distances**2 / 2.0
    return cosines


def _views(
    subject: Subject, seed: int, sample: int | None
) -> tuple[dict[str, float | None], dict[str, tuple[float, float]], dict[str, int]]:
    """How well as many clusters as classes agree with the classes, by view, and how many halves the intervals are of.

    None without classes.
    """
    numbers: dict[str, float | None] = {}
    intervals: dict[str, tuple[float, float]] = {}
    parts: dict[str, int] = {}
    for view in subject.views:
        seen = viewed(subject, view, 0, seed, sample)
        classes = classed(subject.classes, seen.ids)
        known = int(classes.max(initial=-1)) + 1
        numbers |= {f"{view}.v_measure": None, f"{view}.ami": None}
        if known < 2:
            continue
        runs = np.stack(groupings(seen.rows, known, seed))[:, None]
        value = agreement(classes, runs)
        if value is None:
            continue
        numbers |= {f"{view}.v_measure": value, f"{view}.ami": chance_free(classes, runs)}
        some = halves(len(seen), len(seen) * known, seed)
        drawn = [
            agreement(classes[half], np.stack(groupings(seen.rows[half], known, seed + 1 + i))[:, None])
            for i, half in enumerate(some)
        ]
        parts[view] = len(some)
        span = around(value, drawn)
        if span is not None:
            intervals[f"{view}.v_measure"] = span
    return numbers, intervals, parts


# --- what is shown -------------------------------------------------------------------------------------------------


def _middle(seen: Viewed, clusters: Clusters, cluster: int) -> npt.NDArray[np.int64]:
    """A cluster's items, the nearest to its centre first; ties by id."""
    members = np.flatnonzero(clusters.labels == cluster)
    near = directions(seen.rows[members]) @ clusters.centres[cluster]
    return members[np.argsort(-near, kind="stable")]


def _complexity_plot(seen: Viewed, clusters: Clusters, intra: Numbers, inter: Numbers) -> Plot:
    first = tuple(seen.ids[int(_middle(seen, clusters, c)[0])] for c in range(len(clusters.centres)))
    others = len(clusters.centres) - 1
    near = f"the {NEAREST} nearest centres" if others > NEAREST else "all other centres"
    return Plot(
        "complexity",
        "Concepts by width and distance",
        f"distance to others (mean cosine distance to {near})",
        "width (mean cosine distance to the centre)",
        (Trace("concepts", tuple(inter.tolist()), tuple(intra.tolist()), mark="points", labels=first, items=True),),
        note="Each point is a cluster, shown by its most typical item. Bottom left: many alike; top right: complex.",
    )


def _sizes_plot(seen: Viewed, clusters: Clusters) -> Plot:
    sizes = np.bincount(clusters.labels) / len(seen)
    return Plot(
        "sizes",
        "Sizes of the concepts",
        "concept (rank by size)",
        "items (share)",
        (Trace("concepts", tuple(range(1, len(sizes) + 1)), tuple(sizes.tolist()), mark="bars"),),
        note="The largest concept first. A steep fall: a few concepts make up most of what is here.",
        percent="y",
    )


def _duplicates_plot(pairs: list[int]) -> Plot:
    return Plot(
        "duplicates",
        "Pairs of items that are alike",
        "least cosine of the two items (-1 to 1)",
        "pairs of items (count)",
        (Trace("pairs", THRESHOLDS, tuple(float(p) for p in pairs)),),
        note=f"How many pairs are at least so alike. From {DUPLICATE} on they count as near-duplicates here.",
        dashed={"near-duplicates": DUPLICATE},
    )


def _concepts_table(subject: Subject, seen: Viewed, clusters: Clusters, intra: Numbers, inter: Numbers) -> Exhibit:
    rows = []
    for cluster in range(min(SHOWN, len(clusters.centres))):
        members = _middle(seen, clusters, cluster)
        ids = tuple(seen.ids[int(m)] for m in members)
        held = Counter(subject.classes[i] for i in ids if i in subject.classes)
        most = min(held.items(), key=lambda pair: (-pair[1], pair[0])) if held else None
        value = float(intra[cluster]), float(inter[cluster])
        said = "" if most is None else f"{most[0]} ({most[1] / len(ids):.0%})"
        rows.append((ids[:MEMBERS], (float(len(ids)), *value, value[0] * value[1], said)))
    return Exhibit(
        "Largest concepts, by their most typical items",
        ("items", "d_intra", "d_inter", "complexity", "commonest class"),
        tuple(rows),
    )


def _odd(seen: Viewed, near: Neighbours) -> Exhibit:
    around = _cosines(near).mean(axis=1)
    order = np.argsort(around, kind="stable")[:SHOWN]
    return Exhibit(
        "Odd items: least like any other",
        (f"mean cosine to the {near.places.shape[1]} nearest",),
        tuple(((seen.ids[p],), (float(around[p]),)) for p in order),
    )


def _alike(seen: Viewed, near: Neighbours) -> Exhibit:
    cosines, other = _cosines(near)[:, 0], near.places[:, 0]
    pairs = sorted(
        {(min(i, int(j)), max(i, int(j)), float(c)) for i, (j, c) in enumerate(zip(other, cosines, strict=True))},
        key=lambda pair: (-pair[2], pair[0], pair[1]),
    )
    kept: dict[tuple[int, int], float] = {}
    for i, j, c in pairs:
        kept.setdefault((i, j), c)
    return Exhibit(
        "Items most alike",
        ("cosine",),
        tuple(((seen.ids[i], seen.ids[j]), (c,)) for (i, j), c in list(kept.items())[:SHOWN]),
    )


def _parted(numbers: Mapping[str, float | None]) -> bool:
    """Whether most clusters of both modalities hold one alone, and centring mixes them."""
    parted, centered = numbers["mixed.one_modality"], numbers["centered.one_modality"]
    return parted is not None and centered is not None and parted > 0.5 and centered < parted


def _sentence(subject: Subject, seen: Viewed, numbers: Mapping[str, float | None], together: Mixed) -> str:
    label = subject.label(subject.searched)
    twins = round((numbers["near_duplicates"] or 0.0) * len(seen))
    said = (
        f"The {len(seen):,} {label} are put into {_clusters(len(seen), numbers)}, the largest with "
        f"{numbers['largest']:.0%}; "
        f"{twins if twins else 'none'} of them {'has' if twins == 1 else 'have'} a near-duplicate (cosine of "
        f"{DUPLICATE} or more: how alike such items look differs from encoder to encoder)."
    )
    if together.views:
        a, b = (subject.label(v) for v in together.views)
        made, centred = together.made
        fewer = f" ({together.asked} were asked for, and {NO_MORE})" if made < together.asked else ""
        among = "the clusters" if centred == made else _counted(centred)
        said += (
            f" With {a} and {b} of {together.pairs:,} items put into {_counted(made)} together{fewer}, "
            f"{numbers['mixed.one_modality']:.0%} of the clusters hold {a} or {b} alone, and "
            f"{numbers['mixed.together']:.0%} of the items have both in one cluster; with each one's mean taken off it "
            f"is {numbers['centered.one_modality']:.0%} of {among} and {numbers['centered.together']:.0%} of the items."
        )
    own = numbers.get(f"{subject.searched}.v_measure")
    if own is not None:
        said += f" Against the classes given, clusters of {label} have a V-measure of {own:.2f}"
        if numbers["mixed.v_measure"] is not None:
            said += f", mixed ones {numbers['mixed.v_measure']:.2f}, mixed and centred ones "
            said += f"{numbers['centered.v_measure']:.2f} ({_change(numbers, together)})"
        said += "; 1 is best."
        ami = numbers.get(f"{subject.searched}.ami")
        if ami is not None:
            said += (
                f" Many small classes raise a V-measure by chance alone: less that, the first is {ami:.2f} (adjusted "
                "mutual information; 0 is chance)."
            )
    return said + caution(len(seen))


def _counted(clusters: int) -> str:
    return "1 cluster" if clusters == 1 else f"{clusters} clusters"


def _clusters(n: int, numbers: Mapping[str, float | None]) -> str:
    """How many clusters there are, and why so many."""
    made, asked = int(numbers["clusters"] or 0), choice(n)
    if made < asked:
        return f"{_counted(made)} ({asked} were asked for, the root of half of them, and {NO_MORE})"
    said = _counted(made)
    if asked == MOST:
        return f"{said} (the most that are made; how many kinds of things there are is not found out)"
    return f"{said} (as many as the root of half of them; how many kinds of things there are is not found out)"


def _change(numbers: Mapping[str, float | None], together: Mixed) -> str:
    """What centring does to the V-measure of the mixture, and how sure that is."""
    change, span = numbers["centered.change"] or 0.0, together.intervals.get("centered.change")
    if span is None:
        return f"{change:+.2f}"
    low, high = span
    said = f"{change:+.2f}" if low > 0 or high < 0 else "no change that can be told"
    return f"{said}, {low:+.2f} to {high:+.2f}"


def _advice(numbers: Mapping[str, float | None]) -> str:
    said = "Look at the odd items and at the items most alike: wrong files and copies show there."
    if _parted(numbers):
        said += " Where a list mixes modalities, try center: as they are, most clusters keep to one."
    return said
