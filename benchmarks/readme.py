"""Write the default run's scores and heatmap into the README: `readme.py results README.md` (make readme)."""

import shutil
import sys
from pathlib import Path

import pandas as pd
from page import origin_of, replace_figures

HEATMAP = "importance_vader_minilm-l6_daam_v1.png"
IMAGE = Path("docs/images/importance_daam_v1.png")


def table_of(results: Path) -> str:
    """Return the mean score of every variant with its interval, as Markdown."""
    frame = pd.read_csv(results / "tables/accuracy_summary.csv")
    mark = ["**" if best else "" for best in frame["significantly_best"]]
    numbers = zip(mark, frame["mean_percent"], frame["std_percent"], strict=True)
    shown = pd.DataFrame(
        {
            "": frame["title"],
            "accuracy (%), mean and spread": [f"{m}{mean:.1f} ± {std:.1f}{m}" for m, mean, std in numbers],
            "95 % interval": [
                f"{low:.1f} to {high:.1f}"
                for low, high in zip(frame["low_percent"], frame["high_percent"], strict=True)
            ],
        }
    )
    said = (
        "Bold: significantly better than every other variant and both baselines"
        if frame["significantly_best"].any()
        else "No group of variants is significantly better than all others and both baselines here"
    )
    highest = frame.loc[frame["mean_percent"].idxmax()]
    if highest["kind"] == "baseline":
        said = f"The highest mean is a baseline's: {highest['title']}. {said}"
    text = shown.to_markdown(index=False, disable_numparse=True)
    said = f"{said} (paired test over folds, Holm's correction). {origin_of(results, 'make readme')}"
    return f"\n{text}\n\n{said}\n"


def main() -> None:
    """Replace what stands between the marks of the page, and the picture."""
    results, page = Path(sys.argv[1]), Path(sys.argv[2])
    replace_figures(page, "make readme", table_of(results))
    shutil.copy(results / "figures" / HEATMAP, page.parent / IMAGE)


if __name__ == "__main__":
    main()
