"""The error that users see without a traceback."""


class TalkfaceError(Exception):
    """An error that the user can fix: bad input, missing weights, no face. Shown without a traceback; exit code 1.

    Args:
        problem: what is wrong with which input: the value found and the value expected.
        fix: what to type or change.
    """

    def __init__(self, problem: str, fix: str = "") -> None:
        super().__init__(problem)
        self.fix = fix
