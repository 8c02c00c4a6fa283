"""What the wheel and the source archive contain, and what the project's files say about it."""

import re
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from talkface import __version__

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS_TEXTS = {"NOTICE", "README.md", "SHA256SUMS"}


@pytest.fixture(scope="module")
def build():
    """hatchling's build functions (PEP 517), called in the root of the repository. They need no network."""
    backend = pytest.importorskip("hatchling.build", reason="hatchling is not installed: the archives are NOT tested")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield backend


def published_weights():
    return {line.split()[1] for line in (ROOT / "weights/SHA256SUMS").read_text(encoding="utf-8").splitlines()}


def test_the_wheel_contains_the_package_and_the_weights_and_nothing_else(build, tmp_path):
    with zipfile.ZipFile(tmp_path / build.build_wheel(str(tmp_path))) as wheel:
        names = {name for name in wheel.namelist() if not name.startswith(f"talkface-{__version__}.dist-info/")}
    suffixes = {".css", ".html", ".js", ".py", ".typed"}
    sources = {path for path in (ROOT / "talkface").rglob("*") if path.suffix in suffixes}
    weights = {f"talkface/weights/{name}" for name in published_weights() | WEIGHTS_TEXTS}
    sample = {path for path in (ROOT / "talkface/data/grid_sample").rglob("*") if path.is_file()}
    assert names == {path.relative_to(ROOT).as_posix() for path in sources | sample} | weights


def test_the_bundled_sample_is_small_and_gives_credit_and_licence():
    folder = ROOT / "talkface/data/grid_sample"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 2_000_000
    assert "Creative Commons Attribution 4.0 International" in (folder / "LICENSE").read_text(encoding="utf-8")
    credit = (folder / "README.md").read_text(encoding="utf-8")
    assert "Cooke" in credit
    assert "Changes" in credit


def test_the_source_archive_contains_every_file_under_version_control(build, tmp_path):
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: the files under version control are not known")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = {name for name in listed.split("\0") if name and (ROOT / name).exists()}
    with tarfile.open(tmp_path / build.build_sdist(str(tmp_path))) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert tracked - names == set()
    assert names - tracked <= {"PKG-INFO", *new_files()}


def new_files():
    """Files that are neither under version control yet nor ignored."""
    command = ["git", "ls-files", "-z", "--others", "--exclude-standard"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")


def test_the_citation_gives_the_version_of_the_package_and_the_paper():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == __version__
    assert "doi: 10.24963/ijcai.2020/327" in citation


def test_the_changelog_has_an_entry_for_the_version():
    assert re.search(
        rf"^## {re.escape(__version__)}\b", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )


def test_the_first_code_block_of_the_readme_is_two_lines_for_ci():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.search(r"^```sh\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)[1].splitlines()
    assert len(lines) == 2
    assert lines[1].endswith("python -m pytest")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_lines_of_a_text_have_at_most_120_characters_outside_tables_and_code(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    long = [line for line in prose.splitlines() if len(line) > 120 and not line.startswith("|")]
    assert long == []


def test_the_readme_has_at_most_1300_words_outside_tables_and_code():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    words = [word for line in prose.splitlines() if not line.startswith(("|", "    ")) for word in line.split()]
    assert len(words) <= 1300


def test_the_readme_links_only_to_files_that_exist():
    for name in ("README.md", "CONTRIBUTING.md", "weights/README.md", "examples/README.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        targets = [target for target in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in target]
        assert [target for target in targets if not (ROOT / name).parent.joinpath(target).exists()] == [], name


def test_every_function_that_the_readme_names_for_the_paper_exists():
    """The table of the paper's sections and equations: `file.py`: `name`, `name`."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in readme.splitlines() if line.startswith("|") and re.search(r"`talkface/[\w/]+\.py`", line)]
    assert len(rows) >= 10
    for row in rows:
        path, *names = re.findall(r"`([^`]+)`", row.split("|")[2])
        source = (ROOT / path).read_text(encoding="utf-8")
        for name in names:
            assert re.search(rf"\b(?:def|class) {name.rpartition('.')[2]}\b|^{name}\b", source, re.MULTILINE), row
