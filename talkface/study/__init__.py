"""`talkface study`: the paper's user study (section 4.5, Table 4) as one web page, and the table of its answers.

    make_study(StudyConfig(videos=(Path("A"), Path("B"), Path("C")), out=Path("study")))
    tally([Path("answers-1.json"), Path("answers-2.json")]).table()

The page needs no server and sends nothing. It works from disk, on a phone and on a desktop. Each participant saves a
file of answers and returns it to the person who runs the study.
"""

from talkface.study.make import Study, StudyConfig, make_study
from talkface.study.tally import Tally, tally, wilson

__all__ = ["Study", "StudyConfig", "Tally", "make_study", "tally", "wilson"]
