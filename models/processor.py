"""What this machine's processor can do, read without torch: light modules say with it how an encoder runs here."""

from __future__ import annotations

import functools
import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
# Without one of these, a processor widens every bf16 number to 32 bits before it multiplies: slower, and less exact.
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})


@functools.cache
def flags() -> frozenset[str]:
    """The processor's features as Linux names them ("avx512_bf16", on ARM "bf16"); none where it does not say."""
    try:
        text = CPUINFO.read_text("utf-8", errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def multiplies_bf16() -> bool:
    """Whether matrix products of bf16 numbers run in hardware here, several at once."""
    return bool(BF16_FLAGS & flags())


def speed_flags() -> str:
    """The features that decide how fast a network runs, for a table of measurements: "avx2 avx512f avx512_bf16"."""
    known = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "sve", "bf16", "i8mm")
    return " ".join(name for name in known if name in flags()) or platform.machine()


def how_it_runs(library: str, precision: str) -> str:
    """One phrase for a card's `runtime`: "torch, bf16", or that this processor makes it fp32."""
    if precision == "bf16" and not multiplies_bf16():
        return f"{library}, fp32 on a processor (this one has no bf16 arithmetic), bf16 on a GPU"
    return f"{library}, {precision}"
