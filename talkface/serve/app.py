"""The pages and requests of the server, as a FastAPI application.

    GET /                       the page
    POST /faces                 a photo -> its faces and a preview
    POST /render                photo, speech and options -> the id of a render
    GET /render/{id}            how far it is
    GET /render/{id}/video      the result
    DELETE /render/{id}         stops it, and deletes its files

/openapi.json describes them. FastAPI's pages /docs and /redoc are off, because they load scripts from other servers.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, File, Form, Request, UploadFile
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response
from pydantic import BaseModel, Field, create_model
from starlette.exceptions import HTTPException

from talkface._version import __version__
from talkface.errors import TalkfaceError
from talkface.serve.faces import FaceLooker
from talkface.serve.guard import Guard, Refusal
from talkface.serve.renders import QueueFull, Render, Renders, Upload
from talkface.serve.settings import ServeConfig, choices

STATIC = Path(__file__).parent
PAGES = {"/": "page.html", "/page.js": "page.js", "/page.css": "page.css"}


class Problem(BaseModel):
    """What went wrong, as the command line says it."""

    problem: str
    fix: str


class Box(BaseModel):
    """A face in pixels of the upright photo."""

    x: float
    y: float
    width: float
    height: float


class Faces(BaseModel):
    """The faces of a photo."""

    width: int = Field(description="of the upright photo, px")
    height: int
    faces: list[Box] = Field(description="from left to right; the first has number 1")
    preview: str = Field(description="the photo as a data URL of a small JPEG")


class Progress(BaseModel):
    """How far a render is."""

    id: str
    status: str = Field(description="queued, running, done, failed or cancelled")
    before: int = Field(description="renders that come first")
    frames: int = Field(description="frames done")
    total: int = Field(description="frames in total; 0 until the inputs are read")
    seconds_left: float | None = Field(description="estimate; null until it is known")
    notes: list[str]
    error: Problem | None
    video: str | None = Field(description="path of the result on this server")
    video_name: str


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": text}
    for status, text in {
        400: "An input or an option cannot be used.",
        403: "The request comes from another web page.",
        413: "The upload is too large.",
        503: "Too many renders are waiting.",
    }.items()
}
MISSING: dict[int | str, dict[str, Any]] = {404: {"model": Problem, "description": "There is no such render."}}


def _options_form() -> type[BaseModel]:
    """Return the model of the fields of POST /render: the two files, and the options that rendering has."""
    options: dict[str, Any] = {
        choice.name: (
            choice.kind | None,
            Field(None, description=f"{choice.about} Default: {default}." if default is not None else choice.about),
        )
        for choice, default in choices()
    }
    return create_model(
        "RenderRequest",
        photo=(UploadFile, Field(description="a photo: JPEG, PNG, WebP, ...; or a video to dub")),
        speech=(UploadFile, Field(description="a recording, or a video with sound")),
        **options,
    )


def make_app(config: ServeConfig, renders: Renders, looker: FaceLooker) -> Any:
    """Return the ASGI application, guarded."""
    app = FastAPI(title="talkface", version=__version__, docs_url=None, redoc_url=None)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(TalkfaceError, _on_error)
    _add_pages(app, config)
    _add_faces(app, renders, looker)
    _add_renders(app, renders)

    def refuse(method: str, path: str) -> Refusal | None:
        if method == "POST" and path == "/render" and renders.is_full():
            error = renders.full()
            return 503, str(error), error.fix
        return None

    return Guard(
        app,
        names=(*config.names, config.host),
        any_address=not config.is_local,
        max_body=round(config.max_upload * 1e6),
        refuse=refuse,
    )


def _add_pages(app: FastAPI, config: ServeConfig) -> None:
    for path, name in PAGES.items():
        app.add_api_route(path, lambda name=name: FileResponse(STATIC / name), include_in_schema=False)

    @app.get("/settings", include_in_schema=False)
    def settings() -> dict[str, Any]:
        """Return the limits of the server, and the options that the page shows."""
        shown = [(choice, default) for choice, default in choices() if choice.label]
        return {
            "max_bytes": round(config.max_upload * 1e6),
            "max_seconds": config.max_seconds,
            "keep_minutes": config.keep_minutes,
            "options": [asdict(c) | {"kind": c.kind.__name__, "default": default} for c, default in shown],
        }


def _add_faces(app: FastAPI, renders: Renders, looker: FaceLooker) -> None:
    @app.post("/faces", responses={status: ERRORS[status] for status in (400, 403, 413)})
    def faces(photo: Annotated[UploadFile, File(description="a photo, or a video to dub")]) -> Faces:
        """Find the faces in a photo, or at the start of a video."""
        folder = renders.new_folder()
        upload = renders.new_upload(folder, "photo", photo.filename)
        try:
            _save(photo, upload)
            return Faces(**looker.look(upload.path))
        except TalkfaceError as error:
            raise TalkfaceError(upload.shown(str(error)), upload.shown(error.fix)) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _add_renders(app: FastAPI, renders: Renders) -> None:
    form = _options_form()

    def render(request: Any) -> Progress:
        """Begin a video in which the face of a photo or of a video says what is in a recording."""
        given = request.model_dump(exclude={"photo", "speech"}, exclude_none=True)
        options = renders.make_options(**_parsed(given))
        folder = renders.new_folder()
        photo = renders.new_upload(folder, "photo", request.photo.filename)
        speech = renders.new_upload(folder, "speech", request.speech.filename)
        try:
            _save(request.photo, photo)
            _save(request.speech, speech)
            return _progress(renders, renders.add(folder, photo, speech, options))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    # The model is made when the server starts, so that only those options are offered that rendering has.
    render.__annotations__["request"] = Annotated[form, Form(media_type="multipart/form-data")]
    app.add_api_route("/render", render, methods=["POST"], status_code=202, responses=ERRORS)

    @app.get("/render/{id}", responses=MISSING)
    def progress(id: str) -> Progress:
        """Tell how far a render is."""
        return _progress(renders, _known(renders, id))

    @app.get("/render/{id}/video", responses=MISSING, response_class=FileResponse)
    def video(id: str) -> FileResponse:
        """Return the result, an mp4."""
        found = _known(renders, id)
        if found.status != "done":
            raise HTTPException(404, "This video is not complete.")
        return FileResponse(
            found.video, media_type="video/mp4", filename=found.video_name, content_disposition_type="inline"
        )

    @app.delete("/render/{id}", status_code=204, responses={**MISSING, 403: ERRORS[403]})
    def cancel(id: str) -> Response:
        """Stop a render, and delete its files."""
        renders.cancel(_known(renders, id))
        return Response(status_code=204)


def _parsed(given: dict[str, Any]) -> dict[str, Any]:
    """Return options with the box as four numbers."""
    from talkface.batch.options import parse_option

    return given | ({"box": parse_option("box", given["box"])} if given.get("box") else {})


def _known(renders: Renders, id_: str) -> Render:
    found = renders.get(id_)
    if found is None:
        raise HTTPException(404, "There is no such render; results are deleted after some time.")
    return found


def _progress(renders: Renders, render: Render) -> Progress:
    done = render.status == "done"
    return Progress(
        id=render.id,
        status=render.status,
        before=renders.place(render),
        frames=render.frames,
        total=render.total,
        seconds_left=render.seconds_left,
        notes=list(render.notes),
        error=Problem(problem=render.problem, fix=render.fix) if render.status == "failed" else None,
        video=f"/render/{render.id}/video" if done else None,
        video_name=render.video_name,
    )


def _save(file: UploadFile, upload: Upload) -> None:
    """Copy an upload to its place; its size was bounded when it was received."""
    with upload.path.open("wb") as target:
        shutil.copyfileobj(file.file, target)


def _problem(status: int, problem: str, fix: str = "") -> JSONResponse:
    return JSONResponse({"problem": problem, "fix": fix}, status)


def _on_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, TalkfaceError)
    return _problem(503 if isinstance(error, QueueFull) else 400, str(error), error.fix)


def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, error.detail, "GET /openapi.json describes the requests.")


def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    return _problem(400, f"{first['loc'][-1]}: {first['msg']}.", "GET /openapi.json describes the requests.")
