"use strict";
// The page of the server: one request at a time; a newer one ends an older one.
const $ = (id) => document.getElementById(id);
let models = [], model = null, current = null, token = "", timer = 0;
const kept = new Map(); // Pixels to keep, by place.
let cursor = 0, painting = false, code = [0, 0];

const quote = (text) => "'" + text.replaceAll("'", "'\\''") + "'";
const can = (what) => model.can.includes(what);
const isAutoencoder = () => model.role === "autoencoder";
const isImage = () => model.kind === "image";

function headers(accept) {
  const all = { "Content-Type": "application/json", "Accept": accept };
  if (token) all.Authorization = "Bearer " + token;
  return all;
}

async function ask(path, body, accept, signal) {
  const given = { method: body ? "POST" : "GET", headers: headers(accept), signal };
  if (body) given.body = JSON.stringify(body);
  const answer = await fetch(path, given);
  if (answer.ok) return answer;
  if (answer.status === 401) $("token-dialog").showModal();
  const text = await answer.text();
  let message = text;
  try { message = JSON.parse(text).error; } catch { /* It is the message itself. */ }
  throw new Error(message || "status " + answer.status);
}

function say(text, wrong) {
  $("status").textContent = text;
  $("status").classList.toggle("wrong", Boolean(wrong));
}

function labels() {
  return [...document.querySelectorAll("#labels input:checked")].map((box) => Number(box.value));
}

// The request that the controls describe.
function request() {
  const body = { model: model.name, count: Number($("count").value) || 1, seed: Number($("seed").value) || 0 };
  const temperature = Number($("temperature").value);
  if (temperature !== 1) body.temperature = temperature;
  if (model.evaluations) body.nfe = Number($("nfe").value);
  if (isAutoencoder()) return body;
  if ($("draw").checked) body.draw = true;
  const guidance = Number($("guidance").value), chosen = labels();
  if (chosen.length) {
    body.labels = chosen;
    if (guidance !== 1) body.guidance = guidance;
  }
  const constraints = {};
  if (isImage() && kept.size > 100) {
    constraints.keep = Array.from({ length: model.sites }, (_, site) => kept.has(site) ? kept.get(site) : null);
  } else if (isImage() && kept.size) {
    constraints.require = [...kept].map(([site, value]) => site + ":" + value);
  }
  if (model.kind === "text" && $("infill").value) constraints.infill = $("infill").value;
  if (model.kind === "molecule") {
    if ($("fix").value) constraints.fix = $("fix").value;
    if ($("nodes").value) body.nodes = Number($("nodes").value);
    if ($("correct").checked) body.correct = true;
  }
  if (Object.keys(constraints).length) body.constraints = constraints;
  return body;
}

function commandLine(body, reward) {
  const parts = ["pushforward", reward ? "steer" : "sample", body.model, "-n", body.count, "--seed", body.seed];
  if (body.nfe) parts.push("--nfe", body.nfe);
  if (reward) parts.push("--reward", quote(reward));
  if (body.temperature) parts.push("--temperature", body.temperature);
  if (body.draw) parts.push("--draw");
  if (body.correct) parts.push("--correct");
  if (body.labels) parts.push("--label", body.labels.join(","));
  if (body.guidance) parts.push("--guidance", body.guidance);
  if (body.nodes) parts.push("--nodes", body.nodes);
  const wanted = body.constraints || {};
  if (wanted.infill) parts.push("--infill", quote(wanted.infill));
  if (wanted.fix) parts.push("--fix", quote(wanted.fix));
  for (const [site, value] of kept) if (wanted.keep || wanted.require) parts.push("--require", site + ":" + value);
  return parts.join(" ");
}

function show(path, body, reward) {
  const secret = token ? " -H 'Authorization: Bearer TOKEN'" : "";
  $("curl").textContent = "curl -H 'Content-Type: application/json'" + secret + " -d " + quote(JSON.stringify(body)) + " " + location.origin + path;
  $("command").textContent = commandLine(body, reward);
}

// One item of a list.
function item(value, number) {
  const li = document.createElement("li");
  const levels = value.pixels || value.ids;
  if (isImage()) {
    const [height, width] = model.size, canvas = document.createElement("canvas");
    canvas.width = width; canvas.height = height;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "sample " + number + (value.label === undefined ? "" : ", label " + value.label));
    const picture = canvas.getContext("2d").createImageData(width, height), area = height * width;
    const top = value.pixels ? 255 : Math.max(model.classes - 1, 1), channels = levels.length / area;
    for (let site = 0; site < area; site++) {
      for (let c = 0; c < 3; c++) picture.data[4 * site + c] = Math.round(255 * levels[(channels === 3 ? c * area : 0) + site] / top);
      picture.data[4 * site + 3] = 255;
    }
    canvas.getContext("2d").putImageData(picture, 0, 0);
    li.append(canvas);
  } else {
    const { ids, index, nfe, label, reward, text, smiles, verdict, ...rest } = value;
    li.textContent = text !== undefined ? text : verdict !== undefined ? (smiles || "(" + verdict + ")") : Object.keys(rest).length ? JSON.stringify(rest) : ids.join(" ");
  }
  if (value.reward !== undefined) {
    const under = document.createElement("span");
    under.className = "under";
    under.textContent = "reward " + (value.reward === null ? "none" : value.reward.toFixed(2));
    li.append(under);
  }
  return li;
}

function list(place, values) {
  $(place).classList.toggle("lines", !isImage());
  $(place).replaceChildren(...values.map((value, i) => item(value, i)));
}

// Server-sent events of an answer.
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    rest += value;
    const parts = rest.split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const name = /^event: (.*)$/m.exec(part), data = /^data: (.*)$/m.exec(part);
      if (name && data) yield [name[1], JSON.parse(data[1])];
    }
  }
}

async function run(work) {
  if (current) current.abort();
  const mine = new AbortController();
  current = mine;
  try {
    await work(mine.signal);
  } catch (error) {
    if (error.name !== "AbortError") say(error.message, true);
  } finally {
    if (current === mine) current = null;
    document.body.dataset.idle = current ? "" : "yes";
  }
}

function sample() {
  if (!model || !can("sample")) return;
  document.body.dataset.idle = "";
  run(async (signal) => {
    const body = request(), start = performance.now();
    show("/v1/sample", body);
    $("before-part").hidden = true;
    say("drawing");
    const found = [];
    for await (const [name, data] of events(await ask("/v1/sample", body, "text/event-stream", signal))) {
      if (name === "error") throw new Error(data.error);
      if (data.items) found.push(...data.items);
      if (data.images) found.push(...data.images.map((pixels) => ({ pixels })));
      if (name === "items") {
        list("samples", found);
        say(found.length + " of " + body.count);
      }
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(2);
    let valid = "";
    if (model.kind === "molecule") {
      valid = ", " + found.filter((value) => value.verdict === "valid").length + " valid molecules";
      if (found.some((value) => value.verdict === "valid")) {
        const answer = await ask("/v1/sample", body, "image/svg+xml", signal);
        const picture = document.createElement("img"), li = document.createElement("li");
        picture.alt = "drawings of the valid molecules: " + found.filter((v) => v.verdict === "valid").map((v) => v.smiles).join(", ");
        picture.src = URL.createObjectURL(await answer.blob());
        picture.addEventListener("load", () => URL.revokeObjectURL(picture.src));
        li.className = "wide";
        li.append(picture);
        $("samples").prepend(li);
      }
    }
    say(found.length + " items in " + seconds + " s" + valid);
  });
}

function soon() {
  clearTimeout(timer);
  document.body.dataset.idle = "";
  timer = setTimeout(sample, 120);
}

function steer() {
  clearTimeout(timer);
  document.body.dataset.idle = "";
  run(async (signal) => {
    const plain = request(), reward = $("reward").value;
    const body = { model: plain.model, reward, count: Math.min(plain.count, 8), seed: plain.seed, nfe: Math.max(plain.nfe, 4) };
    for (const key of ["temperature", "labels", "correct", "constraints"]) if (plain[key] !== undefined) body[key] = plain[key];
    if (body.labels) body.labels = body.labels.slice(0, 1); // Steered samples take one label.
    show("/v1/steer", body, reward);
    say("steering");
    for await (const [name, data] of events(await ask("/v1/steer", body, "text/event-stream", signal))) {
      if (name === "error") throw new Error(data.error);
      if (name === "progress") say("steering: " + data.done + " of " + body.count);
      if (name === "result") {
        list("samples", data.items);
        list("before", data.before);
        $("before-part").hidden = false;
        const mean = (values) => (values.reduce((sum, v) => sum + (v.reward ?? 0), 0) / values.length).toFixed(2);
        say("mean reward " + mean(data.before) + " before, " + mean(data.items) + " after");
      }
    }
  });
}

function drawPaint() {
  const canvas = $("paint"), [height, width] = model.size, context = canvas.getContext("2d");
  canvas.width = width; canvas.height = height;
  context.fillStyle = "#8a939c";
  context.fillRect(0, 0, width, height);
  for (const [site, value] of kept) {
    const level = Math.round(255 * value / Math.max(model.classes - 1, 1));
    context.fillStyle = "rgb(" + level + "," + level + "," + level + ")";
    context.fillRect(site % width, Math.floor(site / width), 1, 1);
  }
  if (document.activeElement === canvas) {
    context.fillStyle = "#d9480f";
    context.globalAlpha = 0.6;
    context.fillRect(cursor % width, Math.floor(cursor / width), 1, 1);
    context.globalAlpha = 1;
  }
}

function put(site, brush) {
  if (brush === "x") kept.delete(site); else kept.set(site, brush === "1" ? model.classes - 1 : 0);
  drawPaint();
  soon();
}

const brush = () => document.querySelector("input[name=brush]:checked").value;

function place(event) {
  const box = $("paint").getBoundingClientRect(), [height, width] = model.size;
  const x = Math.floor((event.clientX - box.left) / box.width * width), y = Math.floor((event.clientY - box.top) / box.height * height);
  return x >= 0 && y >= 0 && x < width && y < height ? y * width + x : null;
}

function tellPlace() {
  const width = model.size[1], state = kept.has(cursor) ? (kept.get(cursor) ? "white" : "black") : "free";
  $("paint-place").textContent = "row " + (Math.floor(cursor / width) + 1) + ", column " + (cursor % width + 1) + ": " + state;
}

function drawPlane() {
  const canvas = $("plane"), context = canvas.getContext("2d");
  context.clearRect(0, 0, 200, 200);
  context.strokeStyle = "#8a939c";
  context.strokeRect(100, 0, 0, 200);
  context.strokeRect(0, 100, 200, 0);
  context.fillStyle = "#d9480f";
  context.beginPath();
  context.arc(100 + code[0] * 33, 100 - code[1] * 33, 6, 0, 7);
  context.fill();
  $("plane-place").textContent = code.map((value) => value.toFixed(2)).join(", ");
}

function decode() {
  clearTimeout(timer);
  document.body.dataset.idle = "";
  run(async (signal) => {
    drawPlane();
    const full = Array.from({ length: model.latent }, (_, i) => code[i] ?? 0);
    const body = { model: model.name, codes: [full], base: true };
    show("/v1/decode", body);
    const answer = await (await ask("/v1/decode", body, "application/json", signal)).json();
    list("samples", answer.items || answer.images.map((pixels) => ({ pixels })));
    say("what the code stands for: " + code.map((value) => value.toFixed(2)).join(", "));
  });
}

function choose(name) {
  model = models.find((one) => one.name === name);
  kept.clear();
  cursor = 0;
  $("about").textContent = model.description;
  const maps = !isAutoencoder();
  document.querySelectorAll(".for-maps").forEach((part) => { part.hidden = !maps; });
  $("nfe").disabled = !model.evaluations;
  $("labels-field").hidden = !model.labels.length;
  $("labels").replaceChildren(...model.labels.map((label, i) => {
    const span = document.createElement("span"), box = document.createElement("input"), text = document.createElement("label");
    box.type = "checkbox"; box.id = "label-" + i; box.value = i;
    text.htmlFor = box.id; text.textContent = label;
    span.append(box, " ", text);
    return span;
  }));
  $("paint-field").hidden = !(maps && isImage());
  $("told").textContent = model.told ? "This model was trained to be told any pixels." : "This model was not trained to be told pixels: with few evaluations the rest hardly depends on them.";
  $("text-field").hidden = model.kind !== "text";
  $("infill").value = "";
  $("infill").maxLength = model.sites;
  $("infill").placeholder = "_".repeat(Math.min(model.sites, 24));
  $("molecule-field").hidden = model.kind !== "molecule";
  $("steer-field").hidden = !can("steer");
  $("reward").value = { image: "40*symmetric", text: "8*site(0, 1)", molecule: "4*qed" }[model.kind] || "4*site(0, 1)";
  $("plane-field").hidden = !(model.latent >= 2);
  if (model.latent >= 2) drawPlane();
  if (maps && isImage()) drawPaint();
}

// Controls that an address can set: #model=glyphs&nfe=4&labels=3,7
function fromAddress() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  if (models.some((one) => one.name === wanted.get("model"))) $("model").value = wanted.get("model");
  choose($("model").value);
  for (const name of ["nfe", "count", "seed", "temperature", "guidance", "infill", "fix", "nodes", "reward"]) {
    if (!wanted.has(name)) continue;
    $(name).value = wanted.get(name);
    if ($(name + "-value")) $(name + "-value").value = $(name).value;
  }
  for (const name of ["draw", "correct"]) $(name).checked = wanted.has(name);
  for (const label of (wanted.get("labels") || "").split(",")) {
    const box = $("label-" + label);
    if (box) box.checked = true;
  }
  for (const part of (wanted.get("keep") || "").split(",").filter(Boolean)) {
    const [site, value] = part.split(":").map(Number);
    if (site < model.sites && value < model.classes) kept.set(site, value);
  }
  if (model.kind === "image" && !isAutoencoder()) drawPaint();
  if (wanted.has("steer") && can("steer")) steer(); else sample();
}

async function start() {
  try {
    models = (await (await ask("/v1/models", null, "application/json")).json()).models;
    $("model").replaceChildren(...models.map((one) => new Option(one.name, one.name)));
    fromAddress();
  } catch (error) {
    say(error.message, true);
  }
}

for (const name of ["nfe", "temperature", "guidance"]) {
  $(name).addEventListener("input", () => { $(name + "-value").value = $(name).value; soon(); });
}
for (const name of ["count", "seed", "infill", "fix", "nodes"]) $(name).addEventListener("input", soon);
for (const name of ["draw", "correct"]) $(name).addEventListener("change", soon);
$("labels").addEventListener("change", soon);
$("model").addEventListener("change", () => { choose($("model").value); sample(); });
window.addEventListener("hashchange", fromAddress);
$("fresh").addEventListener("click", () => { $("seed").value = Math.floor(Math.random() * 1e9); soon(); });
$("clear").addEventListener("click", () => { kept.clear(); drawPaint(); soon(); });
$("steer").addEventListener("click", steer);
$("controls").addEventListener("submit", (event) => event.preventDefault());
$("paint").addEventListener("pointerdown", (event) => {
  painting = true;
  $("paint").setPointerCapture(event.pointerId);
  const site = place(event);
  if (site !== null) put(site, brush());
});
$("paint").addEventListener("pointermove", (event) => {
  const site = painting ? place(event) : null;
  if (site !== null) put(site, brush());
});
for (const name of ["pointerup", "pointercancel"]) $("paint").addEventListener(name, () => { painting = false; });
for (const name of ["focus", "blur"]) $("paint").addEventListener(name, () => model && drawPaint());
$("paint").addEventListener("keydown", (event) => {
  const [height, width] = model.size, moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -width, ArrowDown: width };
  if (moves[event.key]) cursor = (cursor + moves[event.key] + height * width) % (height * width);
  else if (event.key === " ") put(cursor, brush());
  else if (event.key === "Delete" || event.key === "Backspace") put(cursor, "x");
  else return;
  event.preventDefault();
  drawPaint();
  tellPlace();
});
function walk(x, y) {
  code = [x, y].map((value) => Math.max(-3, Math.min(3, value)));
  decode();
}
$("plane").addEventListener("pointermove", (event) => {
  const box = $("plane").getBoundingClientRect();
  if (event.buttons || event.pointerType === "mouse") {
    walk(6 * (event.clientX - box.left) / box.width - 3, 3 - 6 * (event.clientY - box.top) / box.height);
  }
});
$("plane").addEventListener("keydown", (event) => {
  const moves = { ArrowLeft: [-0.2, 0], ArrowRight: [0.2, 0], ArrowUp: [0, 0.2], ArrowDown: [0, -0.2] };
  if (!moves[event.key]) return;
  event.preventDefault();
  walk(code[0] + moves[event.key][0], code[1] + moves[event.key][1]);
});
for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText($(button.dataset.copy).textContent);
      say("copied");
    } catch {
      say("the browser does not allow copying: select the text", true);
    }
  });
}
$("token-form").addEventListener("submit", () => { token = $("token").value; start(); });
start();
