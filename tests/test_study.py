"""The user study: a page that works in a browser without a server, and the table of its answers."""

import base64
import json
import re
import shutil
import subprocess

import pytest

from talkface.errors import TalkfaceError
from talkface.study import StudyConfig, make_study, tally, wilson

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
METHODS = ("ours", "Zhou 2019", "Chen <2019>")

# A script that takes part in the study. It marks videos as watched, answers the attention checks as they ask, and
# otherwise prefers the method that is first in the sealed list. It writes what it saw into the page, which the browser
# then prints.
ROBOT = """<script>
addEventListener("load", () => {
  const seen = [], all = (css) => [...document.querySelectorAll(css)];
  $("begin").click();
  while (!$("trial").hidden) {
    const trial = trials[state.at], disabled = [$("next").disabled];
    for (const video of all("#videos video")) { video.dispatchEvent(new Event("ended")); }
    disabled.push($("next").disabled);
    for (const [number, name] of ["realistic", "in_step"].entries()) {
      const place = trial.wanted ? WRONG(trial.wanted[number]) : Math.max(trial.shown.indexOf(0), 0);
      all("input[name=" + name + "]")[place].click();
    }
    disabled.push($("next").disabled);
    const sources = all("#videos video").map((video) => video.src.slice(0, 5));
    seen.push({ disabled, sources, page: document.body.innerText });
    $("next").click();
  }
  const kept = localStorage.getItem(KEY) !== null;
  const out = { seen, kept, answers: JSON.parse($("text").value), done: !$("done").hidden };
  document.body.setAttribute("data-robot", btoa(unescape(encodeURIComponent(JSON.stringify(out)))));
});
</script></body>"""


@pytest.fixture
def videos(tmp_path):
    folders = []
    for method in METHODS:
        folder = tmp_path / method
        folder.mkdir()
        for clip in range(6):
            (folder / f"clip {clip}.mp4").write_bytes(f"{method} {clip}".encode() * 40)
        folders.append(folder)
    return tuple(folders)


def take_part(page, participant, wrong="(place) => place"):
    """Runs the robot on the page in headless Chromium; returns what the robot saw and the answers."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH: the study page is not tested in a browser (apt-get install chromium)")
    tried = page.with_name(f"robot-{participant}.html")
    robot = ROBOT.replace("WRONG", f"({wrong})")
    tried.write_text(page.read_text(encoding="utf-8").replace("</body>", robot), encoding="utf-8")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / participant}"]
    command = [CHROMIUM, *flags, "--dump-dom", f"{tried.as_uri()}?participant={participant}"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=180).stdout
    return json.loads(base64.b64decode(re.search(r'data-robot="([^"]+)"', printed)[1]))


def make_answers(participant, chosen, methods=("ours", "theirs"), checks=((1, 1),), study="s"):
    sealed = base64.b64encode(json.dumps({"methods": list(methods), "clips": []}).encode()).decode()
    return {
        "format": 1,
        "study": study,
        "participant": participant,
        "sealed": sealed,
        "answers": [{"question": q, "shown": [1, 0], "chosen": c} for q, c in chosen],
        "checks": [{"wanted": wanted, "chosen": got} for wanted, got in checks],
    }


def write_answers(folder, *all_answers):
    paths = [folder / f"{number}.json" for number in range(len(all_answers))]
    for path, one in zip(paths, all_answers, strict=True):
        path.write_text(json.dumps(one))
    return paths


def test_a_participant_completes_the_page_and_gets_a_file_of_answers(videos, tmp_path):
    study = make_study(StudyConfig(videos, tmp_path / "study", title="Whose <mouth>?"))
    found = take_part(study.page, "p1")
    assert found["done"]
    assert found["kept"]
    assert len(found["seen"]) == 6 + 2
    assert all(one["disabled"] == [True, True, False] for one in found["seen"])
    assert all(source == "blob:" for one in found["seen"] for source in one["sources"])
    given = found["answers"]
    assert (given["participant"], len(given["answers"]), len(given["checks"])) == ("p1", 12, 4)
    assert all(sorted(answer["shown"]) == [0, 1, 2] for answer in given["answers"])
    result = tally(write_answers(tmp_path, given))
    assert result.participants == 1
    best = [share for share in result.shares if share.rate == 1]
    assert {share.question for share in best} == {"realistic", "in_step"}
    assert len({share.method for share in best}) == 1
    assert {share.method for share in result.shares} == set(METHODS)


def test_a_participant_never_sees_the_name_of_a_method_or_a_clip(videos, tmp_path):
    study = make_study(StudyConfig(videos, tmp_path / "study", embed=False))
    source = study.page.read_text(encoding="utf-8")
    names = [path.name for path in (tmp_path / "study" / "media").iterdir()]
    assert len(names) == 18
    for word in ("Zhou", "Chen", "ours", "clip 0"):
        assert word not in source
        assert not any(word in name for name in names)
    found = take_part(study.page, "p1")
    assert not any("Zhou" in one["page"] for one in found["seen"])


def test_every_method_is_shown_equally_often_in_every_position(videos, tmp_path):
    study = make_study(StudyConfig(videos, tmp_path / "study", checks=0))
    found = take_part(study.page, "p7")
    shown = [answer["shown"] for answer in found["answers"]["answers"] if answer["question"] == "realistic"]
    for method in range(3):
        assert [sum(order[place] == method for order in shown) for place in range(3)] == [2, 2, 2]


def test_all_pairs_of_three_methods_are_shown_equally_often(videos, tmp_path):
    study = make_study(StudyConfig(videos, tmp_path / "study", at_once=2, checks=0))
    found = take_part(study.page, "p2")
    shown = [tuple(sorted(a["shown"])) for a in found["answers"]["answers"] if a["question"] == "in_step"]
    assert sorted(shown) == [(0, 1), (0, 1), (0, 2), (0, 2), (1, 2), (1, 2)]


def test_the_order_differs_between_participants_but_not_between_visits(videos, tmp_path):
    study = make_study(StudyConfig(videos, tmp_path / "study"))
    first, other = take_part(study.page, "p1")["answers"], take_part(study.page, "p2")["answers"]
    shutil.rmtree(study.page.parent / "p1")  # a browser that has forgotten everything
    again = take_part(study.page, "p1")["answers"]
    assert [a["clip"] for a in first["answers"]] == [a["clip"] for a in again["answers"]]
    assert first["answers"] != other["answers"]


def test_a_participant_who_fails_the_attention_checks_is_not_counted(videos, tmp_path):
    study = make_study(StudyConfig(videos, tmp_path / "study"))
    careless = take_part(study.page, "p3", wrong="(place) => (place + 1) % 3")["answers"]
    careful = take_part(study.page, "p4")["answers"]
    result = tally(write_answers(tmp_path, careless, careful))
    assert result.participants == 1
    assert result.dropped == {"p3": "0 of 4 attention checks right"}


def test_a_large_study_keeps_its_videos_in_files(videos, tmp_path, monkeypatch):
    monkeypatch.setattr("talkface.study.make.EMBED_UP_TO", 100)
    study = make_study(StudyConfig(videos, tmp_path / "study"))
    assert study.page.stat().st_size < 40_000
    assert len(list((tmp_path / "study" / "media").iterdir())) == 18


def test_a_full_disk_is_an_error_that_names_the_video_and_leaves_no_file(videos, tmp_path, disk_limits):
    study = StudyConfig(videos, tmp_path / "study", embed=False)
    with disk_limits(100), pytest.raises(TalkfaceError, match=r"\.mp4 cannot be written"):
        make_study(study)
    assert list((tmp_path / "study" / "media").iterdir()) == []


def test_a_participant_sees_at_most_the_requested_number_of_clips(videos, tmp_path):
    study = make_study(StudyConfig(videos, tmp_path / "study", trials=4))
    assert study.trials == 4


def test_a_clip_that_one_method_lacks_is_left_out_and_named(videos, tmp_path):
    (videos[1] / "clip 3.mp4").unlink()
    study = make_study(StudyConfig(videos, tmp_path / "study"))
    assert len(study.clips) == 5
    assert study.notes == [
        "ours: clip 3 left out, not in every folder.",
        "Chen <2019>: clip 3 left out, not in every folder.",
    ]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"videos": 1}, "at least two"),
        ({"at_once": 4}, "--at-once 4"),
        ({"trials": 0}, "--trials 0"),
    ],
)
def test_settings_that_contradict_each_other_are_an_error(videos, tmp_path, change, message):
    settings = {"out": tmp_path / "study"} | change | {"videos": videos[: change.get("videos", 3)]}
    with pytest.raises(TalkfaceError, match=message):
        make_study(StudyConfig(**settings))


def test_folders_without_a_common_clip_and_a_reference_without_a_clip_are_errors(videos, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TalkfaceError, match="No file name is in every folder"):
        make_study(StudyConfig((videos[0], empty), tmp_path / "study"))
    with pytest.raises(TalkfaceError, match="lacks clip"):
        make_study(StudyConfig(videos, tmp_path / "study", reference=empty))


@pytest.mark.parametrize("successes, trials", [(0, 10), (3, 10), (10, 10), (56, 99), (1, 1)])
def test_the_ends_of_the_interval_solve_wilsons_score_equation(successes, trials):
    """The ends are the shares p for which |share - p| is z standard errors sqrt(p (1 - p) / trials)."""
    share, (low, high) = successes / trials, wilson(successes, trials)
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        assert abs(share - end) == pytest.approx(1.959963984540054 * (end * (1 - end) / trials) ** 0.5, abs=1e-9)


def test_choices_are_counted_for_each_question(tmp_path):
    first = make_answers("a", [("realistic", 0), ("in_step", 1), ("realistic", 0)])
    second = make_answers("b", [("realistic", 1), ("in_step", 1)])
    result = tally(write_answers(tmp_path, first, second))
    rates = {(share.method, share.question): (share.chosen, share.shown) for share in result.shares}
    assert rates["ours", "realistic"] == (2, 3)
    assert rates["theirs", "realistic"] == (1, 3)
    assert rates["ours", "in_step"] == (0, 2)
    assert result.table()[0] == ["Method", "Realistic", "Synchronization"]
    assert result.table()[1][1].startswith("66.67% [")
    assert result.as_json()["rows"]["ours"]["realistic"]["chosen"] == 2


def test_of_two_files_of_one_participant_the_one_with_more_answers_counts(tmp_path):
    part = make_answers("a", [("realistic", 1)])
    whole = make_answers("a", [("realistic", 1), ("in_step", 0)])
    assert sum(share.chosen for share in tally(write_answers(tmp_path, part, whole)).shares) == 2


def test_answers_to_two_studies_are_an_error(tmp_path):
    one, other = make_answers("a", [("realistic", 0)]), make_answers("b", [("realistic", 0)], study="t")
    with pytest.raises(TalkfaceError, match="2 studies"):
        tally(write_answers(tmp_path, one, other))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 1}', "\x00\x01"])
def test_a_file_without_answers_is_an_error_that_names_it(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(TalkfaceError, match=r"x\.json is not a file of study answers"):
        tally([tmp_path / "x.json"])


def test_no_answers_left_to_count_is_an_error(tmp_path):
    failed = make_answers("a", [("realistic", 0)], checks=((1, 0),))
    with pytest.raises(TalkfaceError, match="No answers are left"):
        tally(write_answers(tmp_path, failed))
