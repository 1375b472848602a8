"""What the library says by logging reaches the terminal of a command, and only while it runs."""

from __future__ import annotations

import logging

from ingest.notes import notes


def test_lines_come_while_it_lasts_and_a_warning_says_that_it_is_one() -> None:
    lines: list[str] = []
    library, trainer, other = (logging.getLogger(name) for name in ("mmretrieval.fits", "models.bebr", "elsewhere"))
    library.info("before")
    with notes(lines.append):
        library.info("fitting %s", "center")
        trainer.warning("hm")
        trainer.debug("never")
        other.info("not ours")
    library.info("after")
    assert lines == ["fitting center", "warning: hm"]
    assert not logging.getLogger("mmretrieval").handlers and logging.getLogger("mmretrieval").level == logging.NOTSET
