"""`talkface serve`: a real server in this process, with renders that are only pretended where they do not matter."""

import http.client
import json
import re
import socket
import threading
import time
import uuid
from pathlib import Path

import pytest

from talkface.errors import TalkfaceError
from talkface.render_options import RenderOptions
from talkface.serve import ServeConfig, serve, settings
from talkface.workers import Failed, Finished, Reported

uvicorn = pytest.importorskip("uvicorn", reason="talkface[ui] is not installed: talkface serve is NOT tested")
pytest.importorskip("fastapi", reason="talkface[ui] is not installed: talkface serve is NOT tested")

from talkface.batch.work import Step  # noqa: E402
from talkface.serve import app as pages  # noqa: E402
from talkface.serve import renders as queue  # noqa: E402

LIMIT = 20_000  # bytes of an upload


class PretendedWorker:
    """In place of the process: says what a test wants, once the test lets it."""

    script: list = []  # noqa: RUF012 (set by the tests)
    allowed = threading.Event()

    def __init__(self):
        self.alive, self.busy, self.tasks = True, False, []

    def begin(self, function, task):
        self.busy = True
        self.task = task
        self.waiting = list(self.script)

    def stop(self):
        self.alive = self.busy = False


def pretended_messages(workers, timeout):
    (worker,) = workers
    if not worker.allowed.wait(timeout):
        return
    message = worker.waiting.pop(0)
    worker.busy = isinstance(message, Reported)
    if isinstance(message, Finished):
        worker.task.part.write_bytes(b"an mp4")
    if isinstance(message, Failed):
        message = Failed(f"No face in {worker.task.job.photo} ({worker.task.job.photo.name}).", message.fix)
    yield worker, message


class Looker:
    """In place of the process that finds faces."""

    def look(self, photo):
        if photo.read_bytes() != b"a photo":
            raise TalkfaceError(f"{photo.name} is broken.", "Copy it again.")
        box = {"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0}
        return {"width": 10, "height": 20, "faces": [box], "preview": "data:,"}


class Client:
    """Sends requests to the server, as curl does."""

    def __init__(self, port, root):
        self.port, self.root = port, root

    def send(self, method, path, fields=None, headers=None, body=None):
        """Returns status, headers and body; JSON is decoded."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        headers = dict(headers or {})
        if fields is not None:
            mark = uuid.uuid4().hex
            headers["Content-Type"] = f"multipart/form-data; boundary={mark}"
            body = b"".join(self.part(mark, name, value) for name, value in fields.items()) + f"--{mark}--\r\n".encode()
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        if "json" in answer.headers.get("content-type", ""):
            content = json.loads(content)
        return answer.status, answer.headers, content

    def part(self, mark, name, value):
        file, content = value if isinstance(value, tuple) else (None, value.encode())
        filename = f'; filename="{file}"' if file else ""
        return (
            f'--{mark}\r\nContent-Disposition: form-data; name="{name}"{filename}\r\n\r\n'.encode() + content + b"\r\n"
        )

    def render(self, photo="ann.jpg", **options):
        return self.send("POST", "/render", {"photo": (photo, b"a photo"), "speech": ("hi.wav", b"a sound"), **options})

    def wait(self, id_, *statuses):
        end = time.monotonic() + 20
        while time.monotonic() < end:
            content = self.send("GET", f"/render/{id_}")[2]
            if content["status"] in statuses:
                return content
            time.sleep(0.02)
        raise AssertionError(f"the render is never {statuses}")


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A client of a server whose renders are pretended; they wait for `PretendedWorker.allowed`."""
    monkeypatch.setattr(queue, "Worker", PretendedWorker)
    monkeypatch.setattr(queue, "messages", pretended_messages)
    monkeypatch.setattr(queue, "POLL", 0.01)
    PretendedWorker.allowed.clear()
    PretendedWorker.script = [Reported(Step(1, 3)), Reported("A note."), Reported(Step(3, 3)), Finished(None)]
    config = ServeConfig(port=0, max_upload=LIMIT / 1e6, max_queue=1, names=("my.host",))
    root = tmp_path / "uploads"
    root.mkdir()
    renders = queue.Renders(root, max_queue=1, max_seconds=600, keep_seconds=600)
    server = uvicorn.Server(
        uvicorn.Config(pages.make_app(config, renders, Looker()), log_level="error", lifespan="off")
    )
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield Client(listener.getsockname()[1], root)
        server.should_exit = True
        thread.join()
    renders.close()
    assert not root.exists()


def test_a_photo_and_a_recording_become_a_video_that_can_be_downloaded_in_parts(client):
    status, _, begun = client.render(expression="1.5", box="1,2,30,40")
    assert (status, begun["video_name"], begun["video"]) == (202, "ann_hi.mp4", None)
    assert client.send("GET", f"/render/{begun['id']}/video")[0] == 404
    PretendedWorker.allowed.set()
    done = client.wait(begun["id"], "done")
    assert (done["frames"], done["total"], done["notes"], done["error"]) == (3, 3, ["A note."], None)
    status, headers, content = client.send("GET", done["video"], headers={"Range": "bytes=3-5"})
    assert (status, content, headers["content-type"]) == (206, b"mp4", "video/mp4")
    assert [path.name for path in client.root.glob("*/*")] == ["video.mp4"]  # the uploads are deleted
    assert client.send("DELETE", f"/render/{begun['id']}")[0] == 204
    assert client.send("GET", f"/render/{begun['id']}")[0] == 404
    assert list(client.root.iterdir()) == []


def test_an_error_of_the_renderer_is_given_with_the_names_of_the_client(client):
    PretendedWorker.script = [Failed("", "Use another.")]
    PretendedWorker.allowed.set()
    _, _, begun = client.render("../../etc/p<b>.jpg")
    failed = client.wait(begun["id"], "failed")
    assert failed["error"] == {"problem": "No face in p<b>.jpg (p<b>.jpg).", "fix": "Use another."}
    assert failed["video_name"] == "p_b__hi.mp4"


def test_a_full_queue_refuses_and_a_cancelled_render_leaves_nothing(client):
    first = client.render()[2]["id"]
    client.wait(first, "running")
    second = client.render()[2]
    assert second["before"] == 1
    status, _, content = client.render()
    assert (status, content["problem"]) == (503, "1 videos are waiting already.")
    for id_ in (second["id"], first):
        assert client.send("DELETE", f"/render/{id_}")[0] == 204
    end = time.monotonic() + 10
    while list(client.root.iterdir()) and time.monotonic() < end:
        time.sleep(0.02)
    assert list(client.root.iterdir()) == []


@pytest.mark.parametrize(
    "options, words",
    [
        ({"expression": "9"}, "--expression 9.0 is not valid"),
        ({"expression": "wide"}, "expression: "),
        ({"box": "1,2"}, "expected four numbers"),
        ({"crf": "99"}, "--crf 99"),
    ],
)
def test_an_option_out_of_its_range_is_refused_in_the_words_of_the_command_line(client, options, words):
    status, _, content = client.render(**options)
    assert status == 400
    assert words in content["problem"]
    assert list(client.root.iterdir()) == []


def test_the_faces_of_a_photo_are_given_and_a_broken_photo_has_its_message(client):
    status, _, content = client.send("POST", "/faces", {"photo": ("a.jpg", b"a photo")})
    assert (status, content["faces"]) == (200, [{"x": 1.0, "y": 2.0, "width": 3.0, "height": 4.0}])
    status, _, content = client.send("POST", "/faces", {"photo": ("a.jpg", b"no photo")})
    assert (status, content) == (400, {"problem": "a.jpg is broken.", "fix": "Copy it again."})
    assert list(client.root.iterdir()) == []


@pytest.mark.parametrize("announced", [True, False], ids=["announced", "in chunks"])
def test_an_upload_over_the_bound_is_refused(client, announced):
    form = (
        b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n' + bytes(LIMIT) + b"\r\n--x--\r\n"
    )
    body = form if announced else iter([form[:9000], form[9000:]])
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    status, _, content = client.send("POST", "/faces", headers=headers, body=body)
    assert (status, content["problem"]) == (413, "The upload is larger than 0.02 MB.")
    assert list(client.root.iterdir()) == []


def test_who_still_sends_a_body_far_over_the_bound_reads_why_it_is_refused(client):
    status, _, content = client.send("POST", "/faces", body=bytes(16_000_000))  # more than the sockets hold
    assert (status, content["problem"]) == (413, "The upload is larger than 0.02 MB.")


def test_who_asks_before_sending_is_refused_before(client):
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection:
        head = f"POST /faces HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: {2 * LIMIT}\r\n\r\n"
        connection.sendall(head.encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"The upload is larger than 0.02 MB." in answer


@pytest.mark.parametrize(
    "method, headers, status",
    [
        ("GET", {}, 200),
        ("GET", {"Host": "localhost:1"}, 200),
        ("GET", {"Host": "My.Host"}, 200),
        ("GET", {"Host": "evil.example"}, 421),
        ("GET", {"Host": "127.0.0.1.evil.example"}, 421),
        ("GET", {"Host": "10.0.0.1"}, 421),
        ("POST", {"Origin": "http://evil.example"}, 403),
        ("POST", {"Origin": "null"}, 403),
        ("POST", {"Sec-Fetch-Site": "cross-site"}, 403),
        ("POST", {"Host": "localhost:1", "Origin": "http://localhost:1", "Sec-Fetch-Site": "same-origin"}, 200),
    ],
)
def test_only_this_server_under_its_own_names_may_be_asked_by_its_own_page(client, method, headers, status):
    path, fields = ("/", None) if method == "GET" else ("/faces", {"photo": ("a.jpg", b"a photo")})
    assert client.send(method, path, fields, headers)[0] == status


def test_the_page_loads_nothing_from_other_servers(client):
    for path in ("/", "/page.js", "/page.css"):
        status, headers, content = client.send("GET", path)
        assert status == 200
        assert b"http:" not in content
        assert b"https:" not in content
        assert "default-src 'none'" in headers["content-security-policy"]


def test_the_script_names_only_elements_that_the_page_has(client):
    page, script = (client.send("GET", path)[2].decode() for path in ("/", "/page.js"))
    named = set(re.findall(r'(?:at|show)\("([\w-]+)"', script))
    assert len(named) > 20
    assert named <= set(re.findall(r'id="([\w-]+)"', page))


def test_the_description_has_the_options_that_rendering_has_and_none_that_removes_the_mark(client):
    _, _, content = client.send("GET", "/openapi.json")
    fields = content["components"]["schemas"]["RenderRequest"]["properties"]
    names = {field for field in RenderOptions.__dataclass_fields__}  # noqa: C416
    assert set(fields) - {"photo", "speech"} == names & {choice.name for choice in settings.CHOICES}
    assert not {"mark", "json", "weights", "device"} & set(fields)
    assert content["paths"]["/render"]["post"]["responses"].keys() >= {"202", "400", "413", "503"}


def test_a_result_is_deleted_when_its_time_is_over(tmp_path, monkeypatch):
    monkeypatch.setattr(queue, "Worker", PretendedWorker)
    renders = queue.Renders(tmp_path / "uploads", max_queue=1, max_seconds=1, keep_seconds=5)
    (tmp_path / "uploads").mkdir()
    folder = renders.new_folder()
    uploads = [renders.new_upload(folder, kind, None) for kind in ("photo", "speech")]
    render = queue.Render(folder.name, folder, *uploads, RenderOptions(), status="done", ended=time.monotonic() - 6)
    renders._renders[render.id] = render
    renders._expire()
    assert renders.get(render.id) is None
    assert not folder.exists()
    renders.close()


def test_a_port_in_use_is_an_error_with_a_fix():
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(TalkfaceError, match="address already in use") as caught,
    ):
        serve(ServeConfig(port=other.getsockname()[1]))
    assert "--port" in caught.value.fix


@pytest.mark.parametrize("name, value", [("port", -1), ("port", 70000), ("max_upload", 0), ("max_queue", 0)])
def test_limits_that_make_no_sense_are_refused(name, value):
    with pytest.raises(TalkfaceError, match=f"--{name.replace('_', '-')}"):
        ServeConfig(**{name: value})


def test_the_files_of_the_page_are_in_the_package():
    assert all((Path(pages.__file__).parent / name).is_file() for name in pages.PAGES.values())
