"""`talkface train`: the curriculum of the generator, on any number of devices, resumable to the last bit on CPU.

To resume, run the same command again: the newest whole checkpoint in the run's folder is taken up. Every random draw
follows from the seed and the step, so a stopped and resumed run computes what one run would have computed.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from talkface.train.options import Diverged, Report, Step, TrainOptions
from talkface.train.presets import TrainConfig
from talkface.train.run import Run

__all__ = ["Diverged", "Report", "Step", "TrainOptions", "train"]


def train(
    options: TrainOptions,
    config: TrainConfig,
    on_step: Callable[[Step], None] | None = None,
    on_note: Callable[[str], None] = lambda note: None,
) -> Report:
    """Trains until all stages are done, time is up, or a signal asks for an end; a checkpoint is left each time.

    The signals are SIGINT (Ctrl-C), SIGTERM and SIGHUP (a closed terminal).

    Args:
        options: where and how long.
        config: what is learned.
        on_step: called after each step that is logged.
        on_note: called with a sentence about the step at which a stopped run goes on, and about each checkpoint that is
            passed over because it is damaged.

    Raises:
        TalkfaceError: missing data, a run folder of another configuration or without a whole checkpoint, a loss that
            is not finite, a full disk.
    """
    begun = time.monotonic()
    with Run(options, config, begun, on_note) as run:
        for place in run.stages_left():
            for batch in run.batches(place):
                losses = run.learn(place, batch)
                run.after_step(place, losses, on_step)
                if run.must_stop():
                    break
            if run.must_stop():
                break
        run.checkpoint()
        finished = run.step == config.total_steps
        return Report(options.out, run.step, config.total_steps, finished, run.weights, time.monotonic() - begun)
