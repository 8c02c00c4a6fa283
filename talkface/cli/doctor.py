"""`talkface doctor`."""

from __future__ import annotations

import typer


def doctor() -> None:
    """Check the installation: versions, device, ffmpeg, weights, cache, disk; then render one second of video.

    Each problem is shown with what to do about it. The exit code is 1 if there is one.
    """
    from talkface.doctor import examine

    problems = 0
    for check in examine():
        print(f"{'ok     ' if check.ok else 'PROBLEM'}  {check.name}: {check.found}", flush=True)
        if not check.ok:
            problems += 1
            print(f"         Fix: {check.fix}", flush=True)
    print("Everything works." if not problems else f"{problems} problem{'s' if problems > 1 else ''}: see above.")
    if problems:
        raise typer.Exit(1)
