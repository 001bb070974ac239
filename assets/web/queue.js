// The queue: one mask after the other, by keys.

import { api, askAnything, askWord, classButtons, classOf, counts, fill, find, headNames, inWords, keyOf, keys, onTrained, page, parameters, promote, query, remember, save, saving, takeBack, telling, tellFirst, toast, train } from "./common.js";
import { bitmap, cleared, paintMask, paintPhoto, rgb, windowOf } from "./masks.js";

/** Masks whose details are asked for at once, and photos that are loaded ahead. */
const DETAILS = 24;
const AHEAD = 8;
/** How much of the canvas a mask fills, at each step of `z`; the first is the whole photo. */
const SHARES = [0, 0.5, 0.85];
const KINDS = [
  ["uncertain", "uncertain: the head is least sure"], ["unlabelled", "unlabelled: any, in random order"],
  ["threshold", "near the threshold"], ["disagreement", "members of the head disagree"],
  ["dropout", "passes with dropout disagree"], ["image-label-errors", "likely errors of image labels"],
  ["mask-label-errors", "likely errors of mask labels"], ["centres", "unlike what was seen"], ["random", "random"],
  ["sql", "a SELECT of your own"],
];

const form = find("#tools");
const canvas = find("#photo");
/** @type {any} */
let queue = { masks: [], classes: [], kind: "" };
let at = 0;
let share = 1;
let shownAt = performance.now();
/** What can be undone, the newest last. @type {{at: number, mask: any, ids: Promise<string[]>}[]} */
let done = [];
/** Places whose answers could not be saved. */
let failed = /** @type {number[]} */ ([]);
/** Details of masks by place in the queue, their photos, and what was said of them. */
const details = new Map();
const photos = new Map();
const said = new Map();
let asked = new Set();

const current = () => details.get(at);

/** Asks for details of the next masks. */
async function ahead() {
  const places = [];
  for (let place = at; place < Math.min(at + 2 * DETAILS, queue.masks.length); place += 1) {
    if (!asked.has(place)) places.push(place);
  }
  if (places.length && (places.length >= DETAILS || !details.has(at + AHEAD) || places[0] === at)) {
    const some = places.slice(0, DETAILS);
    const of = queue;
    some.forEach((place) => asked.add(place));
    const found = await telling(() => api("/api/masks", { masks: some.map((place) => keyOf(queue.masks[place])), head: queue.head }));
    if (of !== queue) return;
    if (found) some.forEach((place, n) => details.set(place, found[n] ?? { ...queue.masks[place], isGone: true, best: [], file_name: "" }));
    else some.forEach((place) => asked.delete(place));
    if (found && some.includes(at)) show();
  }
  for (let place = at; place < Math.min(at + AHEAD, queue.masks.length); place += 1) {
    const mask = details.get(place);
    if (!mask || mask.isGone) continue;
    picture(mask);
    if (place < at + 3) new Image().src = crop(mask);
  }
  // A bitmap is needed only while its mask is near.
  for (const [place, mask] of details) if (Math.abs(place - at) > 2 * DETAILS) delete mask.inside;
}

const crop = (/** @type {any} */ mask) => `/crops/${mask.extractor_id}/${mask.image_id}/${mask.mask_index}?side=320`;

/** The photo of a mask, which begins to load. @param {any} mask @returns {any} */
function picture(mask) {
  const of = `${mask.image_id} ${mask.extractor_id}`;
  let found = photos.get(of);
  if (!found) {
    found = new Image();
    found.src = `/photos/${mask.image_id}?${query({ side: 1280, extractor: mask.extractor_id })}`;
    photos.set(of, found);
    if (photos.size > 60) photos.delete(photos.keys().next().value);
  }
  return found;
}

function paint() {
  const mask = current();
  const context = cleared(canvas);
  delete canvas.dataset.shown;
  if (!mask || mask.isGone) return;
  const photo = picture(mask);
  if (!photo.complete) {
    photo.onload = () => { if (current() === mask) paint(); };
    photo.onerror = () => toast(`the photo '${mask.file_name}' cannot be read`);
    return;
  }
  if (!photo.naturalWidth) return;
  const size = { width: mask.rle.width, height: mask.rle.height };
  mask.inside ||= bitmap(mask.rle);
  const part = windowOf(size, mask.bbox, SHARES[share], canvas.width / canvas.height);
  paintPhoto(context, photo, size, part);
  paintMask(context, mask.inside, part, { dim: 150, line: rgb("#ffd400") });
  canvas.dataset.shown = String(at);
}

function show() {
  const mask = current();
  const left = queue.masks.length - at;
  find("#why").textContent = mask?.isGone ? "this mask is no longer in the store: go on with s" : mask ? `${mask.file_name} · mask ${mask.mask_index} · ${queue.masks[at].why}` : left > 0 ? "loading…" : "";
  const alone = find("#crop");
  // The mask before must not stand beside this one until its own crop is there.
  alone.style.visibility = "hidden";
  alone.onload = () => { alone.style.visibility = "visible"; };
  if (mask && !mask.isGone) alone.src = crop(mask);
  if (!left) {
    find("#why").textContent = queue.masks.length ? "That was the last one. Show the queue again, train, or choose another." : "Nothing is in this queue.";
  }
  classes();
  paint();
  shownAt = performance.now();
  saving.changed();
}

const shownParameters = () => ({ kind: form.kind.value, head: form.head.value, where: form.where.value, sql: form.kind.value === "sql" ? form.sql.value : undefined, extractor: parameters().extractor });

/** What Enter says: the head's first class, or the one the queue has. */
const first = () => {
  const mask = current();
  const name = mask?.best[0]?.class ?? queue.masks[at]?.class;
  return queue.classes.find((/** @type {any} */ item) => item.name === name);
};

function classes() {
  const mask = current();
  const answer = mask && !mask.isGone && (said.get(at) ?? mask.said);
  classButtons(queue.classes, { best: mask?.best, said: answer || null, first: first(), say });
  if (answer) find("#why").textContent += ` · labelled: ${inWords(answer)}`;
}

/** @param {any} item */
async function say(item) {
  const of = { queue, at };
  const word = item && await askWord(item);
  if (word) answer({ verdict: "is", label: word }, of);
}

/**
 * Saves an answer and goes on.
 * @param {{verdict: string, label?: string}} given
 * @param {{queue: any, at: number}} of the mask that was asked about
 */
function answer(given, of = { queue, at }) {
  const mask = current();
  // Nobody can know what a mask is that is not painted yet, and no answer goes to another mask than was shown.
  if (!mask || page.readOnly || failed.length || canvas.dataset.shown !== String(at) || of.queue !== queue || of.at !== at) return;
  const seconds = Math.min((performance.now() - shownAt) / 1000, 600);
  const place = at;
  const before = said.get(place);
  const ids = save([{ ...keyOf(mask), ...given, queue: queue.kind, head_id: queue.head_id ?? undefined, seconds }]);
  const entry = { at: place, mask, ids };
  done.push(entry);
  said.set(place, given);
  ids.catch((error) => {
    done = done.filter((other) => other !== entry);
    if (before) said.set(place, before);
    else said.delete(place);
    if (of.queue === queue) failing(place, error);
    else toast(`not saved: ${error.message}`);
  });
  go(place + 1);
}

/** Goes back to the first mask whose answer was not saved; until that is read, no key labels. */
async function failing(/** @type {number} */ place, /** @type {any} */ error) {
  failed.push(place);
  if (failed.length > 1) return;
  await tellFirst(`Not saved: ${error.message}`);
  const first = Math.min(...failed);
  failed = [];
  go(first);
}

/** Takes the last answer back: what was said before counts again. */
async function undo() {
  const last = done.pop();
  if (!last) return;
  go(last.at);
  try {
    const [counting] = await takeBack(last.ids, [last.mask]);
    if (counting) said.set(last.at, counting);
    else said.delete(last.at);
    last.mask.said = counting;
    if (at === last.at) show();
  } catch (error) {
    done.push(last);
    toast(`not taken back: ${error instanceof Error ? error.message : error}`);
  }
}

/** @param {number} place */
function go(place) {
  at = Math.max(0, Math.min(place, queue.masks.length));
  show();
  ahead();
}

async function load() {
  find("#why").textContent = "loading…";
  const found = await telling(() => api(`/api/queue?${query(shownParameters())}`));
  if (!found) { find("#why").textContent = ""; return; }
  queue = found;
  form.kind.value = queue.kind;
  details.clear();
  said.clear();
  done = [];
  failed = [];
  remember(shownParameters());
  asked = new Set();
  go(0);
}

function toggle() {
  const own = form.kind.value === "sql";
  find(".own").hidden = !own;
  find(".images").hidden = own;
}

async function begin() {
  const given = parameters();
  const listed = await telling(() => api("/api/heads"));
  const names = headNames(listed?.heads ?? []);
  fill(form.head, names.length ? names : [["", "none yet"]], given.head || page.head);
  fill(form.kind, /** @type {any} */ (KINDS), given.kind || (names.length ? "uncertain" : "unlabelled"));
  form.where.value = given.where || "";
  form.sql.value = given.sql || "";
  toggle();
  counts(() => [`${Math.max(queue.masks.length - at, 0).toLocaleString("en")} left in the queue`]);
  await load();
}

form.addEventListener("submit", (/** @type {Event} */ event) => { event.preventDefault(); document.activeElement instanceof HTMLElement && document.activeElement.blur(); load(); });
form.kind.addEventListener("change", () => { toggle(); if (form.kind.value !== "sql") load(); });
form.head.addEventListener("change", () => load());
find("#none").addEventListener("click", () => answer({ verdict: "is" }));
find("#bad").addEventListener("click", () => answer({ verdict: "bad mask" }));
find("#skip").addEventListener("click", () => go(at + 1));
find("#undo").addEventListener("click", undo);
find("#train").addEventListener("click", () => telling(() => train({ head: queue.head ?? undefined })));
window.addEventListener("resize", paint);
onTrained((job) => {
  promote(form.head, job.head);
  if (form.kind.value === "unlabelled") form.kind.value = "uncertain";
  load();
});

keys({
  Enter: () => say(first()),
  digit: (event) => say(queue.classes[Number(event.key) - 1]),
  "/": async () => {
    const of = { queue, at };
    const word = await askAnything(queue.classes);
    if (!word) return;
    if (!classOf(queue.classes, word)) toast(`'${word}' is in no class of ${queue.class_set ?? "the store"} yet: add it in Classes to train on it`, true);
    answer({ verdict: "is", label: word }, of);
  },
  x: () => answer({ verdict: "is" }),
  b: () => answer({ verdict: "bad mask" }),
  s: () => go(at + 1),
  u: undo,
  ArrowLeft: () => go(at - 1),
  ArrowRight: () => go(at + 1),
  f: () => { share = share === 0 ? 1 : 0; paint(); },
  z: () => { share = share === 2 ? 1 : 2; paint(); },
  t: () => find("#train").click(),
  o: () => { const mask = current(); if (mask) location.href = `/image?${query({ image: mask.image_id, extractor: mask.extractor_id, mask: mask.mask_index, head: queue.head })}`; },
  l: () => { const mask = current(); if (mask) location.href = `/grid?${query({ image: mask.image_id, extractor: mask.extractor_id, mask: mask.mask_index, head: queue.head, class: first()?.name })}`; },
});

begin();
