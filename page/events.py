"""How the page's events wait for one another, said to Gradio in one place."""

from __future__ import annotations

from typing import Any

# Events that only look things up: any number at once, unseen by API clients, no spinner.
FREE: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private", "show_progress": "hidden"}
# What becomes of an event while the same one is still answered. Gradio, left alone, drops it without a word, which is
# right for a button that begins long work. Those that carry what they are about are all heard, in their order where no
# two of them are answered at once; those that only say that a widget has changed happen once more at the end, with what
# the widgets hold then (but not where the one before them was refused).
EACH: dict[str, Any] = {"trigger_mode": "multiple"}
LAST: dict[str, Any] = {"trigger_mode": "always_last"}
# Quick ones that are all heard, one after the other.
TURN: dict[str, Any] = FREE | EACH | {"concurrency_limit": 1}
