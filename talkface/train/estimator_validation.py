"""How well the statistics network tells moments of a clip apart, on unseen people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from talkface.data.reader import ClipDataset, evenly_spaced
from talkface.metrics.bootstrap import mean_of_sums
from talkface.metrics.mutual_information import MutualInformation
from talkface.model.amie import StatisticsNetwork

CLIPS = 40  # of each data set


class EstimatorValidation:
    """Clips of unseen people.

    Args:
        datasets: opened data sets of the validation split.
    """

    def __init__(self, datasets: Sequence[ClipDataset]) -> None:
        self.clips = [
            (np.stack([*clip.frames()]), clip.mfcc)
            for dataset in datasets
            for clip in map(dataset.__getitem__, evenly_spaced(len(dataset), CLIPS))
            if clip.sound
        ]

    def figures(self, network: StatisticsNetwork) -> dict[str, float]:
        """`mi` and `mi_auc` of the real frames, as `talkface eval` defines them."""
        information = MutualInformation(network, next(network.parameters()).device)
        found = [information.sums(information.encode_frames(f), information.encode_speech(m)) for f, m in self.clips]
        return {name: float(mean_of_sums(np.sum([sums[name] for sums in found], 0))) for name in ("mi", "mi_auc")}
