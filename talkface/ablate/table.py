"""The table of an ablation: the trained rows and the paper's figures, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from talkface.files import write_bytes, write_json
from talkface.train.presets import PAPER_NAMES, PAPER_TABLE_3, TrainConfig

PAPER_COLUMNS = ("paper_psnr", "paper_ssim", "paper_lmd")
NOTE = (
    "The paper's columns are from its Table 3. Its models were trained on all of LRW, and its PSNR is on the scale of "
    "psnr_lineage. Compare the order of the rows, not the figures."
)


def write_table(
    out: Path, figures: dict[str, dict[str, Any]], planned: TrainConfig, minutes: float
) -> list[dict[str, Any]]:
    """Writes table.md, table.csv and table.json; returns the lines of the table.

    Args:
        out: folder of the study.
        figures: by row, the contents of its figures.json: "figures" by name, or "failed" with the reason.
        planned: the configuration of the full model, with the steps of all rows.
        minutes: minutes of training for each row.

    Raises:
        TalkfaceError: the files cannot be written, for example because the disk is full.
    """
    lines = [_line(row, found) for row, found in figures.items()]
    ours = [name for name in _names(lines) if name not in ("row", "paper_name", "failed", *PAPER_COLUMNS)]
    steps = {stage.name: stage.steps for stage in planned.stages}
    facts = {"minutes": minutes, "seed": planned.seed, "steps": steps, "note": NOTE, "rows": lines}
    write_json(out / "table.json", facts)
    write_bytes(out / "table.csv", _as_csv(lines, [n for n in _names(lines) if not n.endswith("_ci95")]).encode())
    caption = f"{minutes:g} minutes of training for each row, seed {planned.seed}, steps: "
    caption += ", ".join(f"{stage} {count}" for stage, count in steps.items()) + f". {NOTE}"
    columns = [name for name in ours if not name.endswith("_ci95")]
    write_bytes(out / "table.md", f"{_as_markdown(lines, columns)}\n{caption}\n".encode())
    return lines


def _line(row: str, found: dict[str, Any]) -> dict[str, Any]:
    paper = dict(zip(PAPER_COLUMNS, PAPER_TABLE_3[row], strict=True)) if row in PAPER_TABLE_3 else {}
    base, _, number = row.rpartition("-")
    name = PAPER_NAMES.get(row) or (f"{PAPER_NAMES[base]}, seed {number}" if base in PAPER_NAMES else "")
    measured = {"failed": found["failed"]} if "failed" in found else found["figures"]
    numbers = {name: None if value != value else value for name, value in measured.items()}  # JSON has no NaN
    return {"row": row, "paper_name": name, **numbers, **paper}


def _names(lines: list[dict[str, Any]]) -> list[str]:
    """All names in the lines in order of appearance, the paper's columns last."""
    names = dict.fromkeys(name for line in lines for name in line if name not in PAPER_COLUMNS)
    return [*names, *PAPER_COLUMNS]


def _as_csv(lines: list[dict[str, Any]], names: list[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _as_markdown(lines: list[dict[str, Any]], columns: list[str]) -> str:
    header = ["row", "in the paper", *columns, *(name.replace("_", " ") for name in PAPER_COLUMNS)]
    rows = [header, ["---"] * 2 + ["---:"] * (len(header) - 2)]
    for line in lines:
        cells = [_cell(line, name) for name in (*columns, *PAPER_COLUMNS)]
        rows.append([f"`{line['row']}`", line["paper_name"], *cells])
    table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
    failed = [f"`{line['row']}`: {line['failed']}\n" for line in lines if "failed" in line]
    return "\n".join([table, *failed])


def _cell(line: dict[str, Any], name: str) -> str:
    value = line.get(name)
    if value is None:
        return "-"
    if name in PAPER_COLUMNS:
        return f"{value:.2f}"
    low, high = line.get(f"{name}_ci95") or (None, None)
    return f"{value:.3f}" if low is None or low != low else f"{value:.3f} [{low:.3f}, {high:.3f}]"
