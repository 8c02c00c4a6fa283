"""`talkface serve`: a web page for one video at a time, and the same by REST.

A browser uploads a photo and a recording (`app`); they wait in a queue (`renders`) for a process that renders them.
Another process finds the faces of a photo (`faces`). The server itself decodes nothing that was uploaded. `guard`
refuses requests of foreign web pages and bodies that are too large.
"""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from talkface.errors import TalkfaceError
from talkface.files import require_file
from talkface.render_options import RenderOptions
from talkface.serve.settings import ServeConfig

__all__ = ["ServeConfig", "serve"]

MAX_CONNECTIONS = 64


def serve(config: ServeConfig, on_ready: Callable[[str], None] = lambda url: None) -> None:
    """Serve until Ctrl-C or SIGTERM. All uploads and results are deleted then.

    Args:
        config: where to listen, and the limits.
        on_ready: called with the address of the page.

    Raises:
        TalkfaceError: a package of talkface[ui] is missing, the port is in use, or the weights file does not exist.
    """
    try:
        import uvicorn

        from talkface.serve.app import make_app
    except ImportError as error:
        raise TalkfaceError(f"talkface serve needs {error.name}.", 'pip install "talkface[ui]"') from error
    from talkface.serve.faces import FaceLooker
    from talkface.serve.renders import Renders

    weights = None if config.weights is None else require_file(config.weights, "a weights file")
    with _listening(config) as listener, tempfile.TemporaryDirectory(prefix="talkface-serve-") as folder:
        looker = FaceLooker()
        renders = Renders(
            Path(folder),
            max_queue=config.max_queue,
            max_seconds=config.max_seconds,
            keep_seconds=60 * config.keep_minutes,
            make_options=partial(RenderOptions, device=config.device, weights=weights),
        )
        try:
            app = make_app(config, renders, looker)
            settings = uvicorn.Config(app, log_level="warning", limit_concurrency=MAX_CONNECTIONS, lifespan="off")
            settings.server_header = False
            host = f"[{config.host}]" if ":" in config.host else config.host
            on_ready(f"http://{host}:{listener.getsockname()[1]}")
            uvicorn.Server(settings).run(sockets=[listener])
        finally:
            renders.close()
            looker.close()


def _listening(config: ServeConfig) -> socket.socket:
    """Return the socket that the server listens at."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        raise TalkfaceError(
            f"talkface cannot listen at {config.host}, port {config.port}: {(error.strerror or str(error)).lower()}.",
            "Give another --port, or an address of this machine as --host.",
        ) from error
