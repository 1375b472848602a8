"""What `lite-joint` is worth: composed queries against vector arithmetic, on emoji that were never seen.

    python -m models.training.joint_report --cache DIR

Queries are worded as no training pair was. The gallery of emoji is every held-out drawing in all four styles, that of
clip art the held-out pieces; the query's own picture is left out. Arithmetic is the unit sum (1 - w) picture + w text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
import typer
from safetensors.torch import load_file
from torch import Tensor

from mmretrieval import catalog
from mmretrieval.types import Role
from models.efficientnet_lite import HEAD
from models.heads import read_heads
from models.train_lite_joint import WEIGHTS, prepared
from models.training.drawing import Drawing
from models.training.joint_data import UNSEEN_STYLE
from models.training.joint_eval import Judged, Rows, interval, judge, mixed, sampled
from models.training.joint_pairs import Pair, double_changes, trained_pairs, untrained_changes

SHARES = tuple(round(0.1 * i, 1) for i in range(1, 10))
BATCH = 32


@dataclass(frozen=True)
class Question:
    """Pairs of one kind over a list of drawings, and the places of the gallery's."""

    name: str
    pairs: list[Pair]
    gallery: list[int]


def questions(shown: Sequence[Drawing], most: int) -> list[Question]:
    """What is asked of held-out drawings: trained changes, those that were not, and the style that was not."""
    emoji = [i for i, d in enumerate(shown) if d.source != "openclipart"]
    art = [i for i, d in enumerate(shown) if d.source == "openclipart"]
    found = []
    pairs = trained_pairs(shown, 0)
    pairs["tone and style"] = double_changes(shown)
    pairs["colour"] = [p for p in untrained_changes(shown) if p.relation == "colour"]
    for name, given in pairs.items():
        seen = [p for p in given if UNSEEN_STYLE not in (shown[p.query].source, shown[p.target].source)]
        found.append(Question(name, sampled(seen, shown, most), art if name == "keyword" else emoji))
    styles = pairs["style"]
    out = [p for p in styles if shown[p.query].source == UNSEEN_STYLE]
    into = [p for p in styles if shown[p.target].source == UNSEEN_STYLE]
    found += [
        Question("style, from the unseen", sampled(out, shown, most), emoji),
        Question("style, into the unseen", sampled(into, shown, most), emoji),
    ]
    return [question for question in found if question.pairs]


class Joint:
    """`lite-joint` with weights from a file, reading the pictures' grids that training left in the cache."""

    def __init__(self, cache: Path, weights: Path) -> None:
        self._material, _ = prepared(cache)
        kept = {key: value.float() for key, value in load_file(weights).items()}
        fixed = {key: kept.pop(key) for key in ("mean", "deviation", "class_texts")}
        self._material.scale = replace(self._material.scale, **fixed)
        self._material.states.net.load_state_dict(kept)
        self._places = [i for i, d in enumerate(self._material.drawings) if d.held_out]
        self.shown = [self._material.drawings[i] for i in self._places]

    @torch.inference_mode()
    def pictures(self, role: Role, which: Sequence[int], texts: Sequence[str] | None = None) -> Rows:
        """Unit rows of held-out drawings, with texts or alone."""
        done = []
        for start in range(0, len(which), BATCH):
            part = slice(start, start + BATCH)
            sight = self._material.sight([self._places[i] for i in which[part]])
            done.append(self._material.encode(role, sight, texts[part] if texts else None).numpy())
        return np.concatenate(done)

    def seen_by_classifier(self) -> tuple[Tensor, Tensor]:
        """The held-out drawings' pooled features (n, 1280) and their ConSE rows (n, 384)."""
        features = torch.from_numpy(self._material.grids[self._places])[..., :HEAD].float().mean(dim=1)
        parts = [self._material.sight(self._places[s : s + BATCH]).classes for s in range(0, len(self._places), BATCH)]
        return features, torch.cat(parts)

    def texts(self, texts: Sequence[str]) -> Rows:
        """Unit rows of words alone."""
        found: Rows = self._material.states.rows(texts).numpy()
        return found


@dataclass(frozen=True)
class Space:
    """What one encoder makes of the drawings as items and as queries, and of words."""

    items: Rows
    asked: Rows
    words: Callable[[Sequence[str]], Rows]


def spaces(joint: Joint, others: Sequence[str]) -> dict[str, Space]:
    """The joint encoder's space, and that of each other encoder of the `lite` kind by its catalogue name."""
    every = range(len(joint.shown))
    known = {"lite-joint": Space(joint.pictures("item", every), joint.pictures("query", every), joint.texts)}
    return known | {name: classifiers_space(joint, name) for name in others}


def classifiers_space(joint: Joint, name: str) -> Space:
    """What models.lite makes of the same pictures and words, from the features that the grids hold."""
    block, files = catalog.blocks()[name], catalog.data_files(name)
    heads = read_heads(files["heads"]) if "heads" in files else None
    weight = float(block.settings.get("trained_weight", 0))
    features, classes = joint.seen_by_classifier()

    def both(sentences: Tensor, trained: Tensor | None) -> Rows:
        half = F.normalize(sentences, dim=1)
        rows = half if trained is None else F.normalize(torch.cat([half, weight * trained], dim=1), dim=1)
        found: Rows = rows.numpy()
        return found

    def words(texts: Sequence[str]) -> Rows:
        rows = torch.from_numpy(joint.texts(texts))
        return both(rows, heads.text(rows) if heads else None)

    items = both(classes, heads.image(features) if heads else None)
    return Space(items, items, words)


def compared(question: Question, shown: Sequence[Drawing], ranked: dict[str, Judged]) -> dict[str, Any]:
    """Hits of each way, and how far the joint encoder is ahead of each at 10, with intervals."""
    concepts = [shown[p.query].concept for p in question.pairs]
    joint = ranked["lite-joint"]
    found: dict[str, Any] = {"n": len(concepts), "concepts": len(set(concepts)), "gallery": joint.candidates}
    found["chance@10"] = joint.chance(10)
    for name, judged in ranked.items():
        line: dict[str, Any] = {"hit@1": round(judged.hit(1), 4), "hit@10": round(judged.hit(10), 4)}
        if name != "lite-joint":
            for depth in (1, 10):
                span = interval(joint.ranks <= depth, judged.ranks <= depth, concepts)
                line[f"joint ahead @{depth}"] = [round(end, 4) for end in span]
        found[name] = line
    return found


def best_sum(pictures: Rows, texts: Rows, gallery: Rows, question: Question) -> tuple[float, Judged]:
    """The weight with the most hits at 10 on these very queries, more than arithmetic could know, and its hits."""
    judged = {w: judge(mixed(pictures, texts, w), gallery, question.pairs, question.gallery) for w in SHARES}
    weight = max(SHARES, key=lambda w: (judged[w].hit(10), judged[w].hit(1)))
    return weight, judged[weight]


def report(joint: Joint, others: Sequence[str], most: int) -> dict[str, Any]:
    """All questions for lite-joint, for sums of its own vectors, and for sums of each other encoder's."""
    shown, known = joint.shown, spaces(joint, others)
    found: dict[str, Any] = {}
    for question in questions(shown, most):
        said, places = [p.wordings[-1] for p in question.pairs], [p.query for p in question.pairs]
        gallery = {name: space.items[question.gallery] for name, space in known.items()}
        composed = joint.pictures("query", places, said)
        ranked = {"lite-joint": judge(composed, gallery["lite-joint"], question.pairs, question.gallery)}
        for name, space in known.items():
            texts, pictures = space.words(said), space.asked[places]
            weight, best = best_sum(pictures, texts, gallery[name], question)
            for way, queries in {"picture": pictures, "text": texts, "sum 0.5": mixed(pictures, texts, 0.5)}.items():
                ranked[f"{name}, {way}"] = judge(queries, gallery[name], question.pairs, question.gallery)
            ranked[f"{name}, best sum {weight}"] = best
        found[question.name] = compared(question, shown, ranked)
    return found | {"names": named(shown, known)}


def named(shown: Sequence[Drawing], known: dict[str, Space]) -> dict[str, Any]:
    """Finding a held-out drawing by its caption alone, source by source."""
    found: dict[str, Any] = {}
    for source in dict.fromkeys(d.source for d in shown):
        places = [i for i, d in enumerate(shown) if d.source == source and not d.tone]
        line: dict[str, Any] = {"n": len(places), "chance@10": round(10 / len(places), 4)}
        for name, space in known.items():
            scores = space.words([shown[i].texts[0] for i in places]) @ space.items[places].T
            ranks = (scores >= np.diag(scores)[:, None]).sum(1)
            line[name] = {f"hit@{k}": round(float((ranks <= k).mean()), 4) for k in (1, 10)}
        found[source] = line
    return found


def main(
    cache: Annotated[Path, typer.Option(help="Folder of the packages, as for models.train_lite_joint")],
    weights: Annotated[Path, typer.Option(help="The weights to judge")] = WEIGHTS,
    others: Annotated[str, typer.Option(help="Encoders of the lite kind whose sums are compared, by commas")] = "lite",
    most: Annotated[int, typer.Option(help="Queries of each kind at most")] = 300,
    threads: Annotated[int, typer.Option(help="Threads to compute with")] = 2,
) -> None:
    """Prints the comparison as JSON."""
    torch.set_num_threads(threads)
    found = report(Joint(cache, weights), [name for name in others.split(",") if name], most)
    typer.echo(json.dumps(found, indent=1))


if __name__ == "__main__":
    typer.run(main)
