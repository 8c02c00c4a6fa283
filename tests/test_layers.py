"""The floors of the package: each module imports only from floors below its own."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "talkface"
GROUND = {"_version", "config", "errors", "device", "files"}
ROOMS = {"model", "metrics", "face", "media"}
COMMANDS = {"preprocess", "train", "ablate", "evaluate", "rendering", "study"}
DOOR = {"cli", "console", "__main__"}

# What each room may import besides itself and the ground floor.
BELOW = {
    "model": set(),
    "media": set(),
    "face": {"media"},
    "metrics": {"model", "face", "media"},
    "data": ROOMS,
    **{command: ROOMS | {"data"} for command in COMMANDS},
    **{part: ROOMS | {"data"} | COMMANDS | DOOR for part in DOOR},
}
# ablate trains: the one command that is built on another.
BELOW["ablate"] = BELOW["ablate"] | {"train"}
HEAVY = {
    "torch",
    "numpy",
    "cv2",
    "librosa",
    "PIL",
    "safetensors",
    "scipy",
    "skimage",
    "imageio_ffmpeg",
    "face_alignment",
}
LIGHT = ["__init__.py", "__main__.py", "console.py", "config.py", "errors.py", "files.py"]
LIGHT += [f"cli/{path.name}" for path in (PACKAGE / "cli").glob("*.py")]
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """The first part of a module's name inside the package."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def imports(path: Path, top_only: bool = False) -> set[str]:
    """Dotted names that a source file imports; those of functions too, unless `top_only`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_only else list(ast.walk(tree))
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def rooms_imported(path: Path) -> set[str]:
    parts = [name.split(".") for name in imports(path)]
    known = ROOMS | COMMANDS | DOOR | GROUND | {"data"}
    return {name[1] for name in parts if name[0] == "talkface" and len(name) > 1 and name[1] in known}


@pytest.mark.parametrize("path", [p for p in SOURCES if p.parent != PACKAGE or room_of(p) in BELOW], ids=named)
def test_a_module_imports_only_from_floors_below(path):
    room = room_of(path)
    allowed = BELOW[room] | GROUND | {room}
    assert rooms_imported(path) <= allowed


@pytest.mark.parametrize("name", sorted(GROUND))
def test_the_ground_floor_imports_nothing_of_the_floors_above(name):
    assert rooms_imported(PACKAGE / f"{name}.py") <= GROUND


def test_every_module_of_the_package_stands_on_a_floor():
    assert {room_of(path) for path in SOURCES} <= set(BELOW) | GROUND | {"__init__"}


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_a_file_stays_under_400_lines(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 400


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_no_room_is_called_utils(path):
    assert path.stem not in {"utils", "helpers", "common", "manager", "base"}


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_import_nothing_heavy_at_the_top(name):
    roots = {module.split(".")[0] for module in imports(PACKAGE / name, top_only=True)}
    assert not roots & HEAVY


@pytest.mark.parametrize("package", ["talkface.data.reader", "talkface.model.generator", "talkface.train"])
def test_training_and_its_clips_need_no_package_of_preprocessing(package):
    """Clips are read, and networks trained, where librosa, ffmpeg-python and face-alignment are not installed."""
    absent = ["librosa", "ffmpeg", "face_alignment", "soundfile", "scipy", "skimage"]
    code = f"import sys; sys.modules.update(dict.fromkeys({absent!r})); import {package}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
