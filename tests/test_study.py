"""The user study: a page that works by itself in a browser, and the table of its answers."""

import base64
import json
import re
import shutil
import subprocess

import pytest
from full_disk import files_no_larger_than
from scipy.stats import binomtest

from talkface.errors import TalkfaceError
from talkface.study import StudyConfig, make_study, tally, wilson

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
METHODS = ("ours", "Zhou 2019", "Chen <2019>")

# Takes part in the study by itself: videos are taken for watched, checks answered as told, otherwise the method that
# stands first in the sealed list is preferred. What it saw goes into the page, which the browser then prints.
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
    """The page in headless Chromium with a robot at the mouse; returns what the robot saw and the answers."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH: the study page is not tried in a browser (apt-get install chromium)")
    tried = page.with_name(f"robot-{participant}.html")
    robot = ROBOT.replace("WRONG", f"({wrong})")
    tried.write_text(page.read_text(encoding="utf-8").replace("</body>", robot), encoding="utf-8")
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={page.parent / participant}"]
    command = [CHROMIUM, *flags, "--dump-dom", f"{tried.as_uri()}?participant={participant}"]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=180).stdout
    return json.loads(base64.b64decode(re.search(r'data-robot="([^"]+)"', printed)[1]))


def answers(participant, chosen, methods=("ours", "theirs"), checks=((1, 1),), study="s"):
    sealed = base64.b64encode(json.dumps({"methods": list(methods), "clips": []}).encode()).decode()
    return {
        "format": 1,
        "study": study,
        "participant": participant,
        "sealed": sealed,
        "answers": [{"question": q, "shown": [1, 0], "chosen": c} for q, c in chosen],
        "checks": [{"wanted": wanted, "chosen": got} for wanted, got in checks],
    }


def written(folder, *all_answers):
    paths = [folder / f"{number}.json" for number in range(len(all_answers))]
    for path, one in zip(paths, all_answers, strict=True):
        path.write_text(json.dumps(one))
    return paths


def test_a_participant_goes_through_the_page_and_hands_over_answers(videos, tmp_path):
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
    result = tally(written(tmp_path, given))
    assert result.participants == 1
    best = [share for share in result.shares if share.rate == 1]
    assert {share.question for share in best} == {"realistic", "in_step"}
    assert len({share.method for share in best}) == 1
    assert {share.method for share in result.shares} == set(METHODS)


def test_nobody_who_takes_part_sees_a_methods_or_a_clips_name(videos, tmp_path):
    study = make_study(StudyConfig(videos, tmp_path / "study", embed=False))
    source = study.page.read_text(encoding="utf-8")
    names = [path.name for path in (tmp_path / "study" / "media").iterdir()]
    assert len(names) == 18
    for word in ("Zhou", "Chen", "ours", "clip 0"):
        assert word not in source
        assert not any(word in name for name in names)
    found = take_part(study.page, "p1")
    assert not any("Zhou" in one["page"] for one in found["seen"])


def test_every_method_stands_equally_often_in_every_place(videos, tmp_path):
    study = make_study(StudyConfig(videos, tmp_path / "study", checks=0))
    found = take_part(study.page, "p7")
    shown = [answer["shown"] for answer in found["answers"]["answers"] if answer["question"] == "realistic"]
    for method in range(3):
        assert [sum(order[place] == method for order in shown) for place in range(3)] == [2, 2, 2]


def test_pairs_of_three_methods_come_equally_often(videos, tmp_path):
    study = make_study(StudyConfig(videos, tmp_path / "study", at_once=2, checks=0))
    found = take_part(study.page, "p2")
    shown = [tuple(sorted(a["shown"])) for a in found["answers"]["answers"] if a["question"] == "in_step"]
    assert sorted(shown) == [(0, 1), (0, 1), (0, 2), (0, 2), (1, 2), (1, 2)]


def test_orders_differ_between_participants_and_not_between_visits(videos, tmp_path):
    study = make_study(StudyConfig(videos, tmp_path / "study"))
    first, other = take_part(study.page, "p1")["answers"], take_part(study.page, "p2")["answers"]
    shutil.rmtree(study.page.parent / "p1")  # a browser that has forgotten everything
    again = take_part(study.page, "p1")["answers"]
    assert [a["clip"] for a in first["answers"]] == [a["clip"] for a in again["answers"]]
    assert first["answers"] != other["answers"]


def test_who_clicks_without_reading_is_left_out(videos, tmp_path):
    study = make_study(StudyConfig(videos, tmp_path / "study"))
    careless = take_part(study.page, "p3", wrong="(place) => (place + 1) % 3")["answers"]
    careful = take_part(study.page, "p4")["answers"]
    result = tally(written(tmp_path, careless, careful))
    assert result.participants == 1
    assert result.dropped == {"p3": "0 of 4 attention checks right"}


def test_large_studies_keep_their_videos_in_files(videos, tmp_path, monkeypatch):
    monkeypatch.setattr("talkface.study.make.EMBED_UP_TO", 100)
    study = make_study(StudyConfig(videos, tmp_path / "study"))
    assert study.page.stat().st_size < 40_000
    assert len(list((tmp_path / "study" / "media").iterdir())) == 18


def test_a_video_that_the_disk_has_no_room_for_is_named_and_leaves_nothing(videos, tmp_path):
    study = StudyConfig(videos, tmp_path / "study", embed=False)
    with files_no_larger_than(100), pytest.raises(TalkfaceError, match=r"\.mp4 cannot be written"):
        make_study(study)
    assert list((tmp_path / "study" / "media").iterdir()) == []


def test_a_participant_sees_at_most_as_many_clips_as_asked(videos, tmp_path):
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
    "change, said",
    [
        ({"videos": 1}, "at least two"),
        ({"at_once": 4}, "--at-once 4"),
        ({"trials": 0}, "--trials 0"),
    ],
)
def test_studies_that_cannot_be_are_refused(videos, tmp_path, change, said):
    settings = {"out": tmp_path / "study"} | change | {"videos": videos[: change.get("videos", 3)]}
    with pytest.raises(TalkfaceError, match=said):
        make_study(StudyConfig(**settings))


def test_folders_without_a_common_clip_and_a_reference_without_a_clip_are_refused(videos, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(TalkfaceError, match="No file name is in every folder"):
        make_study(StudyConfig((videos[0], empty), tmp_path / "study"))
    with pytest.raises(TalkfaceError, match="lacks clip"):
        make_study(StudyConfig(videos, tmp_path / "study", reference=empty))


@pytest.mark.parametrize("successes, trials", [(0, 10), (3, 10), (10, 10), (56, 99), (1, 1)])
def test_the_interval_is_wilsons_as_scipy_computes_it(successes, trials):
    expected = binomtest(successes, trials).proportion_ci(method="wilson")
    assert wilson(successes, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_shares_are_counted_by_question(tmp_path):
    first = answers("a", [("realistic", 0), ("in_step", 1), ("realistic", 0)])
    second = answers("b", [("realistic", 1), ("in_step", 1)])
    result = tally(written(tmp_path, first, second))
    rates = {(share.method, share.question): (share.chosen, share.shown) for share in result.shares}
    assert rates["ours", "realistic"] == (2, 3)
    assert rates["theirs", "realistic"] == (1, 3)
    assert rates["ours", "in_step"] == (0, 2)
    assert result.table()[0] == ["Method", "Realistic", "Synchronization"]
    assert result.table()[1][1].startswith("66.67% [")
    assert result.as_json()["rows"]["ours"]["realistic"]["chosen"] == 2


def test_the_same_participant_counts_once_with_the_fuller_file(tmp_path):
    part = answers("a", [("realistic", 1)])
    whole = answers("a", [("realistic", 1), ("in_step", 0)])
    assert sum(share.chosen for share in tally(written(tmp_path, part, whole)).shares) == 2


def test_answers_of_two_studies_are_not_mixed(tmp_path):
    one, other = answers("a", [("realistic", 0)]), answers("b", [("realistic", 0)], study="t")
    with pytest.raises(TalkfaceError, match="2 studies"):
        tally(written(tmp_path, one, other))


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"format": 1}', "\x00\x01"])
def test_other_files_are_refused_by_name(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(TalkfaceError, match=r"x\.json is not a file of study answers"):
        tally([tmp_path / "x.json"])


def test_nothing_left_to_count_is_an_error(tmp_path):
    failed = answers("a", [("realistic", 0)], checks=((1, 0),))
    with pytest.raises(TalkfaceError, match="No answers are left"):
        tally(written(tmp_path, failed))
