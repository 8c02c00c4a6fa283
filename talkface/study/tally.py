"""Counts the answers of a user study: the paper's Table 4, with binomial intervals."""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from talkface.errors import TalkfaceError
from talkface.study.make import FORMAT, QUESTIONS

LEAST_CHECKS_RIGHT = 0.75  # share of a participant's attention checks


@dataclass(frozen=True)
class Share:
    """How often one method was chosen for one question."""

    method: str
    question: str
    chosen: int
    shown: int
    rate: float
    """chosen / shown."""
    low: float
    """Lower end of Wilson's 95 % interval, which treats all answers as independent."""
    high: float
    """Upper end of the interval."""


@dataclass
class Tally:
    """The result of a study."""

    shares: list[Share]
    participants: int
    """Number of participants whose answers were counted."""
    dropped: dict[str, str]
    """Why a participant's answers were not counted, by participant."""
    positions: dict[int, int] = field(default_factory=dict)
    """How often the video in each position on the page was chosen. Very unequal counts mean that participants clicked
    without looking."""

    def table(self) -> list[list[str]]:
        """A header and one row for each method: the percentage chosen, as in the paper's Table 4, with its interval."""
        titles = {"realistic": "Realistic", "in_step": "Synchronization"}
        rows = [["Method", *(titles[question] for question in QUESTIONS)]]
        for method in dict.fromkeys(share.method for share in self.shares):
            cells = {s.question: _percent(s) for s in self.shares if s.method == method}
            rows.append([method, *(cells.get(question, "-") for question in QUESTIONS)])
        return rows

    def as_json(self) -> dict[str, Any]:
        """The result as dictionaries, numbers and strings that `json` can write."""
        rows: dict[str, dict[str, dict[str, Any]]] = {}
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
    """Counts the answers to one study.

    A participant who fails more than a quarter of the attention checks is not counted. If there are two files of one
    participant, the one with more answers counts. The answers of a participant who stopped early count.

    Args:
        paths: files that participants saved from the page, or folders of such files.

    Raises:
        TalkfaceError: a file is not a file of answers, the answers are to different studies, or none can be counted.
    """
    answers = [read_answers(path) for path in _expand(paths)]
    studies = {one["study"] for one in answers}
    if len(studies) > 1:
        raise TalkfaceError(
            f"The answers are to {len(studies)} studies.", "Tally the answers to each study separately."
        )
    kept, dropped = _valid(answers)
    if not kept:
        raise TalkfaceError(
            "No answers are left to count: every participant failed the attention checks or answered no question.",
            "Give the answer files of other participants.",
        )
    methods = _methods(kept[0])
    chosen: Counter[tuple[str, int]] = Counter()
    shown: Counter[tuple[str, int]] = Counter()
    positions: Counter[int] = Counter()
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


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a share. It stays within 0 and 1, and it is valid for few trials too.

    Args:
        successes: from 0 to `trials`.
        trials: at least 1.
    """
    from scipy.stats import binomtest  # loading it takes longer than all of `study make`, which does not need it

    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def read_answers(path: Path) -> dict[str, Any]:
    """Reads and checks the answers of one participant.

    Raises:
        TalkfaceError: the file is not a file of answers, or is of a format that this version does not read.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
        if found["format"] != FORMAT:
            raise TalkfaceError(
                f"{path} has format {found['format']}; this version of talkface reads format {FORMAT}.",
                "Update talkface.",
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
            "Give the .json files that participants saved from the study's page.",
        ) from error


def _expand(paths: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in map(Path, paths):
        found += sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not found:
        raise TalkfaceError("No file of answers was found.", "Give answers-*.json files, or a folder that holds them.")
    return found


def _methods(answers: dict[str, Any]) -> list[str]:
    """The methods' names, in the order of the numbers that the page gave them."""
    return json.loads(base64.b64decode(answers["sealed"]))["methods"]


def _valid(answers: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The answers that count, one entry for each participant, and the reasons why the others do not."""
    fullest: dict[str, dict[str, Any]] = {}
    for one in answers:
        other = fullest.get(one["participant"])
        if other is None or len(one["answers"]) > len(other["answers"]):
            fullest[one["participant"]] = one
    dropped = {}
    for name, one in fullest.items():
        right = sum(check["chosen"] == check["wanted"] for check in one["checks"])
        if right < LEAST_CHECKS_RIGHT * len(one["checks"]):
            dropped[name] = f"{right} of {len(one['checks'])} attention checks right"
        elif not one["answers"]:
            dropped[name] = "no answers"
    return [one for name, one in fullest.items() if name not in dropped], dropped


def _percent(share: Share) -> str:
    return f"{share.rate:.2%} [{share.low:.1%}, {share.high:.1%}] ({share.chosen}/{share.shown})"
