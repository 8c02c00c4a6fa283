"""`python -m talkface` is the command line."""

import signal


def main() -> None:
    """The entry point of `talkface` and `python -m talkface`."""
    # Ctrl-C while the modules of the command line are loaded ends the program without a traceback.
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from talkface.cli import main as run

    signal.signal(signal.SIGINT, handler)
    run()


if __name__ == "__main__":
    main()
