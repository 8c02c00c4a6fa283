import inspect
import os
import resource
import signal
import subprocess
import sys
import time
import types
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

import talkface
from talkface.cli import app
from talkface.errors import TalkfaceError

ROOT = str(Path(__file__).resolve().parent.parent)
COMMANDS = ["render", "preprocess", "visemes", "train", "ablate", "eval", "export", "bench", "study"]


@pytest.fixture
def run():
    """The command line in this process."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words], prog_name="talkface")


@pytest.fixture
def rendering(monkeypatch):
    """A stub of `talkface.rendering` that records how it was called, or raises."""
    calls = types.SimpleNamespace(arguments=None, options=None, error=None)

    def render(photo, speech, out, options, *, on_step, on_note):
        calls.arguments, calls.options = (photo, speech, out), options
        if calls.error:
            raise calls.error
        return types.SimpleNamespace(
            out="out.mp4",
            frames=3,
            width=2,
            height=2,
            frames_without_face=0,
            frames_per_second=1.0,
            seconds={"total": 1.0},
        )

    monkeypatch.setitem(sys.modules, "talkface.rendering", types.SimpleNamespace(render=render))
    return calls


def python(*words, **options):
    environment = os.environ | {"PYTHONPATH": ROOT}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, env=environment, **options)


def test_help_takes_under_half_a_second_of_work():
    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert python("-m", "talkface", "--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5


@pytest.mark.parametrize("words", [["--help"], *([command, "--help"] for command in COMMANDS)])
def test_help_does_not_import_torch(words):
    shown = python("-X", "importtime", "-m", "talkface", *words)
    assert shown.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "talkface.cli" in imported
    assert not imported & {"torch", "numpy", "cv2", "librosa"}


def test_help_lists_every_command(run):
    shown = run("--help")
    assert shown.exit_code == 0
    assert all(command in shown.stdout for command in COMMANDS)


def all_commands():
    """(name, command) of every command that does something."""
    from typer.main import get_command

    for name, command in get_command(app).commands.items():
        yield from getattr(command, "commands", {name: command}).items()


def test_every_option_of_every_command_is_explained():
    for name, command in all_commands():
        assert command.help, name
        assert [option.name for option in command.params if not option.help] == [], name


def test_version_is_the_packages(run):
    assert run("--version").stdout == f"talkface {talkface.__version__}\n"


@pytest.mark.parametrize(
    "words",
    [
        ["paint"],
        ["render"],
        ["render", "photo.jpg", "speech.wav", "--colour"],
        ["render", "photo.jpg", "speech.wav", "--crf", "best"],
        ["render", "photo.jpg", "speech.wav", "--box", "1,2,3"],
        ["render", "photo.jpg", "speech.wav", "--landmarks", "dlib"],
    ],
)
def test_a_usage_error_exits_with_2(run, rendering, words):
    result = run(*words)
    assert result.exit_code == 2
    assert rendering.arguments is None
    assert "Traceback" not in result.output


def test_an_error_that_the_user_can_fix_has_no_traceback_and_exits_with_1(run, rendering):
    rendering.error = TalkfaceError("No face found in group.jpg (4032x3024).", "Point at it with --box x,y,w,h.")
    result = run("render", "group.jpg", "speech.wav")
    assert result.exit_code == 1
    assert result.stderr == "Error  No face found in group.jpg (4032x3024).\nFix    Point at it with --box x,y,w,h.\n"
    assert result.stdout == ""


def test_a_bug_keeps_its_traceback(run, rendering):
    rendering.error = ZeroDivisionError("a bug")
    result = run("render", "group.jpg", "speech.wav")
    assert isinstance(result.exception, ZeroDivisionError)


def test_an_import_error_that_is_a_bug_keeps_its_traceback(run, rendering):
    rendering.error = ImportError("cannot import name 'x' from 'y'")
    assert isinstance(run("render", "a", "b").exception, ImportError)


def test_the_error_of_opencv_without_libgl_says_what_to_install(run, rendering):
    rendering.error = ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
    result = run("render", "a", "b")
    assert result.exit_code == 1
    assert "pip install opencv-python-headless" in result.stderr


def test_ctrl_c_is_one_line_and_exits_with_130(run, rendering):
    rendering.error = KeyboardInterrupt()
    result = run("render", "a", "b")
    assert result.exit_code == 130
    assert result.stderr.count("\n") == 1


def test_names_that_begin_with_a_dash_go_after_two_dashes(run, rendering):
    result = run("render", "--quiet", "--", '-my "photo" é.PNG', "-speech.wav")
    assert result.exit_code == 0
    assert [str(argument) for argument in rendering.arguments] == ['-my "photo" é.PNG', "-speech.wav", "None"]


def test_dash_as_speech_is_passed_on_as_standard_input(run, rendering):
    assert run("render", "photo.jpg", "-").exit_code == 0
    assert str(rendering.arguments[1]) == "-"


def test_a_video_name_without_its_option_is_a_usage_error_that_names_the_option(run, rendering):
    result = run("render", "photo.jpg", "speech.wav", "out.mp4")
    assert result.exit_code == 2
    assert rendering.arguments is None
    assert "-o out.mp4" in " ".join(result.stderr.split())


def test_options_reach_the_function_under_their_own_names(run, rendering):
    result = run(
        *["render", "a", "b", "-o", "c.mp4", "--fps", "30000/1001", "--crf", "20", "--crop", "--max-size", "640"],
        *["--face", "2", "--landmarks", "fan", "--weights", "w", "--device", "cpu", "--no-mark", "--json", "j"],
        *["--track", "3", "--backend", "torch", "--look-ahead", "300", "--motion", "0.3", "--no-blink"],
        *["--expression", "2", "--seed", "7", "--loop", "hold", "--keep-sound", "-20", "--quiet"],
        *["--c2pa", "--c2pa-signer", "k.pem", "--label", "AI", "--srt", "s.srt", "--burn-subtitles"],
    )
    assert result.exit_code == 0, result.stderr
    assert {name: str(value) for name, value in asdict(rendering.options).items()} == {
        **{"fps": "30000/1001", "crf": "20", "crop": "True", "max_size": "640", "face": "2", "box": "None"},
        **{"landmarks": "fan", "weights": "w", "device": "cpu", "mark": "False", "json": "j", "seed": "7"},
        **{"expression": "2.0", "track": "3", "backend": "torch", "loop": "hold", "keep_sound": "-20.0"},
        **{"sound_format": "None", "look_ahead": "300", "video_format": "mp4", "skip_early": "False"},
        **{"motion": "0.3", "blink": "False", "c2pa": "True", "c2pa_signer": "k.pem", "label": "AI"},
        **{"srt": "s.srt", "burn_subtitles": "True"},
    }


def test_a_text_is_spoken_in_place_of_a_recording(run, rendering, monkeypatch):
    monkeypatch.setattr("talkface.media.espeak.write_speech", lambda text, path, voice: path.write_text(text + voice))
    assert run("render", "photo.jpg", "--text", "hello", "--voice", "ar").exit_code == 0
    assert rendering.arguments[1].name == "text.wav"
    assert not rendering.arguments[1].exists()


def test_a_text_and_a_recording_together_are_a_usage_error(run, rendering):
    assert run("render", "photo.jpg", "speech.wav", "--text", "hello").exit_code == 2
    assert rendering.arguments is None


@pytest.mark.parametrize("synthetic, code", [(True, 0), (False, 3)])
def test_verify_exits_with_3_for_a_video_without_a_mark(run, monkeypatch, synthetic, code):
    from talkface.verify import Verification

    found = Verification("a.mp4", synthetic, [("XMP", "none")], "A sentence.")
    monkeypatch.setattr("talkface.verify.verify", lambda path: found)
    result = run("verify", "a.mp4")
    assert result.exit_code == code
    assert result.stdout == "XMP: none\na.mp4: A sentence.\n"


def test_doctor_exits_with_1_if_there_is_a_problem(run, monkeypatch):
    from talkface.doctor import Check

    checks = [Check("python", "3.12"), Check("ffmpeg", "none", "Install ffmpeg.", ok=False)]
    monkeypatch.setattr("talkface.doctor.examine", lambda: iter(checks))
    result = run("doctor")
    assert result.exit_code == 1
    assert "Fix: Install ffmpeg." in result.stdout
    assert "1 problem: see above." in result.stdout


def test_a_box_is_four_numbers(run, rendering):
    assert run("render", "a", "b", "--box", "120,80.5,300,-1").exit_code == 0
    assert rendering.options.box == (120, 80.5, 300, -1)


def test_render_ends_with_what_was_written(run, rendering):
    result = run("render", "a", "b")
    assert result.stdout == ""
    assert result.stderr == "out.mp4: 3 frames, 2x2, 1.0 frames/s, 1.0 s in total\n"


@contextmanager
def waiting_command(on_hangup):
    """A `talkface render` that waits for a minute, with this handler of SIGHUP at its start."""
    # A parent that runs in the background may have passed on that Ctrl-C is ignored.
    code = "import signal, sys, time, types; from talkface import cli;"
    code += f"signal.signal(signal.SIGINT, signal.default_int_handler); signal.signal(signal.SIGHUP, {on_hangup});"
    code += "sys.modules['talkface.rendering'] = types.SimpleNamespace("
    code += "render=lambda *a, **k: (print('ready', flush=True), time.sleep(60)));"
    code += "sys.argv[1:] = ['render', 'a', 'b']; cli.main()"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": ROOT}, **pipes) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            time.sleep(0.1)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_command_without_a_traceback(number, status):
    with waiting_command("signal.SIG_DFL") as process:
        process.send_signal(number)
        _, stderr = process.communicate(timeout=20)
    assert process.returncode == status
    assert "Traceback" not in stderr


def test_a_hangup_that_nohup_ignores_stays_ignored():
    with waiting_command("signal.SIG_IGN") as process:
        process.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
    assert process.returncode == 143


@pytest.mark.parametrize(
    "before",
    [
        "pass",
        "import talkface.rendering",
        "import talkface.cli, talkface.rendering as module",
        "from talkface.rendering import stream",
        "import importlib; importlib.import_module('talkface.rendering')",
    ],
)
def test_render_is_the_function_whatever_was_imported_before(before):
    code = f"{before}\nfrom talkface import render, stream\nimport talkface\n"
    code += "assert type(render).__name__ == type(stream).__name__ == 'function'\n"
    code += "assert talkface.render is render and talkface.stream is stream\n"
    code += "import talkface.rendering\nfrom talkface import render as again\nassert again is render\n"
    result = python("-W", "error::ImportWarning", "-c", code)
    assert result.returncode == 0, result.stderr


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    with pytest.raises(AttributeError, match="rendr"):
        talkface.rendr  # noqa: B018


def test_every_setting_of_the_library_is_an_option_with_the_same_default():
    """A new field of a configuration or a new default must not be forgotten in the command line."""
    from talkface.evaluate import DatasetEval, PairEval, PairListEval
    from talkface.preprocess import PreprocessConfig
    from talkface.preprocess.synthetic import VisemeConfig
    from talkface.render_options import RenderOptions
    from talkface.study import StudyConfig
    from talkface.train import TrainOptions

    configs = [
        ("preprocess", PreprocessConfig),
        ("visemes", VisemeConfig),
        ("train", TrainOptions),
        ("eval", DatasetEval),
        ("eval", PairEval),
        ("eval", PairListEval),
        ("make", StudyConfig),
        ("render", RenderOptions),
    ]
    options = {name: {p.name: p.default for p in command.params} for name, command in all_commands()}
    elsewhere = {"limits", "real", "fake"}  # --gate; two videos
    filled_in = {"data": None, "out": None, "rows": None, "ablation": None, "videos": None}  # by the command line
    for name, config in configs:
        for setting in inspect.signature(config).parameters.values():
            if setting.name in elsewhere:
                continue
            assert setting.name in options[name], f"{name} has no option for {setting.name}"
            if setting.name not in filled_in and setting.default is not inspect.Parameter.empty:
                default = options[name][setting.name]
                assert str(default) == str(setting.default), f"{name}: {setting.name}"


@pytest.mark.parametrize("setting", ["max_yawn=3", "max_yaw=wide", "min_frames=1.5", "max_yaw"])
def test_a_quality_limit_that_does_not_exist_or_fit_is_a_usage_error(run, setting):
    result = run("preprocess", "--data", "lrw", "--source", ".", "--gate", setting)
    assert result.exit_code == 2
    assert "--gate" in result.stderr


def test_quality_limits_are_set_by_name(run, monkeypatch):
    import talkface.preprocess

    configs = []

    def note(config, on_step, on_clip):
        configs.append(config)
        raise TalkfaceError("Stop here.")

    monkeypatch.setattr(talkface.preprocess, "preprocess", note)
    line = "preprocess --data lrw --source . --gate max_yaw=30 --gate piece_frames=5 --gate min_frames=2 --shard 2/3"
    result = run(*line.split())
    assert result.exit_code == 1
    limits = configs[0].limits
    assert (limits.max_yaw, limits.piece_frames, limits.min_frames, configs[0].shard) == (30.0, 5, 2, "2/3")


@pytest.mark.parametrize("text, value", [("estimate", "estimate"), ("-0.04", -0.04)])
def test_the_sound_offset_is_estimated_or_a_number_of_seconds(run, monkeypatch, text, value):
    import talkface.preprocess

    configs = []

    def note(config, on_step, on_clip):
        configs.append(config)
        raise TalkfaceError("Stop here.")

    monkeypatch.setattr(talkface.preprocess, "preprocess", note)
    run("preprocess", "--data", "lrw", "--source", ".", "--av-offset", text)
    assert configs[0].av_offset == value
    wrong = run("preprocess", "--data", "lrw", "--source", ".", "--av-offset", "40ms")
    assert wrong.exit_code == 2
    assert "--av-offset" in wrong.stderr


@pytest.mark.parametrize(
    "line",
    [
        *("visemes --utterances 0", "visemes --seed -1", "train --data lrw --seed -1"),
        *("ablate --data lrw --budget 9 --seed -1", "study make --videos A --out B --seed -1"),
    ],
)
def test_a_number_that_is_too_small_is_a_usage_error(run, line):
    result = run(*line.split())
    assert result.exit_code == 2
    assert "greater than or equal to" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    "line",
    [
        *("render a b", "visemes", "train --data lrw", "ablate --data lrw --budget 9", "eval"),
        "study make --videos A --out B",
    ],
)
def test_a_seed_of_more_than_63_bits_is_a_usage_error(run, line):
    result = run(*line.split(), "--seed", 2**63)
    assert result.exit_code == 2
    assert "expected a number from 0 to 2^63 - 1" in " ".join(result.stderr.replace("│", " ").split())


def test_options_of_eval_reach_its_config(run, monkeypatch):
    import talkface.evaluate

    configs = []

    def note(config, on_step, on_note):
        configs.append(config)
        raise TalkfaceError("Stop here.")

    monkeypatch.setattr(talkface.evaluate, "evaluate", note)
    line = "eval --data grid --metrics lmd,ssim --rows still --limit 3 --identity random"
    assert run(*line.split()).exit_code == 1
    assert run("eval", "real.mp4", "fake.mp4").exit_code == 1
    assert run("eval", "--pairs", "list.csv", "--csv", "out.csv").exit_code == 1
    one, two, several = configs
    assert (one.data, one.metrics, one.rows, one.limit, one.identity) == (
        "grid",
        ("lmd", "ssim"),
        ("still",),
        3,
        "random",
    )
    assert (str(two.real), str(two.fake), two.metrics) == ("real.mp4", "fake.mp4", None)
    assert (str(several.pairs), str(several.csv)) == ("list.csv", "out.csv")


def test_one_video_alone_is_a_usage_error_of_eval(run):
    assert run("eval", "real.mp4").exit_code == 2


@pytest.fixture
def training(run, monkeypatch):
    """Runs `talkface train` up to the call of the library; gives the result, the options and the configuration."""
    import talkface.train

    calls = []

    def note(options, config, on_step, on_note=None):
        calls.append((options, config))
        raise TalkfaceError("Stop here.")

    monkeypatch.setattr(talkface.train, "train", note)
    return lambda line: (run("train", *line.split()), *(calls.pop() if calls else (None, None)))


def test_train_takes_a_preset_as_it_is(training):
    from talkface.train.presets import ABLATION_BASE, PRESETS, ablated

    _, options, config = training("--data lrw,grid --preset tiny --minutes 3")
    assert (options.data, str(options.out), options.minutes) == (("lrw", "grid"), "runs/tiny-lrw-grid", 3)
    assert config == PRESETS["tiny"]
    assert training("--data lrw --preset mine-js -o here")[2] == ablated(ABLATION_BASE, "mine-js")


def test_train_takes_some_stages_and_other_settings(training):
    from talkface.train.presets import PRESETS

    _, _, config = training(
        "--data lrw --preset tiny --stages lips,full --set full.lip_weight=2.5 --set augment=no --set full.estimate=dv "
        "--set generator.style=5 --set full.steps=7 --set lips.learning_rate=0.5"
    )
    tiny = PRESETS["tiny"]
    assert [stage.name for stage in config.stages] == ["lips", "full"]
    assert (config.full.lip_weight, config.augment, config.full.estimate) == (2.5, False, "dv")
    assert config.generator == replace(tiny.generator, style=5)
    assert config.lips == replace(tiny.lips, learning_rate=0.5)
    assert config.stages == (tiny.stages[0], replace(tiny.stages[2], steps=7))


def test_a_setting_of_a_stage_is_its_own_or_one_of_how_it_is_trained(training):
    """STAGE.FIELD; the stages "estimator" and "full" share the objective, and estimator.FIELD sets T's sizes too."""
    from talkface.train.presets import PRESETS

    small = PRESETS["small"]
    settings = {
        "lips.rollout=12": lambda c: c.stages[0].rollout == 12,
        "lips.shape_weight=0.5": lambda c: c.lips == replace(small.lips, shape_weight=0.5),
        "mouth.batch=4": lambda c: c.stages[1].batch == 4,
        "mouth.l1_steps=7": lambda c: c.mouth == replace(small.mouth, l1_steps=7),
        "estimator.moments=3": lambda c: c.stages[2].moments == 3,
        "estimator.estimate=dv": lambda c: c.full == replace(small.full, estimate="dv"),
        "estimator.features=9": lambda c: c.estimator == replace(small.estimator, features=9),
        "estimator.widths=1,2,3,4": lambda c: c.estimator.widths == (1, 2, 3, 4),
        "generator.widths=24,40,64": lambda c: c.generator == replace(small.generator, widths=(24, 40, 64)),
        "generator.feedback=no": lambda c: not c.generator.feedback,
        "generator.hearing=mfcc": lambda c: c.generator.hearing == "mfcc",
    }
    for setting, holds in settings.items():
        result, _, config = training(f"--data lrw --set {setting}")
        assert config is not None, result.output
        assert holds(config), setting
    paper = training("--data lrw --preset paper --set generator.widths=8,8,16,16,16 --set estimator.features=16")[2]
    assert (paper.generator.widths, paper.estimator.features) == ((8, 8, 16, 16, 16), 16)


def test_the_valid_names_of_a_setting_are_listed(training):
    told = " ".join(training("--data lrw --set mouth.l2_weight=1")[0].output.replace("│", " ").split())
    assert "'l2_weight' is not a valid name: expected one of name, steps, batch, rollout, moments, l1_weight" in told
    told = " ".join(training("--data lrw --set reading.steps=1")[0].output.replace("│", " ").split())
    assert "'reading' has no settings: expected one of generator, lips, mouth, estimator" in told


def test_train_passes_on_what_to_validate_on(training):
    options = training("--data lrw,grid --validation talk,grid --validation-steps 70")[1]
    assert (options.validation, options.validation_steps) == (("talk", "grid"), 70)
    assert training("--data lrw")[1].validation is None


@pytest.mark.parametrize(
    "wrong",
    [
        *("--set generator.widths=1,2", "--set generator.widths=1,2,3,4", "--set generator.widths=1,2,x"),
        *("--set lips=1", "--set stages=1", "--set visemes.steps=1"),
        *(
            "--stages swimming",
            "--stages visemes",
            "--set full.lip_wait=2",
            "--set full.lip_weight=much",
            "--set augment=maybe",
        ),
        *("--set swimming.steps=1", "--set full.stairs=1", "--set generator.window=1", "--set full.lip_weight"),
    ],
)
def test_a_setting_that_does_not_exist_or_fit_is_a_usage_error_of_train(training, wrong):
    result, options, _ = training(f"--data lrw --preset tiny {wrong}")
    assert result.exit_code == 2, result.output
    assert options is None


@pytest.mark.parametrize("command", ["train", "ablate"])
def test_lessons_is_a_hidden_alias_of_stages(run, training, command):
    older, now = (training(f"--data lrw --preset tiny {flag} lips,full")[2] for flag in ("--lessons", "--stages"))
    assert older == now
    assert [stage.name for stage in now.stages] == ["lips", "full"]
    shown = run(command, "--help").stdout
    assert "--stages" in shown
    assert "--lessons" not in shown


def test_train_takes_a_seed_and_a_share_of_the_steps(training):
    from talkface.train.presets import PRESETS

    _, _, config = training("--data lrw --preset tiny --seed 7 --steps-scale 0.5")
    assert config.seed == 7
    assert [stage.steps for stage in config.stages] == [stage.steps / 2 for stage in PRESETS["tiny"].stages]
    result, _, _ = training("--data lrw --preset tiny --steps-scale 0")
    assert (result.exit_code, "--steps-scale 0" in result.stderr) == (1, True)


def test_ablate_trains_rows_under_a_budget_and_measures_them(run, monkeypatch, tmp_path):
    import talkface.ablate
    import talkface.evaluate
    from talkface.data import reader
    from talkface.train.presets import ABLATIONS, PRESETS

    asked, calls = [], []

    def note(options, config, measure, shown, on_step, on_note):
        calls.append((options, config, shown))
        measure(None), measure(tmp_path / "generator.safetensors")
        return [{"row": "still", "lmd": 3.0}, {"row": "full", "lmd": 0.0, "paper_lmd": 1.18}]

    def evaluate(config):
        asked.append(config)
        return types.SimpleNamespace(rows={row: {"lmd": 1.0} for row in config.rows})

    monkeypatch.setattr(talkface.ablate, "ablate", note)
    monkeypatch.setattr(talkface.evaluate, "evaluate", evaluate)
    monkeypatch.setattr(reader, "open_dataset", lambda *names: names)
    line = "ablate --data lrw,grid --budget 9 --preset tiny --seed 3 --seeds 2 --test-data grid --limit 5"
    result = run(*line.split())
    assert result.exit_code == 0, result.output
    options, config, shown = calls[0]
    assert (options.minutes, options.rows, str(options.training.out)) == (
        9,
        tuple(ABLATIONS),
        "runs/ablate-tiny-lrw-grid",
    )
    assert config == replace(PRESETS["tiny"], seed=3)
    assert shown == ("grid", "test")
    assert [(c.data, c.rows, c.limit, c.seed) for c in asked] == [("grid", (r,), 5, 3) for r in ("still", "model")]
    assert (options.test_data, options.test_split, options.limit, options.seeds) == ("grid", "test", 5, 2)
    assert "0.000" in result.stdout
    assert run("ablate", "--data", "lrw", "--budget", "9", "--rows", "mine,yours").exit_code == 2


def test_ablate_measures_on_several_data_sets_and_mutual_information_with_a_statistics_network(
    run, monkeypatch, tmp_path
):
    import talkface.ablate
    import talkface.evaluate
    from talkface.data import reader
    from talkface.train.presets import preset

    asked, calls, figures = [], [], []

    def note(options, config, measure, *others):
        calls.append((options, config))
        figures.append(measure(None))
        return [{"row": "still", **figures[0]}]

    def evaluate(config):
        asked.append(config)
        return types.SimpleNamespace(rows={"still": {"lmd": float(len(config.data)), "lmd_ci95": (0, 9)}})

    monkeypatch.setattr(talkface.ablate, "ablate", note)
    monkeypatch.setattr(talkface.evaluate, "evaluate", evaluate)
    monkeypatch.setattr(reader, "open_dataset", lambda *names: names)
    result = run(
        *["ablate", "--data", "lrw", "--budget", "9", "--test-data", "grid,data/lrw", "--estimator", "T.safetensors"]
    )
    assert result.exit_code == 0, result.output
    assert figures == [{"grid_lmd": 4.0, "grid_lmd_ci95": (0, 9), "lrw_lmd": 8.0, "lrw_lmd_ci95": (0, 9)}]
    assert [(c.data, "mi" in c.metrics, str(c.estimator)) for c in asked] == [
        ("grid", True, "T.safetensors"),
        ("data/lrw", True, "T.safetensors"),
    ]
    assert calls[0][0].test_data == "grid,data/lrw"
    assert calls[0][1] == preset("full")


def test_an_unknown_preset_is_named(training):
    result, _, _ = training("--data lrw --preset huge")
    assert result.exit_code == 1
    assert "--preset huge" in result.stderr


def test_folders_of_a_study_follow_one_another(run, monkeypatch):
    import talkface.study

    configs = []

    def note(config):
        configs.append(config)
        raise TalkfaceError("Stop here.")

    monkeypatch.setattr(talkface.study, "make_study", note)
    assert run(*["study", "make", "--videos", "A", "B", "C", "--out", "page"]).exit_code == 1
    assert [str(folder) for folder in configs[0].videos] == ["A", "B", "C"]
