// The grid: many alike masks, confirmed at a glance; those that are wrong are marked.

import { api, askWord, counts, element, fill, find, headNames, keyOf, keys, onTrained, page, parameters, promote, query, remember, save, saving, takeBack, telling, toast, train } from "./common.js";

const form = find("#tools");
const grid = find("#grid");
const given = parameters();
/** A mask that the others are to be like. */
const like = given.image && given.mask !== undefined ? { image: given.image, mask: given.mask, extractor: given.extractor, vectors: given.vectors } : null;
/** @type {any} */
let shown = { masks: [], classes: [] };
const marked = new Set();
/** Masks that were marked or left for later. */
const passed = new Set();
/** What can be undone. @type {{masks: any[], ids: Promise<string[]>}[]} */
const done = [];
/** Requests so far; only the answer to the last one is shown. */
let asks = 0;
/** Whether a page is asked for or saved: what is on the screen must not get an answer then. */
let isBusy = false;
const COUNT = 60;
let paints = /** @type {boolean | null} */ (null);
let began = performance.now();

const name = (/** @type {any} */ mask) => `${mask.extractor_id} ${mask.image_id} ${mask.mask_index}`;
/** The class that Enter gives: that of the page that is shown. */
const given_ = () => (like ? form.class.value : shown.asked);
const chosen = () => shown.classes.find((/** @type {any} */ item) => item.name === given_());
const areThere = () => [...grid.querySelectorAll("img")].every((picture) => picture.complete);

function mark(/** @type {number} */ place, /** @type {boolean} */ is) {
  const cell = grid.children[place];
  if (!cell || is === marked.has(place)) return;
  if (is) marked.add(place);
  else marked.delete(place);
  cell.setAttribute("aria-selected", String(is));
  told();
}

function told() {
  const free = shown.masks.length - marked.size;
  const button = find("#accept");
  button.disabled = page.readOnly || free === 0 || isBusy || !chosen() || !areThere();
  button.className = "main";
  button.replaceChildren(element("kbd", {}, "Enter"), ` ${free} ${free === 1 ? "is" : "are"} ${given_() || "…"}`);
  saving.changed();
}

function draw() {
  marked.clear();
  grid.replaceChildren(...shown.masks.map((/** @type {any} */ mask, /** @type {number} */ place) => {
    const crop = `/crops/${mask.extractor_id}/${mask.image_id}/${mask.mask_index}?side=160`;
    const cell = element("div", { role: "option", tabindex: "0", "aria-selected": "false", "data-place": place },
      element("img", { src: crop, alt: `mask ${mask.mask_index}`, draggable: "false", onload: told, onerror: told }), element("span", {}, mask.score.toFixed(3)));
    return cell;
  }));
  if (!shown.masks.length) grid.replaceChildren(element("div", { class: "empty" }, like ? "No other mask is like it."
    : isByLabels() ? "No mask of this class is labelled yet, or none is like them." : "No mask of this class is left."));
  began = performance.now();
  told();
}

let wanted = given.class || "";
const isByLabels = () => !like && form.by.value === "labels";
const asked = () => ({ ...(like ? { ...like, head: form.head.value } : { head: form.head.value, class: wanted, by: form.by.value, sort: isByLabels() ? undefined : form.sort.value }), count: COUNT + passed.size });

async function load() {
  asks += 1;
  const mine = asks;
  isBusy = true;
  told();
  const { count, ...shared } = asked();
  remember(like ? { ...shared, class: wanted } : shared);
  const found = await telling(() => api(`/api/grid?${query({ ...shared, count })}`));
  if (mine !== asks) return;
  isBusy = false;
  if (!found) { told(); return; }
  const names = found.classes.map((/** @type {any} */ item) => item.name);
  if (!like && !names.includes(wanted)) {
    // Another head can have other classes.
    wanted = names[0] || "";
    fill(form.class, names, wanted);
    if (wanted) await load();
    return;
  }
  found.masks = found.masks.filter((/** @type {any} */ mask) => !passed.has(name(mask))).slice(0, COUNT);
  found.asked = wanted;
  shown = found;
  form.sort.closest("label").hidden = Boolean(like) || isByLabels();
  fill(form.class, like && !names.includes(wanted) ? [["", "choose a class"], ...names] : names, wanted);
  draw();
}

/** Gives what is not marked the class; what is marked stays in the queue. */
async function accept() {
  const of = chosen();
  if (!of || page.readOnly || isBusy || !areThere()) return;
  const [right, wrong] = [true, false].map((is) => shown.masks.filter((/** @type {any} */ _, /** @type {number} */ place) => marked.has(place) !== is));
  const word = await askWord(of);
  if (!word || !right.length || isBusy) return;
  isBusy = true;
  told();
  const seconds = (performance.now() - began) / 1000 / shown.masks.length;
  const queue = like || isByLabels() ? "grid alike" : "grid class";
  const head_id = like || isByLabels() ? undefined : shown.head_id ?? undefined;
  const ids = save(right.map((/** @type {any} */ mask) => ({ ...keyOf(mask), verdict: "is", label: word, score: mask.score, proof: mask.proof ?? undefined, queue, head_id, seconds })));
  try {
    await ids;
  } catch (error) {
    isBusy = false;
    told();
    toast(`not saved: ${error instanceof Error ? error.message : error}`);
    return;
  }
  done.push({ masks: right, ids });
  wrong.forEach((/** @type {any} */ mask) => passed.add(name(mask)));
  if (wrong.length) toast(`${wrong.length} marked: they stay in the queue`, true);
  await load();
}

async function undo() {
  const last = done.pop();
  if (!last) return;
  try {
    await takeBack(last.ids, last.masks);
  } catch (error) {
    done.push(last);
    toast(`not taken back: ${error instanceof Error ? error.message : error}`);
    return;
  }
  await load();
}

const placeOf = (/** @type {Event} */ event) => {
  const cell = event.target instanceof Element ? event.target.closest("[data-place]") : null;
  return cell instanceof HTMLElement ? Number(cell.dataset.place) : null;
};
grid.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => {
  const place = placeOf(event);
  if (place === null) return;
  paints = !marked.has(place);
  if (event.target instanceof Element) event.target.releasePointerCapture?.(event.pointerId);
  mark(place, paints);
});
grid.addEventListener("pointerover", (/** @type {PointerEvent} */ event) => {
  const place = placeOf(event);
  if (paints !== null && event.buttons && place !== null) mark(place, paints);
});
window.addEventListener("pointerup", () => { paints = null; });
grid.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
  const place = placeOf(event);
  if (place === null) return;
  const columns = getComputedStyle(grid).gridTemplateColumns.split(" ").length;
  const steps = /** @type {Record<string, number>} */ ({ ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns });
  if (event.key === " ") mark(place, !marked.has(place));
  else if (event.key in steps) grid.children[place + steps[event.key]]?.focus();
  else return;
  event.preventDefault();
});

async function begin() {
  const listed = await telling(() => api("/api/heads"));
  const names = headNames(listed?.heads ?? []);
  fill(form.head, names.length ? names : [["", "none yet"]], given.head || page.head);
  if (given.sort) form.sort.value = given.sort;
  if (given.by) form.by.value = given.by;
  if (like) {
    form.by.closest("label").hidden = true;
    find("#like").textContent = `like mask ${like.mask} of ${like.image}`;
  }
  counts(() => [`${marked.size} marked`]);
  await load();
}

form.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
form.head.addEventListener("change", () => { passed.clear(); wanted = ""; load(); });
form.sort.addEventListener("change", load);
form.by.addEventListener("change", load);
form.class.addEventListener("change", () => { wanted = form.class.value; if (like) told(); else load(); });
find("#accept").addEventListener("click", accept);
find("#more").addEventListener("click", () => { shown.masks.forEach((/** @type {any} */ mask) => passed.add(name(mask))); load(); });
find("#undo").addEventListener("click", undo);
find("#train").addEventListener("click", () => telling(() => train({ head: shown.head ?? undefined })));
onTrained((job) => { promote(form.head, job.head); passed.clear(); load(); });
keys({ Enter: accept, u: undo, t: () => find("#train").click() });

begin();
