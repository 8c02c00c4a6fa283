"""Counts the answers of a user study: the paper's Table 4, with binomial intervals."""

from __future__ import annotations

import base64
import json
import math
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from talkface.errors import TalkfaceError
from talkface.study.make import FORMAT, QUESTIONS

CHECKS_WANTED = 0.75  # share of a participant's attention checks that must be right
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Share:
    """How often one method was chosen for one question."""

    method: str
    question: str
    chosen: int
    shown: int
    rate: float
    low: float
    """Wilson's 95 % interval, which takes answers for independent."""
    high: float


@dataclass
class Tally:
    """The result of a study."""

    shares: list[Share]
    participants: int
    """Who counted."""
    dropped: dict[str, str]
    """Participant: why the answers were not counted."""
    positions: dict[int, int] = field(default_factory=dict)
    """How often each place on the page was chosen: far from equal means that people clicked without looking."""

    def table(self) -> list[list[str]]:
        """Header and one row for each method: percent chosen with its interval, as in the paper's Table 4."""
        titles = {"realistic": "Realistic", "in_step": "Synchronization"}
        rows = [["Method", *(titles[question] for question in QUESTIONS)]]
        for method in dict.fromkeys(share.method for share in self.shares):
            cells = {s.question: _percent(s) for s in self.shares if s.method == method}
            rows.append([method, *(cells.get(question, "-") for question in QUESTIONS)])
        return rows

    def as_json(self) -> dict:
        """Plain data."""
        rows: dict[str, dict] = {}
        for share in self.shares:
            row = rows.setdefault(share.method, {})
            row[share.question] = {
                "chosen": share.chosen,
                "shown": share.shown,
                "rate": round(share.rate, 6),
                "ci95": [round(share.low, 6), round(share.high, 6)],
            }
        return {"participants": self.participants, "dropped": self.dropped, "rows": rows, "positions": self.positions}


def tally(paths: list[Path]) -> Tally:
    """Count answer files of one study.

    Who gets more than a quarter of the attention checks wrong is left out. Of two files of one participant the fuller
    one counts. Unfinished answers count as far as they go.

    Args:
        paths: files that the page gave its participants, or folders of them.

    Raises:
        TalkfaceError: a file holds something else, answers are of different studies, or none are left.
    """
    answers = [read_answers(path) for path in _expand(paths)]
    studies = {one["study"] for one in answers}
    if len(studies) > 1:
        raise TalkfaceError(f"The answers are of {len(studies)} studies.", "Tally each study's answers by themselves.")
    kept, dropped = _valid(answers)
    if not kept:
        raise TalkfaceError(
            "No answers are left to count.", "Everybody failed the attention checks, or answered nothing."
        )
    methods = _methods(kept[0])
    chosen, shown, positions = Counter(), Counter(), Counter()
    for answer in (answer for one in kept for answer in one["answers"]):
        chosen[answer["question"], answer["chosen"]] += 1
        positions[answer["shown"].index(answer["chosen"])] += 1
        shown.update((answer["question"], method) for method in answer["shown"])
    shares = []
    for name, number in sorted((name, number) for number, name in enumerate(methods)):
        for question in QUESTIONS:
            wins, times = chosen[question, number], shown[question, number]
            if times:
                shares.append(Share(name, question, wins, times, wins / times, *wilson(wins, times)))
    return Tally(shares, len(kept), dropped, dict(sorted(positions.items())))


def wilson(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's score interval of a share, which stays within 0 and 1 and holds for few trials too."""
    if trials == 0:
        return 0.0, 1.0
    share, spread = successes / trials, z * z / trials
    centre = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(share * (1 - share) / trials + spread / (4 * trials))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def read_answers(path: Path) -> dict:
    """One participant's answers, checked.

    Raises:
        TalkfaceError: it is not a file of answers.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
        if found["format"] != FORMAT:
            raise TalkfaceError(
                f"{path} is of format {found['format']}; this talkface reads {FORMAT}.", "Update talkface."
            )
        _methods(found)
        for answer in found["answers"]:
            if answer["question"] not in QUESTIONS or answer["chosen"] not in answer["shown"]:
                raise ValueError(f"answer {answer}")
        for check in found["checks"]:
            check["wanted"], check["chosen"]
        return found | {"participant": str(found["participant"]), "study": str(found["study"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TalkfaceError(
            f"{path} is not a file of study answers ({type(error).__name__}: {error}).",
            "Give the .json files that participants downloaded from the study's page.",
        ) from error


def _expand(paths: list[Path]) -> list[Path]:
    found = []
    for path in map(Path, paths):
        found += sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not found:
        raise TalkfaceError("There are no answers to tally.", "Give answers-*.json files, or a folder of them.")
    return found


def _methods(answers: dict) -> list[str]:
    return json.loads(base64.b64decode(answers["sealed"]))["methods"]


def _valid(answers: list[dict]) -> tuple[list[dict], dict[str, str]]:
    fullest: dict[str, dict] = {}
    for one in answers:
        before = fullest.get(one["participant"])
        if before is None or len(one["answers"]) > len(before["answers"]):
            fullest[one["participant"]] = one
    dropped = {}
    for name, one in fullest.items():
        right = sum(check["chosen"] == check["wanted"] for check in one["checks"])
        if right < CHECKS_WANTED * len(one["checks"]):
            dropped[name] = f"{right} of {len(one['checks'])} attention checks right"
        elif not one["answers"]:
            dropped[name] = "no answers"
    return [one for name, one in fullest.items() if name not in dropped], dropped


def _percent(share: Share) -> str:
    return f"{share.rate:.2%} [{share.low:.1%}, {share.high:.1%}] ({share.chosen}/{share.shown})"
