"""A video that takes the worker down with it, as a bug in a decoder would; importable by worker processes."""

import os
import signal

from talkface.preprocess.gates import Gates

DEADLY_FRAMES = 13


class DeadlyGates(Gates):
    """Kills the process that judges a video of DEADLY_FRAMES frames."""

    def before_faces(self, facts):
        if facts["frames"] == DEADLY_FRAMES:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().before_faces(facts)
