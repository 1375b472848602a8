"""What the numbers of a finding are called before people: tables of rows and columns, each with its unit.

A number's name in JSON is the beginning of its column and the end of its row put together, so that a table can show
both: `centered.` and `pair_cosine`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, TypeAlias

from mmretrieval.diagnostics.gap_words import BELOW_CENTRED

# Patterns of the beginnings and the ends of names, each with what to call it; {side}, {view} and the like are filled.
Named: TypeAlias = Mapping[str, str]
VALUE = "value"


@dataclass(frozen=True)
class Table:
    """Numbers that stand together: patterns of columns and of rows, why one may be absent, or below chance."""

    title: str
    columns: Named
    rows: Named
    absent: Named = field(default_factory=dict)
    below: Named = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where a number stands: `prefix` + `suffix` is its name, `order` its row's; `absent` and `below` as in Table."""

    table: str
    column: str
    prefix: str
    row: str
    suffix: str
    absent: str = ""
    order: int = 0
    below: str = ""

    @property
    def counts(self) -> bool:
        """Whether the number says how many there are."""
        return "(count" in self.row


SIDE, VIEW, KIND = r"(?P<side>[ab])", r"(?P<view>\w+)", r"(?P<kind>text|image|composed|caption)"
RIVAL = r"(?P<rival>rival_)?"
KINDS = {"text": "asked in words", "image": "asked by picture", "composed": "asked by picture and words"}

GAP = (
    Table(
        "Both kinds as they are, and with each one's mean taken off",
        {"": "as they are", r"centered\.": "centred"},
        {
            "centroid_distance": "distance of the means of unit vectors (0 to 2)",
            "centroid_distance_corrected": "the same less what sampling noise adds (0 to 2)",
            "centroid_cosine": "cosine of those means (-1 to 1)",
            "pair_cosine": "mean cosine within pairs (-1 to 1)",
            "mixed_cosine": "mean cosine across mixed-up pairs (-1 to 1)",
            "pair_l2": "mean distance within pairs (0 to 2)",
            "alignment": "alignment, mean squared distance within pairs (0 to 4)",
            f"intra_cosine_{SIDE}": "mean cosine among {side} (-1 to 1)",
            f"uniformity_{SIDE}": "uniformity of {side} (log; lower is more even)",
            "uniformity": "uniformity, mean of both kinds (log)",
            "xuniformity": "uniformity across the kinds (log)",
            "w2_uniformity": "W2 uniformity of both together (0 is even)",
            "separability": "held-out vectors that a linear classifier gets right (share; 0.5 is chance)",
            "separability_unseen": "the same, held-out pairs less means of their own (share)",
            rf"components_(?P<share>\d+)_{SIDE}": "components that hold {share} % of the variance of {side} (count)",
            f"effective_rank_{SIDE}": "effective rank of {side} (dimensions)",
            f"rank_{SIDE}": "singular values above 1 of {side} (count)",
        },
        {r"centered\..*": "of one kind, or both, nothing is left once its mean is taken off"},
        {r"centered\.separability": BELOW_CENTRED},
    ),
    Table(
        "Both kinds moved along the gap",
        {"shift_": "not moved", "shift_closed_": "means meet", "shift_best_": "least loss"},
        {
            "delta": "shift, half by each kind (unit-vector lengths)",
            "distance": "signed distance of the means",
            "loss": "contrastive loss at temperature 0.01, in batches of {batch} pairs (nats)",
            rf"recall_(?P<k>\d+)_{SIDE}": "{side} that find their partner among the first {k} (share)",
            "recall_change": "change of recall@10, both ways, against not moved (share)",
            r"delta_scale_(?P<scale>\d+)": "shift of least loss at temperature 1/{scale} (unit-vector lengths)",
        },
        {".*": "the means coincide, so that there is no gap to move along"},
    ),
)

GRAM = (
    Table(
        "Tuples that belong together against shuffled ones",
        {"": "items' own views", r"questions\.": "questions"},
        {
            "volume_matched_mean": "mean volume of matched tuples (0 to 1)",
            "volume_shuffled_mean": "mean volume of shuffled tuples (0 to 1)",
            "own_volume_mean": "mean own volume of the vectors beside the query (0 to 1)",
            "sine_matched_mean": "mean sine of a query to its item's span (0 to 1)",
            "sine_shuffled_mean": "mean sine of a query to another item's span (0 to 1)",
            "auc": "matched told from shuffled by volume (share; 0.5 is chance)",
            "auc_sine": "... by the sine alone (share)",
            "auc_cosine": "... by the mean cosine (share)",
            "auc_guarded": "... by volume, with what opposes the query last (share)",
            "auc_gain": "volume less mean cosine (share)",
            "sine_gain": "sine less mean cosine (share)",
            "opposed_matched": "matched tuples with a negative cosine to the query (share)",
            "opposed_shuffled": "shuffled tuples with a negative cosine to the query (share)",
            "volume_cosine_spearman": "rank correlation of volume and mean cosine of all pairs",
        },
        {
            r"(questions\.)?(own_volume|sine).*": "beside the query there is one vector, and own volume needs two",
            "volume_cosine_spearman": "one of the two does not vary",
            ".*": "items have one view here, and there is nothing to compare it with but questions",
        },
    ),
    Table(
        "The same matched queries turned to their opposite",
        {r"flip\.": VALUE},
        {
            "volume_largest_change": "largest change of a volume (0 to 1)",
            "auc": "opposites that pass for a match by volume (share; 0.5 is chance)",
            "auc_guarded": "... with what opposes the query last (share)",
        },
    ),
    Table(
        "Shuffled so that no two vectors are of one item",
        {r"mixed\.": VALUE},
        {"volume_mean": "mean volume (0 to 1)", "auc": "matched told from these by volume (share; 0.5 is chance)"},
    ),
    Table(
        "Whom a ranking of all items favours, whatever is asked",
        {
            r"prior\.volume_": "by volume",
            r"prior\.guarded_": "by volume, opposed last",
            r"prior\.sine_": "by sine",
            r"prior\.cosine_": "by mean cosine",
        },
        {
            "spearman": "rank correlation of own volume and times found",
            "pearson": "linear correlation of own volume and times found",
            "tenth": "first places that the tenth of smallest own volume takes (share; 0.1 is even)",
        },
        {".*_tenth": "fewer than 10 items, or all own volumes are alike", ".*": "own volumes, or finds, do not vary"},
    ),
)

HUBNESS = (
    Table(
        "How unevenly items are found, uncorrected, after each correction, and by chance",
        {"": "uncorrected", r"chance\.": "by chance", r"(?P<name>\w+)\.": "{name}"},
        {
            "skewness": "skewness of how often items are found (no unit)",
            "skewness_change": "change of the skewness (no unit)",
            "skewness_shared": "... if items with equal vectors shared their finds (no unit)",
            "copies": "items with the same vector as another (count)",
            "never_retrieved": "items never among the first {first} (share)",
            "largest_share": "questions that have the commonest item among the first {first} (share)",
            "first_largest_share": "questions that have the commonest first item first (share)",
            "robin_hood": "finds to move for an even share, Robin Hood index (share)",
            "found": "questions with a right item among the first {first} (share)",
            "found_change": "change of that (share)",
        },
    ),
)

AGREEMENT = (
    Table(
        "How alike both encoders see the same items",
        {rf"{VIEW}\.": "{view}"},
        {
            "cka": "linear CKA (0 to 1)",
            "cka_debiased": "linear CKA, debiased (1 is alike, 0 chance)",
            "cka_chance": "linear CKA by chance",
            "mutual_knn": "nearest items that are the same (share)",
            "mutual_knn_chance": "... by chance (share)",
            "spearman": "rank correlation of the cosines of pairs of items",
            "relative_correlation": "correlation of an item's cosines to shared anchors",
            "relative_hit": "items found again by cosines to anchors alone (share)",
            "relative_mrr": "... mean of 1 / place",
            "relative_hit_centred": "found again, each anchor's cosines less their mean (share)",
            "relative_mrr_centred": "... mean of 1 / place",
            "relative_hit_chance": "found again by chance (share)",
            "relative_mrr_chance": "... mean of 1 / place by chance",
        },
        {".*": "one of the two spaces does not vary"},
    ),
)

CALIBRATION = (
    Table(
        "Scores of answers",
        {rf"{RIVAL}{KIND}_{VIEW}\.": "{kind}, of {view}{rival}"},
        {
            "auc_within": "relevant above irrelevant within a question (share; 0.5 is chance)",
            "auc": "relevant above irrelevant across questions (share; 0.5 is chance)",
            "overlap": "overlap of the two distributions (share)",
            "relevant": "mean score of relevant items",
            "irrelevant": "mean score of irrelevant items",
            "threshold": "score of the best F1 on half of the questions",
            "precision": "precision above it on the other half (share)",
            "recall": "recall above it on the other half (share)",
            "even": "score from which one of the first 10 is more likely right than wrong",
            "above_null": "relevant pairs above 95 % of generic captions' best scores (share)",
        },
        {
            r".*\.even": "answers are too few, or not more often right the higher they score, or none scores as high",
            ".*": "too few questions to choose it on one half and judge it on the other",
        },
    ),
    Table(
        "Scores of generic captions, written with no item in mind",
        {rf"{RIVAL}null_{VIEW}\.": "{view}{rival}"},
        {
            "mean": "mean score over all items",
            "deviation": "standard deviation of the scores",
            "best": "what 95 % of their best scores stay below",
        },
    ),
    Table(
        "Who takes the first 10 places of one list of all views",
        {rf"{RIVAL}mixed_{KIND}\.{VIEW}_": "{kind}: {view}{rival}"},
        {
            "expected": "rows of the list (share)",
            "share": "rows among the first 10 (share)",
            "share_centred": "rows among the first 10, centred (share)",
        },
    ),
    Table(
        "Questions with a right item among the first 10",
        {rf"{RIVAL}mixed_{KIND}\.": "{kind}{rival}"},
        {
            "hit": "in one list of all views (share)",
            "hit_alone": "in a list of the searched view (share)",
            "hit_centred": "in one list of all views, centred (share)",
            "hit_alone_centred": "in a list of the searched view, centred (share)",
        },
    ),
)

DIMENSION = (
    Table(
        "Intrinsic dimension",
        {rf"{VIEW}\.": "{view}"},
        {
            "twonn": "TwoNN, by two neighbours, linear fit (dimensions)",
            "twonn_mle": "TwoNN by maximum likelihood (dimensions)",
            "mle": "Levina-Bickel over 20 neighbours (dimensions)",
            r"mle_(?P<k>\d+)": "Levina-Bickel over {k} neighbours (dimensions)",
            "lid_low": "local, a tenth of the items lies below (dimensions)",
            "lid_median": "local, median (dimensions)",
            "lid_high": "local, a tenth of the items lies above (dimensions)",
            "copies": "rows that are copies of others (share)",
        },
        {".*": "the neighbours are equally far"},
    ),
    Table(
        "Recall of a search graph, by the order in which items come and by whom it is asked",
        {
            r"random\.": "random order",
            r"ascending\.": "lowest local dimension first",
            r"descending\.": "highest first",
            r"lowest_fifth\.": "lowest fifth, random order",
            r"highest_fifth\.": "highest fifth, random order",
            r"questions\.": "questions, random order",
        },
        {
            r"recall_(?P<ef>\d+)": "10 nearest that are found at ef {ef} (share)",
            r"change_(?P<ef>\d+)": "change against random order at ef {ef} (share)",
            r"correlation_(?P<ef>\d+)": "rank correlation of local dimension and recall at ef {ef}",
        },
        {
            r"random\.correlation_.*": "the graph finds the same share for every item",
            r"questions\..*": "there are no questions to ask",
            ".*": "too few items for a graph",
        },
    ),
)

CONCEPTS = (
    Table(
        "Clusters and copies",
        {"": VALUE},
        {
            "clusters": "clusters that were made (count)",
            "largest": "items in the largest cluster (share)",
            "d_intra": "mean cosine distance of an item to its centre (0 to 2)",
            "d_inter": "mean cosine distance of a centre to others (0 to 2)",
            "near_duplicates": "items with a near-duplicate (share)",
            "near_duplicate_pairs": "pairs of near-duplicates (count)",
        },
    ),
    Table(
        "Both modalities in one clustering",
        {r"mixed\.": "as they are", r"centered\.": "centred"},
        {
            "one_modality": "clusters of one modality alone (share)",
            "purity": "rows of the own modality in a row's cluster (share; 0.5 is well mixed)",
            "together": "items both of whose rows share a cluster (share)",
            "v_measure": "V-measure against the classes (0 to 1)",
            "ami": "adjusted mutual information with the classes (0 is chance)",
            "change": "change of the V-measure by centring",
        },
        {r".*\.(v_measure|ami|change)": "two or more classes of the items were not given", ".*": "items have one view"},
    ),
    Table(
        "Clusters of each view against the classes",
        {rf"{VIEW}\.": "{view}"},
        {"v_measure": "V-measure (0 to 1)", "ami": "adjusted mutual information (0 is chance)"},
        {".*": "two or more classes of the items were not given"},
    ),
)

CAPACITY = (
    Table(
        "Vectors placed freely by gradient descent",
        {r"free\.": VALUE},
        {r"critical_(?P<d>\d+)": "documents all of whose pairs descent found queries for, in {d} dimensions (count)"},
    ),
    Table(
        "Pairs that are the first two of some query at all",
        {r"any\.": "this space", r"random\.": "random vectors", r"free\.": "placed freely"},
        {
            "share": "pairs of {items} items that have such a query (share)",
            "axes": "principal axes, or dimensions, until there are no more (count)",
        },
        {r"free\.axes": "more dimensions than were tried"},
    ),
    Table(
        "Pairs that the sum of two rows finds",
        {r"words\.": "asked by {asked}", r"own\.": "asked by themselves"},
        {
            "reached": "pairs found among {items} items (share)",
            "reached_all": "pairs found among all items (share)",
            "alone": "single ones that put their item first of {items} (share)",
            "chance": "pairs found by chance (share)",
        },
        {".*": "there are no questions, nor a second view, to ask with"},
    ),
)

TABLES: Mapping[str, tuple[Table, ...]] = {
    "gap": GAP,
    "gram": GRAM,
    "hubness": HUBNESS,
    "agreement": AGREEMENT,
    "calibration": CALIBRATION,
    "dimension": DIMENSION,
    "concepts": CONCEPTS,
    "capacity": CAPACITY,
}


def place(diagnostic: str, name: str, basis: Mapping[str, Any]) -> Place:
    """Where a number of a diagnostic stands and what it is called; views by the `labels` in the basis.

    A name that no table knows stands in one without a title, in the words that it is made of.
    """
    for table, column, row, order, pattern in _patterns(diagnostic):
        if found := pattern.fullmatch(name):
            said = _words(basis, {k: v for k, v in found.groupdict().items() if k not in ("prefix", "suffix")})
            reasons = (table.absent, table.below)
            why, below = (next((r for p, r in some.items() if re.fullmatch(p, name)), "") for some in reasons)
            return Place(table.title, said(column), found["prefix"], said(row), found["suffix"], why, order, below)
    return Place("", VALUE, "", name.replace("_", " ").replace(".", ": "), name)


@lru_cache(maxsize=16)
def _patterns(diagnostic: str) -> tuple[tuple[Table, str, str, int, re.Pattern[str]], ...]:
    return tuple(
        (table, column, row, order, re.compile(f"(?P<prefix>{before})(?P<suffix>{after})"))
        for table in TABLES.get(diagnostic, ())
        for before, column in table.columns.items()
        for order, (after, row) in enumerate(table.rows.items())
    )


def _words(basis: Mapping[str, Any], found: Mapping[str, str | None]) -> Callable[[str], str]:
    """Fills a label with what its pattern found and with what the basis says."""
    labels = basis.get("labels", {})
    side, view = found.get("side") or "", found.get("view") or ""
    asked = str(basis.get("asked_by") or "words")
    captions = basis.get("captions", "captions")
    kind = found.get("kind") or ""
    filled = {name: value or "" for name, value in found.items()} | {
        "side": labels.get(basis.get(side, side), side),
        "view": labels.get(view, view),
        "kind": KINDS.get(kind, captions),
        "rival": " (second encoder)" if found.get("rival") else "",
        "items": str(basis.get("items", "")),
        "batch": str(basis.get("batch", "")),
        "first": str(basis.get("k", "")),
        "asked": "questions" if "question" in asked else asked,
    }
    return lambda text: text.format_map(filled)
