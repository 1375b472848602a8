"""A process that ingests a folder with the hashing encoder and kills itself, as a power cut would, at a named point.

python killed.py LIBRARY FOLDER POINT NTH [ENCODER]     (POINT "-": it is not killed from within)
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> None:
    sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
    import second_encoder

    from ingest import pipeline, writer
    from ingest.walk import walk
    from mmretrieval import catalog
    from mmretrieval.library import Library

    library, folder, point, nth, *encoders = sys.argv[1:]
    table = second_encoder.blocks()
    catalog.blocks = lambda: table  # type: ignore[assignment]
    pipeline.BATCH, writer.MANY_PARTS, writer.MERGED_PART = 3, 4, 10
    met = 0

    def checkpoint(name: str) -> None:
        nonlocal met
        met += name == point
        if name == point and met == int(nth):
            os.kill(os.getpid(), signal.SIGKILL)

    with Library.create(library, ["hashing"]) as opened:
        pipeline.ingest(
            opened, walk([folder]), encoders=encoders, prune=[Path(folder)], workers=1, checkpoint=checkpoint
        )


if __name__ == "__main__":
    main()
