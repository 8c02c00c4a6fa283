"""Runs an evaluation: checks the outputs, loads data and networks, scores the clips, draws and writes the results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from talkface.device import cores, one_thread
from talkface.errors import TalkfaceError
from talkface.evaluate.conditions import Conditions, clip_sound, describe_weights, load_generators, open_clips
from talkface.evaluate.config import ROWS, DatasetEval, OutputOptions, PairEval, PairListEval
from talkface.evaluate.examples import (
    FIGURE_ROWS,
    ClipPictures,
    Example,
    Gallery,
    Recorder,
    distinct_names,
    example_clips,
    scattered_clips,
)
from talkface.evaluate.metrics_table import paper_row
from talkface.evaluate.report import Report, clip_table
from talkface.evaluate.score import ClipScore, Scorer, build_scorer
from talkface.files import check_writable_file, check_writable_folder

OnStep = Callable[[int, int], None]
OnNote = Callable[[str], None]
Item = TypeVar("Item")
Result = TypeVar("Result")


def evaluate(
    config: DatasetEval | PairEval | PairListEval, on_step: OnStep | None = None, on_note: OnNote | None = None
) -> Report:
    """Score a generator on a data set, or generated videos against real ones, and write the requested files.

    Args:
        config: what to score; its class says which kind of evaluation it is.
        on_step: called after each clip with the frames scored so far and the frames in all; for videos with videos.
        on_note: called with a sentence for each default that was chosen and each metric that was left out. The notes
            of the report are not repeated here.

    Returns:
        The report, which is also written to `config.json`, `config.csv` and `config.figures` if these are given.

    Raises:
        TalkfaceError: data, weights or a video are missing; nothing can be scored; a result cannot be written.
    """
    on_step, on_note = on_step or (lambda done, total: None), on_note or (lambda note: None)
    check_outputs(config)
    if isinstance(config, DatasetEval):
        report, gallery = evaluate_dataset(config, on_step, on_note)
        if config.figures:
            from talkface.evaluate.figures import draw_dataset  # here, because matplotlib is optional

            draw_dataset(config.figures, gallery, report)
    else:
        report, examples = evaluate_videos(config, on_step, on_note)
        if config.figures:
            from talkface.evaluate.figures import draw_videos

            draw_videos(config.figures, examples, report)
    if config.json:
        report.write_json(config.json)
    return report


def evaluate_dataset(config: DatasetEval, on_step: OnStep, on_note: OnNote) -> tuple[Report, Gallery]:
    """Score the rows of `config.rows` on a data set.

    Returns:
        The report, and what the figures show; the latter is empty unless figures are requested.
    """
    name, clips = open_clips(config.data, config.split, config.limit, on_note)
    if len(clips) == 1 and set(config.rows) == {"wrong_sound"}:
        raise TalkfaceError(
            "--rows wrong_sound needs the speech of another clip, but there is only one clip.",
            "Score more clips, or other rows: --rows still,model",
        )
    scorer = build_scorer(config)
    generates = set(config.rows) != {"still"}
    files: dict[str, Path | None] = {}
    if generates or config.figures:
        files["model"] = config.weights
    if config.figures:
        names = distinct_names(config.ablation, taken=("real", *ROWS))
        files |= dict(zip(names, config.ablation, strict=True))
    generators = load_generators(files, scorer.device)
    conditions = Conditions(clips, generators, config.identity, config.seed, scorer.device)
    rows, notes = _possible_rows(config.rows, conditions)
    scoring = _DatasetScoring(conditions, scorer, rows, figures=config.figures is not None)
    workers = config.workers or (cores() if scorer.device.type == "cpu" else 1)
    scores, gallery = scoring.run(config.csv, workers, on_step)
    report = Report(
        dataset=name,
        split=config.split,
        weights=describe_weights(config.weights) if generates else None,
        metrics=scorer.metrics,
        scores=scores,
        paper=paper_row(name) or None,
        notes=notes,
        seed=config.seed,
        facts={"identity": config.identity},
    )
    return report, gallery


def _possible_rows(rows: tuple[str, ...], conditions: Conditions) -> tuple[tuple[str, ...], list[str]]:
    """The rows that can be computed, and a note for each one that cannot.

    Raises:
        TalkfaceError: there are none.
    """
    reasons = {}
    if "wrong_sound" in rows and len(conditions.clips) == 1:
        reasons["wrong_sound"] = "it needs the speech of another clip."
    if "true_lips" in rows and not conditions.takes_lips:
        reasons["true_lips"] = "the paper's generator takes no lips."
    possible = tuple(row for row in rows if row not in reasons)
    if not possible:
        raise TalkfaceError(
            f"--rows {','.join(rows)} leaves no row: {' '.join(reasons.values())}",
            "Score other rows: --rows still,model",
        )
    return possible, [f"The row {row} is left out: {reason}" for row, reason in reasons.items()]


class _DatasetScoring:
    """Scores the clips of a data set and records what the figures show of them."""

    def __init__(self, conditions: Conditions, scorer: Scorer, rows: tuple[str, ...], figures: bool) -> None:
        self.conditions, self.scorer, self.rows = conditions, scorer, rows
        self.ablated = [name for name in conditions.generators if name != "model"]
        count = len(conditions.clips) if figures else 0
        self.examples, self.scattered = example_clips(count), scattered_clips(count)

    def run(self, csv: Path | None, workers: int, on_step: OnStep) -> tuple[list[ClipScore], Gallery]:
        """Score all clips. The scores are in the order of the clips and are also written to `csv`."""
        lengths = self.conditions.clips.lengths
        total, done, found, gallery = sum(lengths), 0, [], Gallery()
        with clip_table(csv, self.scorer.metrics) as add_line, one_thread_each(workers) as pool:
            for scores, pictures in in_order(pool, self.score_clip, range(len(lengths)), 2 * workers):
                for score in scores:
                    add_line(score)
                found += scores
                gallery.add(pictures)
                done += scores[0].frames
                on_step(done, total)
        return found, gallery

    def score_clip(self, number: int) -> tuple[list[ClipScore], ClipPictures]:
        """The scores of one clip, and what the figures show of it."""
        clip = self.conditions.clips[number]
        sound, is_example, is_scattered = clip_sound(clip), number in self.examples, number in self.scattered
        shown = FIGURE_ROWS if is_example else ("model",) if is_scattered else ()
        rows = self.conditions.rows(number, clip, dict.fromkeys((*self.rows, *shown)))
        photo = self.conditions.photo(number, clip)
        if not shown:
            return self.scorer.score(clip.name, clip.speaker, clip.frames(), rows, sound, photo=photo), ClipPictures()
        recorder = Recorder(len(clip))
        real, watched = recorder.watch("real", clip.frames()), recorder.watch_rows(rows)
        scores = self.scorer.score(clip.name, clip.speaker, real, watched, sound, is_example, photo)
        example = ablation = None
        if is_example:
            by_row = {score.row: score for score in scores}
            example = recorder.example(clip.name, [by_row[row] for row in FIGURE_ROWS if row in by_row], sound)
        if is_example and self.ablated:
            generated = self.conditions.rows(number, clip, self.ablated)
            ablation = recorder.ablation(clip.name, {name: row.frames for name, row in generated.items()})
        thumbnails = recorder.thumbnails() if is_scattered else None
        return [score for score in scores if score.row in self.rows], ClipPictures(example, ablation, thumbnails)


def evaluate_videos(config: PairEval | PairListEval, on_step: OnStep, on_note: OnNote) -> tuple[Report, list[Example]]:
    """Score generated videos against real ones.

    Returns:
        The report, whose only row is `model`, and the examples that the figures show; none unless figures are
        requested.
    """
    from talkface.evaluate.videos import compare, read_pairs  # here, because librosa takes a second to load

    if isinstance(config, PairListEval):
        pairs, dataset = read_pairs(config.pairs), config.pairs.name
        names = [f"{number}: {fake.name}" for number, (_, fake) in enumerate(pairs, 1)]
    else:
        pairs, dataset = [(config.real, config.fake)], f"{config.real.name} {config.fake.name}"
        names = [config.fake.name]
    shown = example_clips(len(pairs)) if config.figures else []
    titles = dict(zip(shown, distinct_names([pairs[number][1] for number in shown]), strict=True))
    scorer = build_scorer(config)
    scores, notes, examples = [], [], []
    with clip_table(config.csv, scorer.metrics) as add_line:
        for number, (real, fake) in enumerate(pairs):
            found = compare(names[number], real, fake, scorer, titles.get(number))
            add_line(found.score)
            scores.append(found.score)
            notes += found.notes
            if found.example is not None:
                examples.append(found.example)
            on_step(number + 1, len(pairs))
    report = Report(dataset, None, None, scorer.metrics, scores, notes=notes, seed=config.seed)
    return report, examples


@contextmanager
def one_thread_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads in which PyTorch uses one core per thread: two clips at once are faster than one on two cores.

    PyTorch's own setting is restored at the end.
    """
    with one_thread(workers > 1):
        pool = ThreadPoolExecutor(workers)
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def in_order(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], ahead: int
) -> Iterator[Result]:
    """The results of `work` in the order of the items, with at most `ahead` items started and not yet returned."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def check_outputs(output: OutputOptions) -> None:
    """Check before any work that the requested files and pictures can be written.

    Raises:
        TalkfaceError: they cannot.
    """
    for flag, path in {"--json": output.json, "--csv": output.csv}.items():
        if path is not None:
            check_writable_file(flag, Path(path))
    if output.figures is None:
        return
    check_writable_folder("--figures", Path(output.figures))
    try:
        import matplotlib  # noqa: F401 (only to see whether it is installed)
    except ImportError as error:
        raise TalkfaceError("--figures needs matplotlib.", "pip install 'talkface[figures]'") from error
