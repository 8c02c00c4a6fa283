"use strict";

const at = (id) => document.getElementById(id);
const POLL = 400; // ms
const state = { photo: null, speech: null, face: null, render: null, busy: false };
let settings = null;

/** Shows an error as the command line does: the problem and the fix. Text only, never HTML. */
function show(id, error) {
  const box = at(id);
  box.replaceChildren();
  box.hidden = !error;
  if (!error) return;
  for (const [tag, word, text] of [["b", "Error", error.problem], ["i", "Fix", error.fix]]) {
    if (!text) continue;
    const line = document.createElement("div");
    const head = document.createElement(tag);
    head.textContent = word + "  ";
    line.append(head, text);
    box.append(line);
  }
}

/** Sends a request; returns the JSON of the answer, or throws {problem, fix}. */
async function send(method, path, body) {
  let answer;
  try {
    answer = await fetch(path, { method, body });
  } catch {
    throw { problem: "The server does not answer.", fix: "Check that talkface serve still runs." };
  }
  if (answer.status === 204) return null;
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw { problem: content.problem || `The server answered ${answer.status}.`, fix: content.fix || "" };
  return content;
}

function tooLarge(bytes) {
  if (!settings || bytes <= settings.max_bytes - 4096) return null;
  const limit = `${settings.max_bytes / 1e6} MB`;
  return { problem: `${(bytes / 1e6).toFixed(1)} MB are more than this server takes: ${limit}.`, fix: "Use smaller files." };
}

function update() {
  const both = state.photo && state.speech;
  const large = both ? tooLarge(state.photo.size + state.speech.size) : null;
  at("render").disabled = !both || state.busy || Boolean(large);
  if (large) show("render-message", large);
}

async function takePhoto(file) {
  state.photo = state.face = null;
  state.looking = file;
  at("photo-view").hidden = true;
  show("render-message", null);
  update();
  const large = tooLarge(file.size);
  show("photo-message", large);
  at("photo-wait").hidden = Boolean(large);
  if (large) return;
  at("photo-drop").classList.add("over");
  const form = new FormData();
  form.append("photo", file);
  try {
    const found = await send("POST", "/faces", form);
    if (state.looking !== file) return; // another photo was dropped meanwhile
    at("preview").src = found.preview;
    at("photo-view").hidden = false;
    at("photo-name").textContent = `${file.name}, ${found.width}x${found.height}`;
    drawFaces(found);
    if (!found.faces.length) {
      throw {
        problem: `No face found in ${file.name} (${found.width}x${found.height}).`,
        fix: "Use a photo of a face looking at the camera, at least 100 pixels wide.",
      };
    }
    state.photo = file;
  } catch (error) {
    if (state.looking === file) show("photo-message", error);
  } finally {
    if (state.looking === file) {
      at("photo-drop").classList.remove("over");
      at("photo-wait").hidden = true;
      update();
    }
  }
}

/** Draws a frame around each face; a click selects the face. At first it is the largest, as on the command line. */
function drawFaces(found) {
  const area = (box) => box.width * box.height;
  const largest = found.faces.reduce((best, box, i) => (area(box) > area(found.faces[best]) ? i : best), 0);
  at("boxes").replaceChildren(
    ...found.faces.map((box, i) => {
      const button = document.createElement("button");
      button.type = "button";
      button.setAttribute("aria-label", `Face ${i + 1}`);
      const label = document.createElement("span");
      label.textContent = found.faces.length > 1 ? String(i + 1) : "";
      button.append(label);
      const parts = { left: box.x / found.width, top: box.y / found.height };
      parts.width = box.width / found.width;
      parts.height = box.height / found.height;
      for (const [name, part] of Object.entries(parts)) button.style[name] = `${100 * part}%`;
      button.addEventListener("click", () => selectFace(i));
      return button;
    }),
  );
  state.many = found.faces.length > 1;
  selectFace(largest);
}

function selectFace(index) {
  state.face = index + 1;
  [...at("boxes").children].forEach((button, i) => button.setAttribute("aria-pressed", String(i === index)));
}

function takeSpeech(file) {
  const large = tooLarge(file.size);
  show("render-message", null);
  show("speech-message", large);
  state.speech = large ? null : file;
  at("speech-view").hidden = Boolean(large);
  if (!large) {
    URL.revokeObjectURL(at("listen").src);
    at("listen").src = URL.createObjectURL(file);
    at("speech-name").textContent = `${file.name}, ${(file.size / 1e6).toFixed(2)} MB`;
  }
  update();
}

function acceptFiles(kind, take) {
  const input = at(`${kind}-file`);
  const drop = at(`${kind}-drop`);
  input.addEventListener("change", () => {
    if (input.files.length) take(input.files[0]);
    input.value = ""; // so that the same file can be chosen again
  });
  drop.addEventListener("dragover", (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}

let recorder = null;

async function toggleRecording() {
  if (recorder) {
    recorder.stop();
    return;
  }
  show("speech-message", null);
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    show("speech-message", { problem: `The microphone cannot be used: ${error.message}.`, fix: "Allow it in the browser." });
    return;
  }
  const pieces = [];
  const started = Date.now();
  recorder = new MediaRecorder(stream);
  const clock = setInterval(() => {
    const seconds = (Date.now() - started) / 1000;
    at("record-time").textContent = `${seconds.toFixed(0)} s`;
    if (seconds >= settings.max_seconds) recorder.stop();
  }, 250);
  recorder.addEventListener("dataavailable", (event) => pieces.push(event.data));
  recorder.addEventListener("stop", () => {
    clearInterval(clock);
    stream.getTracks().forEach((track) => track.stop());
    const type = recorder.mimeType.split(";")[0];
    recorder = null;
    at("record").textContent = "● Record";
    at("record").classList.remove("on");
    at("record-time").textContent = "";
    takeSpeech(new File(pieces, `recording.${type.split("/")[1] || "webm"}`, { type }));
  });
  recorder.start();
  at("record").textContent = "■ Stop";
  at("record").classList.add("on");
}

/** Makes a slider or a box for each option that the server has. */
function drawOptions() {
  for (const option of settings.options) {
    const label = document.createElement("label");
    label.title = option.about;
    const text = document.createElement("span");
    text.textContent = option.label;
    const input = document.createElement("input");
    input.name = option.name;
    if (option.kind === "bool") {
      input.type = "checkbox";
      input.checked = option.default;
      label.append(text, input);
    } else {
      const value = document.createElement("output");
      Object.assign(input, { type: "range", min: option.least, max: option.most, step: option.step });
      input.value = option.default;
      const write = () => (value.textContent = Number(input.value).toFixed(2));
      input.addEventListener("input", write);
      write();
      label.append(text, value, input);
    }
    at("options").append(label);
  }
}

async function makeVideo() {
  state.busy = true;
  update();
  show("render-message", null);
  at("result").hidden = true;
  at("notes").replaceChildren();
  at("progress").hidden = false;
  at("bar").removeAttribute("value");
  at("left").textContent = "Uploading";
  const form = new FormData();
  form.append("photo", state.photo);
  form.append("speech", state.speech);
  if (state.many) form.append("face", state.face);
  for (const input of at("options").querySelectorAll("input")) {
    form.append(input.name, input.type === "checkbox" ? input.checked : input.value);
  }
  try {
    let progress = await send("POST", "/render", form);
    state.render = progress.id;
    at("cancel").hidden = false;
    while (progress.status === "queued" || progress.status === "running") {
      showProgress(progress);
      await new Promise((done) => setTimeout(done, POLL));
      progress = await send("GET", `/render/${progress.id}`);
    }
    showProgress(progress);
    if (progress.status === "failed") throw progress.error;
    if (progress.status === "done") showResult(progress);
  } catch (error) {
    if (state.render !== "cancelled") show("render-message", error);
  } finally {
    state.busy = false;
    state.render = null;
    at("cancel").hidden = at("progress").hidden = true;
    update();
  }
}

function showProgress(progress) {
  const bar = at("bar");
  if (progress.total) bar.value = progress.frames / progress.total;
  let text = "Reading the photo and the recording";
  if (progress.status === "queued") text = `Waiting: ${progress.before} before this one`;
  if (progress.total) text = `${progress.frames} of ${progress.total} frames`;
  if (progress.seconds_left !== null && progress.total) text += `, ${duration(progress.seconds_left)} left`;
  at("left").textContent = text;
  at("notes").replaceChildren(
    ...progress.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })),
  );
}

function duration(seconds) {
  const whole = Math.ceil(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

function showResult(progress) {
  at("video").src = progress.video;
  at("download").href = progress.video;
  at("download").download = progress.video_name;
  at("kept").textContent = `${progress.video_name}; the server deletes it after ${settings.keep_minutes} minutes.`;
  at("result").hidden = false;
  at("video").play().catch(() => {}); // the browser may want a click first
}

async function cancel() {
  const id = state.render;
  state.render = "cancelled";
  await send("DELETE", `/render/${id}`).catch(() => {});
}

async function begin() {
  try {
    settings = await send("GET", "/settings");
  } catch (error) {
    show("render-message", error);
    return;
  }
  drawOptions();
  acceptFiles("photo", takePhoto);
  acceptFiles("speech", takeSpeech);
  at("record").disabled = !navigator.mediaDevices || typeof MediaRecorder === "undefined";
  at("record").addEventListener("click", toggleRecording);
  at("render").addEventListener("click", makeVideo);
  at("cancel").addEventListener("click", cancel);
}

begin();
