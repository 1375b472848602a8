"""How the page's events wait for one another, said to Gradio in one place."""

from __future__ import annotations

from typing import Any

# Events that only look things up: any number at once, unseen by API clients, no spinner.
FREE: dict[str, Any] = {"concurrency_limit": None, "api_visibility": "private", "show_progress": "hidden"}
# What becomes of an event while the same one is still answered. Gradio, left alone, drops it without a word. Those that
# carry what they are about wait for their turn; those that only say that a widget has changed happen once more at the
# end, with what the widgets hold then.
EACH: dict[str, Any] = {"trigger_mode": "multiple"}
LAST: dict[str, Any] = {"trigger_mode": "always_last"}
