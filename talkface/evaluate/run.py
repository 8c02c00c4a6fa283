"""Runs an evaluation: opens what is asked for, scores clip after clip in threads, pools, writes."""

from __future__ import annotations

import stat
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import torch

from talkface.config import data_root, weights_dir
from talkface.data.reader import ClipDataset, evenly_spaced, open_dataset
from talkface.device import cores, pick_device
from talkface.errors import TalkfaceError
from talkface.evaluate.conditions import identity_face, mismatched_audio, row_frames, tile_windows
from talkface.evaluate.config import EvalConfig
from talkface.evaluate.metrics_table import paper_row
from talkface.evaluate.report import Report, clip_table
from talkface.evaluate.score import LANDMARK_METRICS, ClipScore, Scorer
from talkface.face.find import FaceFinder
from talkface.files import os_errors_as_user_errors
from talkface.model.checkpoint import load_estimator, load_generator, weights_hash
from talkface.model.generator import Generator

OnStep = Callable[[int, int], None]
OnNote = Callable[[str], None]


def evaluate(config: EvalConfig, on_step: OnStep | None = None, on_note: OnNote | None = None) -> Report:
    """Score a generator on a data set's split, or videos against videos, and write what `config` asks for.

    Args:
        config: what to score; see its fields.
        on_step: told frames scored and frames in all, after each clip (in pairs: videos).
        on_note: told what was chosen in place of a default or left out, one sentence at a time; not the report's notes.

    Returns:
        The report, also written to `config.json`, `config.csv` and `config.figures` where these are given.

    Raises:
        TalkfaceError: no such data, weights or video; nothing that can be scored; a result that cannot be written.
    """
    on_step, on_note = on_step or (lambda done, total: None), on_note or (lambda note: None)
    check_outputs(config)
    if config.of_videos:
        from talkface.evaluate.videos import evaluate_videos

        report = evaluate_videos(config, build_scorer(config, on_note), on_step)
    else:
        report = evaluate_dataset(config, on_step, on_note)
    if config.json:
        report.write_json(config.json)
    return report


def build_scorer(config: EvalConfig, on_note: OnNote) -> Scorer:
    """The metrics that can be computed, with their networks loaded. `mi` is dropped where nobody asked for it by name
    and no estimator is there."""
    metrics, device = config.wanted, pick_device(config.device)
    bundled = weights_dir() / "estimator.safetensors"
    if "mi" in metrics and config.metrics is None and config.estimator is None and not bundled.is_file():
        metrics = tuple(name for name in metrics if name != "mi")
        on_note(f"mi is left out: there is no {bundled.name} in {bundled.parent}.")
    finder = FaceFinder(device) if LANDMARK_METRICS & set(metrics) or config.of_videos else None
    estimator = load_estimator(config.estimator, device) if "mi" in metrics else None
    return Scorer(metrics, finder, estimator, device, config.seed)


def evaluate_dataset(config: EvalConfig, on_step: OnStep, on_note: OnNote) -> Report:
    """The rows of `config.rows` on a preprocessed data set."""
    name, clips = open_clips(config, on_note)
    if len(clips) == 1 and set(config.rows) == {"wrong_sound"}:
        raise TalkfaceError(
            "--rows wrong_sound: of one clip alone there is no other clip's speech to give it.",
            "Score more clips, or other rows: --rows still,model",
        )
    needs_voice = set(config.rows) - {"still"}
    device = pick_device(config.device)
    generator = load_generator(config.weights, device) if needs_voice else None
    run = _Run(config, clips, generator, build_scorer(config, on_note), device)
    notes = []
    if "wrong_sound" in config.rows and len(clips) == 1:
        notes.append("One clip: there is no other clip's speech for the row wrong_sound.")
    scores = run.scores(on_step)
    file = Path(config.weights or "generator.safetensors").name
    report = Report(
        dataset=name,
        split=config.split,
        weights=f"{file} sha256 {weights_hash(config.weights)}" if needs_voice else None,
        metrics=run.scorer.metrics,
        scores=scores,
        paper=paper_row(name),
        notes=notes,
        seed=config.seed,
        facts={"identity": config.identity},
    )
    if config.figures:
        from talkface.evaluate.figures import draw_dataset

        draw_dataset(config, clips, generator, run.scorer, report)
    return report


def open_clips(config: EvalConfig, on_note: OnNote) -> tuple[str, ClipDataset]:
    """The data set's name and the clips to score."""
    name = config.data
    if name is None:
        there = [known for known in ("lrw", "grid") if (data_root() / known / "dataset.json").is_file()]
        name = there[0] if there else "lrw"
        on_note(f"--data is not given: {name}, split {config.split}.")
    clips = open_dataset(name, config.split)
    if config.limit is not None and config.limit < len(clips):
        clips = clips.select(evenly_spaced(len(clips), config.limit))
    return Path(name).resolve().name, clips


@dataclass
class _Run:
    config: EvalConfig
    clips: ClipDataset
    generator: Generator | None
    scorer: Scorer
    device: torch.device

    def scores(self, on_step: OnStep) -> list[ClipScore]:
        """Of every clip and row, in the clips' order; also written to the CSV."""
        donors = mismatched_audio(self.clips.clip_speakers, self.config.seed)
        total, done, found = sum(self.clips.lengths), 0, []
        with clip_table(self.config.csv, self.scorer.metrics) as add_line, one_thread_each(self.workers) as pool:
            for scores in in_order(pool, self._score_clip, list(enumerate(donors)), 2 * self.workers):
                for score in scores:
                    add_line(score)
                found += scores
                done += scores[0].frames
                on_step(done, total)
        return found

    @property
    def workers(self) -> int:
        return self.config.workers or (cores() if self.device.type == "cpu" else 1)

    def _score_clip(self, number_and_donor: tuple[int, int]) -> list[ClipScore]:
        number, donor = number_and_donor
        clip, config = self.clips[number], self.config
        windows, wrong = clip.mfcc, None
        if "wrong_sound" in config.rows and donor != number:
            wrong = tile_windows(self.clips[donor].mfcc, len(clip))
        portrait = identity_face(clip, config.identity, config.seed + number)
        rows = row_frames(config.rows, self.generator, portrait, windows, wrong, self.device)
        return self.scorer.score(clip.name, clip.speaker, clip.frames(), rows, windows)


@contextmanager
def one_thread_each(workers: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that each run their networks on one core: two clips side by side beat one on two cores, for the networks
    here are too small to share. Torch's own setting is put back at the end."""
    before = torch.get_num_threads()
    if workers > 1:
        torch.set_num_threads(1)
    pool = ThreadPoolExecutor(workers)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def in_order(pool: ThreadPoolExecutor, work: Callable, items: list, ahead: int) -> Iterator:
    """Results of `work` in the items' order, with at most `ahead` items begun and not yet handed out."""
    waiting = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def check_outputs(config: EvalConfig) -> None:
    """Raises TalkfaceError at once, not after the work, where a file or pictures are wanted and cannot be written."""
    for path in filter(None, (config.json, config.csv)):
        target = Path(path).absolute()
        with os_errors_as_user_errors(target), TemporaryFile(dir=target.parent), suppress(FileNotFoundError):
            if stat.S_ISDIR(target.stat().st_mode):
                raise TalkfaceError(f"{target} is a folder; the result needs a file name.", "Name a file in it.")
    if config.figures is None:
        return
    folder = Path(config.figures).absolute()
    with os_errors_as_user_errors(folder), TemporaryFile(dir=next(f for f in (folder, *folder.parents) if f.exists())):
        pass
    try:
        import matplotlib  # noqa: F401 (only whether it is there)
    except ImportError as error:
        raise TalkfaceError("--figures needs matplotlib.", "pip install 'talkface[figures]'") from error
