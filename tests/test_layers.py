"""The layers of the package: a module imports only from the layers below its own, and imports form no circle."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "talkface"
FOUNDATION = {
    "_version",
    "config",
    "errors",
    "device",
    "files",
    "graphs",
    "ray_cluster",
    "graph_export",
    "mel",
    "labels",
    "leftovers",
    "signals",
    "kept",
    "workers",
}
LIBRARIES = {"model", "metrics", "face", "media", "motion"}
COMMANDS = {
    "preprocess",
    "train",
    "ablate",
    "evaluate",
    "rendering",
    "render_options",
    "live",
    "study",
    "batch",
    "serve",
    "verify",
    "doctor",
    "benchmark",
}
# What rendering and live video are built of, each above those before it:
STEPS = ("pipeline", "render_options", "render_steps", "photo_scene", "dubbing", "report")
COMMAND_LINE = {"cli", "console", "__main__"}

# What each top-level package or module may import besides itself and the foundation.
BELOW = {
    "model": set(),
    "media": set(),
    "face": {"media"},
    "motion": {"face", "media"},
    "metrics": {"model", "face", "media"},
    "data": LIBRARIES,
    **{command: LIBRARIES | {"data"} for command in COMMANDS},
    **{part: LIBRARIES | {"data"} | COMMANDS | COMMAND_LINE for part in COMMAND_LINE},
}
# ablate trains: it is the only command that is built on another one.
BELOW["ablate"] = BELOW["ablate"] | {"train"}
# The options of rendering are in a module of their own, which imports nothing heavy. Live video prepares its faces as
# rendering does.
for number, step in enumerate(STEPS):
    BELOW[step] = LIBRARIES | set(STEPS[:number])
BELOW["rendering"] = BELOW["rendering"] | set(STEPS)
BELOW["live"] = BELOW["live"] | set(STEPS) | {"rendering"}
# A batch renders, and so does the server, with the processes of batches.
BELOW["batch"] = BELOW["batch"] | {"rendering", "render_options"}
BELOW["serve"] = BELOW["serve"] | {"batch", "render_options"}
# The doctor renders a second of video to see whether that works.
BELOW["doctor"] = BELOW["doctor"] | {"rendering"}
# The benchmark times the stages of a render, and whole renders.
BELOW["benchmark"] = BELOW["benchmark"] | {"rendering"} | set(STEPS)
HEAVY = {
    "torch",
    "numpy",
    "cv2",
    "librosa",
    "PIL",
    "safetensors",
    "scipy",
    "skimage",
    "imageio",
    "imageio_ffmpeg",
    "face_alignment",
    "onnx",
    "onnxruntime",
}
LIGHT = [
    "__init__.py",
    "__main__.py",
    "console.py",
    "config.py",
    "errors.py",
    "files.py",
    "render_options.py",
    "doctor.py",
]
LIGHT += [f"cli/{path.name}" for path in (PACKAGE / "cli").glob("*.py")]
SOURCES = sorted(PACKAGE.rglob("*.py"))

# Words of earlier versions that only the files below may contain, with the reason.
OLD_WORDS = ("lesson", "hears", "lively", "wrong_sound")
ROW = "wrong_sound is the name of a row in --rows, in JSON and in CSV"
ALLOWED_OLD_WORDS = {
    ("cli/train.py", "lesson"): "--lessons is a hidden alias of --stages",
    ("cli/ablate.py", "lesson"): "--lessons is a hidden alias of --stages",
    ("train/log.py", "lesson"): "lesson is a key in log.jsonl",
    **{
        (path, "wrong_sound"): ROW
        for path in (
            "cli/evaluate.py",
            "evaluate/__init__.py",
            "evaluate/conditions.py",
            "evaluate/config.py",
            "evaluate/examples.py",
            "evaluate/figures.py",
            "evaluate/run.py",
            "evaluate/videos.py",
        )
    },
}


def top_level(path: Path) -> str:
    """The top-level package or module that a source file belongs to."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def module_of(path: Path) -> str:
    """The dotted name of the module in a source file."""
    parts = ("talkface", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_statements(path: Path, top_only: bool = False) -> list[list[str]]:
    """For each name that a source file imports, its possible dotted names, the most specific one first.

    The imports inside functions are included unless `top_only`.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = []
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [[alias.name] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} is a relative import"
            names += [[f"{node.module}.{alias.name}", node.module] for alias in node.names]
    return names


def imports(path: Path, top_only: bool = False) -> set[str]:
    """All dotted names that a source file imports or imports from."""
    return {name for names in import_statements(path, top_only) for name in names}


def layers_imported(path: Path) -> set[str]:
    parts = [name.split(".") for name in imports(path)]
    known = LIBRARIES | COMMANDS | set(STEPS) | COMMAND_LINE | FOUNDATION | {"data"}
    return {name[1] for name in parts if name[0] == "talkface" and len(name) > 1 and name[1] in known}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components of more than one module, and modules that import themselves (Tarjan 1972)."""
    number: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(module: str) -> None:
        number[module] = lowest[module] = len(number)
        stack.append(module)
        for other in sorted(graph[module]):
            if other not in number:
                visit(other)
                lowest[module] = min(lowest[module], lowest[other])
            elif other in stack:
                lowest[module] = min(lowest[module], number[other])
        if lowest[module] == number[module]:
            members = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(members) > 1 or module in graph[module]:
                found.append(sorted(members))

    for module in sorted(graph):
        if module not in number:
            visit(module)
    return found


def import_graph() -> dict[str, set[str]]:
    """For each module of the package, the modules of the package that it imports anywhere in its source."""
    modules = {module_of(path) for path in SOURCES}
    return {
        module_of(path): {
            next(name for name in names if name in modules)
            for names in import_statements(path)
            if any(name in modules for name in names)
        }
        for path in SOURCES
    }


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent != PACKAGE or top_level(p) in BELOW], ids=name_of)
def test_a_module_imports_only_from_layers_below(path):
    own = top_level(path)
    assert layers_imported(path) <= BELOW[own] | FOUNDATION | {own}


@pytest.mark.parametrize("name", sorted(FOUNDATION))
def test_the_foundation_imports_nothing_from_the_layers_above(name):
    assert layers_imported(PACKAGE / f"{name}.py") <= FOUNDATION


def test_every_module_of_the_package_belongs_to_a_layer():
    assert {top_level(path) for path in SOURCES} <= set(BELOW) | FOUNDATION | {"__init__"}


def test_modules_do_not_import_each_other_in_a_circle():
    """The imports inside functions count too."""
    assert circles(import_graph()) == []


def test_a_circle_is_found_in_a_graph_that_has_one():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set()}) == [["b", "c"]]
    assert circles({"a": {"a"}}) == [["a"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_the_import_graph_has_the_imports_inside_functions():
    assert "talkface.rendering" in import_graph()["talkface"]


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_a_file_has_fewer_than_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_no_module_is_called_utils(path):
    assert path.stem not in {"utils", "helpers", "common", "manager", "base"}


@pytest.mark.parametrize("word", OLD_WORDS)
def test_a_word_of_earlier_versions_remains_only_where_a_file_format_or_a_flag_needs_it(word):
    texts = [path for path in sorted(PACKAGE.rglob("*")) if path.suffix in {".py", ".html"}]
    found = {name_of(path) for path in texts if re.search(word, path.read_text(encoding="utf-8"))}
    assert found <= {path for path, allowed in ALLOWED_OLD_WORDS if allowed == word}


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_import_nothing_heavy_at_the_top(name):
    roots = {module.split(".")[0] for module in imports(PACKAGE / name, top_only=True)}
    assert not roots & HEAVY


@pytest.mark.parametrize("package", ["talkface.data.reader", "talkface.model.generator", "talkface.train"])
def test_training_and_its_clips_need_no_package_of_preprocessing(package):
    """Training and reading clips work without librosa, ffmpeg-python and face-alignment."""
    absent = ["librosa", "ffmpeg", "face_alignment", "soundfile", "scipy", "skimage"]
    code = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import {package}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_rendering_loads_no_module_of_training_or_evaluation():
    code = "import sys, talkface.rendering; print(*(name for name in sys.modules if name.startswith('talkface.')))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    loaded = {name.split(".")[1] for name in result.stdout.split()}
    assert "rendering" in loaded
    assert not loaded & {"train", "evaluate", "ablate", "preprocess", "study", "data"}
