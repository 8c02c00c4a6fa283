"""The Ray cluster that the engines for many machines run on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from talkface.errors import TalkfaceError


@contextmanager
def ray_cluster() -> Iterator[Any]:
    """The module `ray`, connected to the cluster at RAY_ADDRESS or to one that is started on this machine.

    A connection that was there before stays; another one is closed at the end.

    Raises:
        TalkfaceError: Ray is not installed, or the cluster does not answer.
    """
    try:
        import ray
    except ImportError as error:
        raise TalkfaceError("--engine ray needs Ray, which is not installed.", 'pip install "talkface[ray]"') from error
    ours = not ray.is_initialized()
    if ours:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            ray.init(log_to_driver=False, include_dashboard=False, logging_level=logging.ERROR)
        except Exception as error:  # Ray raises Exception itself if a node does not start in time
            reason = str(error).strip().partition("\n")[0]
            raise TalkfaceError(
                f"The Ray cluster cannot be used: {reason}", "Check RAY_ADDRESS and the load of the machines."
            ) from error
    try:
        yield ray
    finally:
        if ours:
            ray.shutdown()
