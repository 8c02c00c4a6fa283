"""Proof that nothing that goes wrong ends in a traceback, a hang or a file that nobody needs.

    python tests/robustness.py                              # everything; prints a table of counts
    python tests/robustness.py --photos 20 --no-disks       # a part of it

Every case must end in a video that can be decoded or in a message of two lines, within LIMIT seconds. Damaged inputs
are rendered one after the other in a worker process (this file with --worker). Commands that are ended by a signal are
forks of a process that has loaded the modules (--fork). A full disk, closed pipes and read-only folders get a process
of the command line each.
"""

import argparse
import contextlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 120.0  # seconds of one case
MESSAGE = re.compile(r"Error  .+\nFix    .+\n")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)
PHOTO, SPEECH = ROOT / "examples" / "astronaut.jpg", ROOT / "examples" / "speech.wav"


class Bench:
    """A folder for the outputs, one for temporary files, and what was seen."""

    def __init__(self, folder, verbose=False):
        self.verbose = verbose
        self.out, self.temporary, self.inputs = (Path(folder) / name for name in ("out", "tmp", "in"))
        for path in (self.out, self.temporary, self.inputs):
            path.mkdir()
        self.counts = {}
        self.faults = []
        self.environment = os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(self.temporary), "COLUMNS": "500"}

    def judge(self, group, case, outcome, text, out=None, message_needed=True):
        """Count one case. Outcome: video, message, ended (by a signal), hang or crash; `text` is what it wrote."""
        count = self.counts.setdefault(group, Counter())
        if outcome == "video" and not self._plays(out):
            outcome = "no video"
        if outcome == "message" and message_needed and not MESSAGE.search(text):
            outcome = "no message"
        if "Traceback" in text:
            outcome = "traceback"
        count[outcome] += 1
        if outcome not in ("video", "message", "ended"):
            self.fault(f"{group}: {case}: {outcome}\n{text[-1500:]}")
        for left in (path for folder in (self.out, self.temporary) for path in folder.iterdir() if path != out):
            count["leftovers"] += 1
            self.fault(f"{group}: {case}: left {left}")
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        if self.verbose:
            print(f"{group}: {case}: {outcome}", flush=True)

    def fault(self, text):
        """Note what must not happen."""
        self.faults.append(text)
        print(text, file=sys.stderr, flush=True)

    def _plays(self, path):
        from talkface.media.video import read_frames

        return path is not None and path.is_file() and sum(1 for _ in read_frames(path)) > 0

    def command(self, *words):
        return [sys.executable, "-m", "talkface", "render", *map(str, words)]

    def run(self, group, case, *words, out=None, expected=0, **options):
        """Run one command in a process of its own and judge it."""
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "env": self.environment} | options
        try:
            done = subprocess.run(self.command(*words), timeout=LIMIT, **options)
        except subprocess.TimeoutExpired:
            self.judge(group, case, "hang", "", out)
            return
        text = (done.stderr or b"").decode("utf-8", "replace")
        if done.returncode != expected:
            text += f"\nexit status {done.returncode}, expected {expected}"
        outcome = {expected: "video" if expected == 0 else "message"}.get(done.returncode, "crash")
        self.judge(group, case, outcome, text, out, message_needed=done.stderr is not None)


class Worker:
    """Renders one case after the other in a process of its own, which is started again after a hang or a crash."""

    def __init__(self, bench):
        self.bench, self.process = bench, None

    def render(self, words):
        """What the command line does with these words: (outcome, text)."""
        if self.process is None or self.process.poll() is not None:
            self.process = subprocess.Popen(
                [sys.executable, __file__, "--worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=self.bench.environment,
                text=True,
            )
        self.process.stdin.write(json.dumps([*map(str, words)]) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], LIMIT)
        if not ready:
            self.stop()
            return "hang", f"no end within {LIMIT:.0f} s"
        line = self.process.stdout.readline()
        if not line:
            return "crash", f"the process ended with status {self.process.wait()}"
        status, text = json.loads(line)
        return {0: "video", 1: "message"}.get(status, "crash"), text

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class Fork:
    """The command line in a fork of a process that has loaded its modules, which saves seconds for each case."""

    def __init__(self, bench):
        command = [sys.executable, __file__, "--fork"]
        self.messages = bench.inputs / "stderr"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=bench.environment, **pipes)

    def run(self, words, number=None, delay=0.0):
        """Run a command that reads short.wav as standard input, and send it a signal; its status and its messages."""
        self.process.stdin.write(json.dumps([str(self.messages), *map(str, words)]) + "\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        ended, _, _ = select.select([self.process.stdout], [], [], delay)
        if number is not None and not ended:
            os.kill(pid, number)
        ended, _, _ = select.select([self.process.stdout], [], [], LIMIT)
        if not ended:
            os.kill(pid, signal.SIGKILL)
        status = int(self.process.stdout.readline())
        return (status if ended else "hang"), self.messages.read_text(errors="replace")


def fork():
    """The loop of the process that `Fork` starts."""
    import talkface.rendering  # noqa: F401 (loaded before the fork)
    from talkface import cli

    for line in sys.stdin:
        messages, *words = json.loads(line)
        pid = os.fork()
        if not pid:
            os.dup2(os.open(Path(messages).with_name("short.wav"), os.O_RDONLY), 0)
            os.dup2(os.open(messages, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
            os.dup2(2, 1)
            sys.argv[1:] = ["render", *words]
            cli.main()
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def work():
    """The loop of a worker process."""
    from typer.testing import CliRunner

    from talkface.cli import app

    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        result = CliRunner().invoke(app, ["render", *json.loads(line)])
        text = result.stderr
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            import traceback

            text += "".join(traceback.format_exception(*result.exc_info))
        print(json.dumps([result.exit_code, text]), file=answers, flush=True)


def damaged_inputs(bench, photos, recordings, weights):
    """Damaged photos, recordings and weights, each with intact other inputs."""
    import damage

    from talkface.media.ffmpeg import ffmpeg_exe

    short, portrait = bench.inputs / "short.wav", bench.inputs / "portrait.png"
    subprocess.run([ffmpeg_exe(), "-v", "error", "-t", "0.2", "-i", str(SPEECH), str(short)], check=True)
    import skimage.data
    from PIL import Image

    Image.fromarray(skimage.data.astronaut()[:256, 96:352]).save(portrait)
    groups = {
        "photos": [(path, done, [path, short]) for path, done in damage.photos(bench.inputs, photos)],
        "recordings": [(p, done, [portrait, p]) for p, done in damage.recordings(bench.inputs, SPEECH, recordings)],
        "weights": [
            (path, done, [portrait, short, "--weights", path])
            for path, done in damage.weights(bench.inputs, ROOT / "weights" / "generator.safetensors", weights)
        ],
    }
    worker, out = Worker(bench), bench.out / "out.mp4"
    for group, cases in groups.items():
        for path, done, words in cases:
            out.unlink(missing_ok=True)
            outcome, text = worker.render([*words, "--crop", "--device", "cpu", "-o", out])
            bench.judge(group, f"{path.name} ({done})", outcome, text, out)
    if worker.process is not None:
        worker.process.stdin.close()  # which ends it
    out.unlink(missing_ok=True)


def full_disk(bench):
    """A small tmpfs where one can be mounted, and a limit on the size of files."""
    import resource

    short = bench.inputs / "short.wav"

    small = bench.out.parent / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", small], capture_output=True).returncode == 0:
        try:
            words = [PHOTO, short, "--crop", "-o", small / "out.mp4"]
            bench.run("full disk", "tmpfs of 8 KiB", *words, expected=1)
            if left := list(small.iterdir()):
                bench.fault(f"full disk: left {left}")
            with short.open("rb") as sound:  # the copy of standard input does not fit
                environment = bench.environment | {"TMPDIR": str(small)}
                words = [PHOTO, "-", "-o", bench.out / "out.mp4"]
                bench.run("full disk", "copy of a pipe", *words, expected=1, env=environment, stdin=sound)
        finally:
            subprocess.run(["umount", small], check=True)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 13, 1 << 13))

    words = [PHOTO, short, "--crop", "-o", bench.out / "out.mp4"]
    bench.run("full disk", "files of at most 8 KiB", *words, expected=1, preexec_fn=limit)


def closed_pipes(bench):
    """Standard error is a pipe that nobody reads, or a full device, or closed; standard output too."""
    words = [PHOTO, bench.inputs / "short.wav", "--crop", "-o", bench.out / "out.mp4"]
    for name in ("a pipe without a reader", "/dev/full", "closed"):
        (bench.out / "out.mp4").unlink(missing_ok=True)
        reading, writing = os.pipe()
        os.close(reading)
        with contextlib.ExitStack() as stack:
            target = stack.enter_context(Path("/dev/full").open("wb")) if name == "/dev/full" else writing
            options = {"stdout": target, "stderr": target}
            if name == "closed":
                options = {"stdout": None, "stderr": None, "preexec_fn": lambda: (os.close(1), os.close(2))}
            try:
                done = subprocess.run(bench.command(*words), timeout=LIMIT, env=bench.environment, **options)
                plays = (bench.out / "out.mp4").exists()
                outcome = "video" if plays else "ended" if done.returncode else "no video"
            except subprocess.TimeoutExpired:
                outcome = "hang"
        os.close(writing)
        bench.judge("closed pipes", name, outcome, "", bench.out / "out.mp4")
    (bench.out / "out.mp4").unlink(missing_ok=True)


def unwritable_folders(bench):
    """Folders that may not be written to."""
    bench.run("read-only folder", "/proc", PHOTO, SPEECH, "-o", "/proc/out.mp4", expected=1)
    locked = bench.out.parent / "locked"
    locked.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", locked], capture_output=True).returncode == 0
    if not mounted:
        locked.chmod(0o500)
    if mounted or os.getuid():
        bench.run("read-only folder", "out", PHOTO, SPEECH, "-o", locked / "out.mp4", expected=1)
        words = [
            PHOTO,
            bench.inputs / "short.wav",
            "--crop",
            "--json",
            locked / "out.json",
            "-o",
            bench.out / "out.mp4",
        ]
        bench.run("read-only folder", "json", *words, expected=1)
    if mounted:
        subprocess.run(["umount", locked], check=True)


def killed(bench, count, seed=3):
    """Processes that are ended by a signal at a random moment; half of them read a pipe."""
    rng, forks = np.random.default_rng(seed), Fork(bench)
    out = bench.out / "out.mp4"
    words = [PHOTO, bench.inputs / "short.wav", "--crop", "--device", "cpu", "-o", out]
    forks.run(words)
    begun = time.monotonic()
    status, text = forks.run(words)
    seconds = time.monotonic() - begun
    bench.judge("killed", "not killed", "crash" if status else "video", text, out)
    for number in range(count):
        signalled = SIGNALS[number % len(SIGNALS)]
        piped = number // len(SIGNALS) % 2 == 1
        delay = float(rng.uniform(0.0, 1.1)) * seconds
        case = f"{signalled.name} after {delay:.2f} of {seconds:.2f} s{', standard input' if piped else ''}"
        used = [PHOTO, "-", *words[2:]] if piped else words
        status, text = forks.run(used, signalled, delay)
        outcome = {0: "video", "hang": "hang", -signalled: "ended", 128 + signalled: "ended"}.get(status, "crash")
        if signalled == signal.SIGKILL:  # which nothing can answer: the next run removes what is left
            time.sleep(0.2)  # until ffmpeg has noticed
            again, text_again = forks.run(used)
            bench.judge("run after SIGKILL", case, "crash" if again else "video", text_again, out)
        bench.judge("killed", f"{case} (status {status})", outcome, text, out)
    forks.process.stdin.close()
    out.unlink(missing_ok=True)


def prove(photos=200, recordings=200, weights=40, kills=40, disks=True, verbose=False):
    """Run all cases; returns the counts by group and the faults."""
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(folder, verbose)
        damaged_inputs(bench, photos, recordings, weights)
        if kills:
            killed(bench, kills)
        if disks:
            full_disk(bench)
            closed_pipes(bench)
            unwritable_folders(bench)
        return bench.counts, bench.faults


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("worker", "fork"):
        parser.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    for name, count in {"photos": 200, "recordings": 200, "weights": 40, "kills": 40}.items():
        parser.add_argument(f"--{name}", type=int, default=count, help="Number of cases.")
    parser.add_argument("--no-disks", dest="disks", action="store_false", help="Leave out disks, pipes and folders.")
    parser.add_argument("--verbose", action="store_true", help="Print the outcome of each case.")
    options = vars(parser.parse_args())
    loops = [loop for name, loop in {"worker": work, "fork": fork}.items() if options.pop(name)]
    if loops:
        loops[0]()
        return
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that the worker is stopped
    begun = time.monotonic()
    counts, faults = prove(**options)
    for group, count in counts.items():
        print(f"{group:18} {sum(count.values()) - count['leftovers']:4}  {dict(count)}")
    print(f"{time.monotonic() - begun:.0f} s, {len(faults)} faults")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
