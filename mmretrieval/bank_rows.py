"""A bank of reference queries as encoders see it: embedded once, and kept."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

from mmretrieval.bank import Bank
from mmretrieval.embedding import check_readable
from mmretrieval.errors import BadQuery, CannotRead
from mmretrieval.part_rows import PartRows, part_rows
from mmretrieval.recipe import Stage
from mmretrieval.search import JOINT
from mmretrieval.search.compose import read_together
from mmretrieval.types import Array, Card, Encoder, Modality, Query

_BANKS: dict[tuple[str, str, bool, str], PartRows] = {}
_LOCK = threading.Lock()


def bank_rows(encoder: Encoder, bank: Bank, composer: Stage, beside: Encoder | None = None) -> PartRows:
    """The parts of a bank's queries as an encoder sees them; queries that it cannot read are left out.

    With `beside`, another encoder, only what both can read, each part by itself: part i of both is the same.
    """
    joint = beside is None and sets_together(encoder.card, composer)
    key = (encoder.card.space, bank.digest, joint, beside.card.space if beside else "")
    with _LOCK:
        if key not in _BANKS:
            queries = together(encoder, bank.queries, composer) if joint else bank.queries
            readers = [encoder, *([beside] if beside else [])]
            readable = [q for q in queries if all(_readable(reader, q) for reader in readers)]
            _BANKS[key] = part_rows(encoder, readable, _no_item)
        return _BANKS[key]


def together(encoder: Encoder, queries: Sequence[Query], composer: Stage) -> Sequence[Query]:
    """The queries with words set into their pictures, where the encoder reads both and the composer asks for it."""
    if sets_together(encoder.card, composer):
        return [replace(query, parts=read_together(query.parts)) for query in queries]
    return queries


def sets_together(card: Card, composer: Stage) -> bool:
    """Whether words are set into pictures for an encoder: where it reads both, and the composer asks for it."""
    return composer.name == JOINT and card.joint


def _readable(encoder: Encoder, query: Query) -> bool:
    try:
        check_readable(encoder.card, [p.content for p in query.parts if p.content is not None], "query")
    except CannotRead:
        return False
    return True


def _no_item(ident: str) -> tuple[Modality, Array]:
    raise BadQuery(f"a reference query names the item {ident}: reference queries are words and pictures of their own")
