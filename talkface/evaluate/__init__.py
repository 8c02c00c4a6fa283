"""`talkface eval`: metrics of a generator on a split of a data set, or of generated videos against real ones.

    report = evaluate(DatasetEval(data="grid", split="test"))
    report.rows["model"]["lmd"], report.rows["still"]["lmd"]

    evaluate(PairEval(real=Path("real.mp4"), fake=Path("fake.mp4")))
    evaluate(PairListEval(pairs=Path("pairs.csv")))

The table of a data set has these rows:

    still         the static-photo baseline: the photo, repeated
    wrong_sound   the mismatched-audio baseline: the generator with the speech of another clip
    model         the generator with one photo and the speech of the clip
    true_lips     the generator with the real lips: what is wrong here is the picture's fault, not the hearing's
    paper         the published figures, if there are any

A score is computed from sums over clips, so memory does not grow with the number of frames, clips can be pooled, and
an interval is computed by resampling the sums of the clips. Only `mouth_kid` needs more: 1.5 KB of features for each
judged mouth.
"""

from talkface.evaluate.config import METRICS, DatasetEval, PairEval, PairListEval
from talkface.evaluate.report import Report
from talkface.evaluate.run import evaluate

__all__ = ["METRICS", "DatasetEval", "PairEval", "PairListEval", "Report", "evaluate"]
