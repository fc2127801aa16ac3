"""Write the captions of Snakemake's own report from those of the tables: `captions.py workflow/report`."""

import sys
from pathlib import Path

from daam_bench.analysis.captions import caption_files


def main() -> None:
    """Replace all captions of the folder."""
    folder = Path(sys.argv[1])
    for old in folder.glob("*.rst"):
        old.unlink()
    for name, text in caption_files().items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
