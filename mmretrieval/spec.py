"""How an encoder is named: a catalogue's name or `family:model`, with options after semicolons."""

from __future__ import annotations

from dataclasses import dataclass

from mmretrieval.errors import BadRecipe

# A further catalogue: encoders that are nobody else's business.
OWN_CATALOG = "MMRETRIEVAL_CATALOG"
# A recipe is cut at these before its encoders are read.
RESERVED = ",+"
# Where an encoder stands this asks for BM25 over the items' words (mmretrieval/lexical.py), which needs no vectors.
LEXICAL = "bm25"


@dataclass(frozen=True)
class EncoderSpec:
    """A catalogue name or `family:model`, with options sorted by name; its text is canonical."""

    name: str
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return ";".join([self.name, *(f"{key}={value}" for key, value in self.options)])


def parse_spec(text: str) -> EncoderSpec:
    """The spec that a text spells ("clip-b32;precision=bf16"), options in any order; raises BadRecipe.

    Whether the name exists is not asked here.
    """
    name, *pieces = (piece.strip() for piece in text.strip().split(";"))
    if not name:
        raise BadRecipe(f"encoder {text!r} has no name: begin with one, as in 'lite' or 'clip-b32;precision=bf16'")
    if cut := [c for c in RESERVED if c in text]:
        raise BadRecipe(
            f"encoder {text!r} holds {' and '.join(map(repr, cut))}, where a recipe would cut it: name it in a "
            f"catalogue of your own ({OWN_CATALOG}=FILE), or give its files a path without"
        )
    options: dict[str, str] = {}
    for piece in pieces:
        key, equals, value = (half.strip() for half in piece.partition("="))
        if not (key and equals and value):
            raise BadRecipe(f"encoder {text!r}: the option {piece!r} is not NAME=VALUE, as in 'precision=bf16'")
        if key in options:
            raise BadRecipe(f"encoder {text!r} gives the option {key!r} twice: keep one")
        options[key] = value
    return EncoderSpec(name, tuple(sorted(options.items())))
