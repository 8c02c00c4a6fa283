"""`talkface eval`: the field's metrics on a data set's split, or on any two videos, with the baselines beside them.

    report = evaluate(EvalConfig(data="grid", split="test"))
    report.rows["model"]["lmd"], report.rows["still"]["lmd"]

Rows: **model**, what the generator makes of one photo and the clip's speech; **still**, that photo repeated, which says
what not moving scores; **wrong_sound**, the generator with another clip's speech, which says what the sound is worth;
**paper**, the published figures where there are any. Every score is kept as sums over each clip, so that memory does
not grow with frames, rows can be pooled, and an interval over clips is a resampling of sums.
"""

from talkface.evaluate.config import METRICS, EvalConfig
from talkface.evaluate.report import Report
from talkface.evaluate.run import evaluate

__all__ = ["METRICS", "EvalConfig", "Report", "evaluate"]
