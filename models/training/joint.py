"""Training `lite-joint`: contrastive steps over composed pairs, names and class texts, on two cores in minutes."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from mmretrieval.types import Role
from models.efficientnet_lite import HEAD
from models.lite_joint import INSTRUCTIONS, Tokens, padded
from models.lite_joint_net import JointNet, Scale, Sight, Words
from models.training.drawing import Drawing
from models.training.joint_grids import Grids
from models.training.joint_pairs import Pair, trained_pairs

RELATIONS = {"style": 0.3, "tone": 0.2, "gender": 0.15, "instead": 0.25, "keyword": 0.1}
TASKS = {"name": 0.55, "likeness": 0.1, "captioned": 0.2, "class": 0.15}
WITHOUT_INSTRUCTION = 0.1
PSEUDO_NOISE = 0.5
TEMPERATURE = 0.05


@dataclass(frozen=True)
class Plan:
    """How long and how fast."""

    steps: int = 400
    pairs: int = 48
    rate: float = 2e-3
    warm: int = 30
    seed: int = 0


@dataclass
class WordStates:
    """(instruction, text) -> token states at the layer where pictures join: frozen, so computed once for each."""

    net: JointNet
    tokens: Tokens
    _kept: dict[tuple[str, str], tuple[Tensor, list[int]]] = field(default_factory=dict)
    _rows: dict[str, Tensor] = field(default_factory=dict)

    def words(self, asked: Sequence[tuple[str, str]]) -> Words:
        fresh = [a for a in dict.fromkeys(asked) if a not in self._kept]
        for start in range(0, len(fresh), 64):
            batch = fresh[start : start + 64]
            rows = [self.tokens.row(*a) for a in batch]
            ids, seen, _ = padded(rows)
            states = self.net.read(ids, seen)
            for a, row, state in zip(batch, rows, states, strict=True):
                self._kept[a] = (state[: len(row[0])].to(torch.float16), row[1])
        found = [self._kept[a] for a in asked]
        states = torch.nn.utils.rnn.pad_sequence([state for state, _ in found], batch_first=True).float()
        _, seen, pooled = padded([([0] * len(counted), counted) for _, counted in found])
        return Words(states, seen, pooled)

    @torch.no_grad()
    def rows(self, texts: Sequence[str]) -> Tensor:
        """Unit rows (n, WIDTH) of words alone, which no training changes."""
        fresh = [t for t in dict.fromkeys(texts) if t not in self._rows]
        for start in range(0, len(fresh), 64):
            batch = fresh[start : start + 64]
            self._rows.update(zip(batch, self.net(self.words([("", t) for t in batch])).clone(), strict=True))
        return torch.stack([self._rows[t] for t in texts])


@dataclass
class Material:
    """Drawings with their grids, and everything that a step needs to encode them."""

    drawings: Sequence[Drawing]
    grids: Grids
    scale: Scale
    states: WordStates

    def sight(self, rows: Sequence[int]) -> Sight:
        return self.scale.sight(torch.from_numpy(self.grids[list(rows)]))

    def encode(self, role: Role, sight: Sight, texts: Sequence[str] | None = None, said: str | None = None) -> Tensor:
        """Unit rows of pictures, with texts or alone, under the default instruction or what is `said`."""
        instruction = said
        if instruction is None:
            instruction = INSTRUCTIONS[role, ("image",) if texts is None else ("text", "image")]
        asked = [(instruction, text) for text in texts or [""] * len(sight.places)]
        return self.states.net(self.states.words(asked), sight)


def contrast(queries: Tensor, targets: Tensor, same: Tensor, temperature: Tensor) -> Tensor:
    """InfoNCE both ways (van den Oord et al. 2018, arXiv 1807.03748): row i of each belongs together.

    Where `same` (n, n) holds off the diagonal, the pair is no negative: it shows the same thing.
    """
    scores = queries @ targets.T / temperature
    off = same & ~torch.eye(len(same), dtype=torch.bool)
    scores = scores.masked_fill(off, -torch.inf)
    goal = torch.arange(len(scores))
    return (F.cross_entropy(scores, goal) + F.cross_entropy(scores.T, goal)) / 2


def identical(labels: Sequence[object]) -> Tensor:
    """(n, n): which labels are equal."""
    places: dict[object, int] = {}
    codes = torch.tensor([places.setdefault(label, len(places)) for label in labels])
    return codes[:, None] == codes[None]


class Steps:
    """The losses of one step, each over a batch drawn by a seeded generator."""

    def __init__(
        self,
        material: Material,
        rows: Sequence[int],
        plan: Plan,
        classes: Sequence[str],
    ) -> None:
        """`rows` are the places of the drawings that may be trained on; `classes` are the class texts."""
        self._all, self._plan, self._classes = material, plan, classes
        self._chance = random.Random(plan.seed)
        self._drawings = [material.drawings[r] for r in rows]
        self._rows = list(rows)
        self.pairs = trained_pairs(self._drawings, plan.seed)
        self._clip_art = [i for i, d in enumerate(self._drawings) if d.source == "openclipart"]
        self._emoji = [i for i, d in enumerate(self._drawings) if d.source != "openclipart"]
        self._cycles = {relation: _by_concept(pairs, self._drawings) for relation, pairs in self.pairs.items()}
        self._tasks = {
            "name": self._name, "likeness": self._likeness,
            "captioned": self._captioned, "class": self._class,
        }  # fmt: skip
        self._noise = torch.Generator().manual_seed(plan.seed)

    def composed(self, temperature: Tensor) -> Tensor:
        """Pictures and words of a change -> pictures; a pair's inverse in the batch makes the picture a negative."""
        relation = self._pick({name: weight for name, weight in RELATIONS.items() if self._cycles[name]})
        pairs = self._batch(relation)
        said = [self._chance.choice(p.wordings[:-1]) for p in pairs]
        queries = self._all.encode("query", self._sight([p.query for p in pairs]), said, self._instruction())
        targets = self._all.encode("item", self._sight([p.target for p in pairs]))
        same = identical([self._drawings[p.target].key for p in pairs])
        return contrast(queries, targets, same, temperature)

    def plain(self, temperature: Tensor) -> Tensor:
        """One of the tasks without composition, that keep words alone and pictures alone in the same space."""
        return self._tasks[self._pick(TASKS)](temperature)

    def _batch(self, relation: str) -> list[Pair]:
        concepts = self._cycles[relation]
        found: list[Pair] = []
        names = list(concepts)
        while len(found) < self._plan.pairs:
            cycles = concepts[self._chance.choice(names)]
            for cycle in self._chance.sample(cycles, min(2, len(cycles))):
                found += cycle
        return found[: self._plan.pairs]

    def _sight(self, places: Sequence[int]) -> Sight:
        return self._all.sight([self._rows[p] for p in places])

    def _pick(self, weights: dict[str, float]) -> str:
        return self._chance.choices(list(weights), list(weights.values()))[0]

    def _instruction(self) -> str | None:
        return "" if self._chance.random() < WITHOUT_INSTRUCTION else None

    def _some(self) -> tuple[list[int], Tensor]:
        half = self._plan.pairs // 2
        places = [
            self._chance.choice(kind) for kind in (self._clip_art or self._emoji, self._emoji) for _ in range(half)
        ]
        shown = [self._drawings[p] for p in places]
        return places, identical([(d.concept, d.tone, d.gender) for d in shown])

    def _texts(self, places: Sequence[int]) -> list[str]:
        return [self._chance.choice(self._drawings[p].texts) for p in places]

    def _name(self, temperature: Tensor) -> Tensor:
        places, same = self._some()
        role: Role = self._chance.choice(("query", "item"))
        pictures = self._all.encode(role, self._sight(places), None, self._instruction())
        return contrast(self._all.states.rows(self._texts(places)), pictures, same, temperature)

    def _likeness(self, temperature: Tensor) -> Tensor:
        pairs = self._batch("style")
        queries = self._all.encode("query", self._sight([p.query for p in pairs]), None, self._instruction())
        targets = self._all.encode("item", self._sight([p.target for p in pairs]))
        shown = [self._drawings[p.target] for p in pairs]
        return contrast(queries, targets, identical([(d.concept, d.tone, d.gender) for d in shown]), temperature)

    def _captioned(self, temperature: Tensor) -> Tensor:
        places, same = self._some()
        asked, written = self._texts(places), self._texts(places)
        targets = self._all.encode("item", self._sight(places), written, self._instruction())
        return contrast(self._all.states.rows(asked), targets, same, temperature)

    def _class(self, temperature: Tensor) -> Tensor:
        """The classifier's own weight rows as pictures of its classes."""
        chosen = self._chance.sample(range(len(self._classes)), self._plan.pairs)
        targets = self._all.encode("item", pseudo(self._all.scale, torch.tensor(chosen), self._noise))
        texts = self._all.states.rows([self._classes[c] for c in chosen])
        return contrast(texts, targets, identical(chosen), temperature)


def pseudo(scale: Scale, classes: Tensor, noise: torch.Generator) -> Sight:
    """Sights of classes (n,): their standardised weight rows with noise at each place, and their texts."""
    weights = scale.fc_weight
    rows = ((weights - weights.mean(0)) / weights.std(0))[classes]
    places = torch.zeros(len(rows), 9, len(scale.mean))
    spread = torch.randn(len(rows), 9, HEAD, generator=noise)
    places[..., :HEAD] = rows[:, None] + PSEUDO_NOISE * spread
    texts = scale.class_texts[classes]
    other = scale.class_texts[torch.randint(len(weights), (len(rows),), generator=noise)]
    return Sight(places, 0.7 * texts + 0.3 * other)


def _by_concept(pairs: Sequence[Pair], drawings: Sequence[Drawing]) -> dict[str, list[list[Pair]]]:
    """Pairs with their inverses, by the concept of the first's query."""
    cycles: dict[tuple[int, int], list[Pair]] = defaultdict(list)
    for one in pairs:
        if len(cycles[one.cycle]) < 2:
            cycles[one.cycle].append(one)
    found: dict[str, list[list[Pair]]] = defaultdict(list)
    for cycle in cycles.values():
        found[drawings[cycle[0].query].concept].append(cycle)
    return dict(found)


def train(steps: Steps, net: JointNet, plan: Plan, report: Callable[[int, float, float], None]) -> None:
    """Runs the plan; `report(step, composed loss, plain loss)` hears of each step. Products are in bfloat16."""
    log_scale = torch.nn.Parameter(torch.tensor(math.log(TEMPERATURE)))
    optimiser = torch.optim.AdamW([*net.parameters(), log_scale], lr=plan.rate, weight_decay=0.01)
    for step in range(plan.steps):
        warmth = min(1.0, (step + 1) / plan.warm)
        fall = 0.5 * (1 + math.cos(math.pi * step / plan.steps))
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * warmth * fall
        with torch.autocast("cpu", torch.bfloat16):
            temperature = log_scale.exp().clamp(0.02, 0.2)
            composed, plain = steps.composed(temperature), steps.plain(temperature)
            loss = composed + plain
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        report(step, float(composed.detach()), float(plain.detach()))
