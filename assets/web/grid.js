// The grid: many alike masks, confirmed at a glance; those that are wrong are marked.

import { api, choose, counts, element, fill, find, headNames, keyOf, keys, onTrained, page, parameters, query, remember, save, saving, telling, toast, train, wordOf } from "./common.js";

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
/** @type {{masks: any[]}[]} */
const done = [];
let paints = /** @type {boolean | null} */ (null);
let began = performance.now();

const name = (/** @type {any} */ mask) => `${mask.extractor_id} ${mask.image_id} ${mask.mask_index}`;
const chosen = () => shown.classes.find((/** @type {any} */ item) => item.name === form.class.value);

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
  button.disabled = page.readOnly || free === 0;
  button.className = "main";
  button.replaceChildren(element("kbd", {}, "Enter"), ` ${free} ${free === 1 ? "is" : "are"} ${form.class.value || "…"}`);
  saving.changed();
}

function draw() {
  marked.clear();
  grid.replaceChildren(...shown.masks.map((/** @type {any} */ mask, /** @type {number} */ place) => {
    const crop = `/crops/${mask.extractor_id}/${mask.image_id}/${mask.mask_index}?side=160`;
    const cell = element("div", { role: "option", tabindex: "0", "aria-selected": "false", "data-place": place },
      element("img", { src: crop, alt: `mask ${mask.mask_index}`, draggable: "false" }), element("span", {}, mask.score.toFixed(3)));
    return cell;
  }));
  if (!shown.masks.length) grid.replaceChildren(element("div", { class: "empty" }, like ? "No other mask is like it." : "No mask of this class is left."));
  began = performance.now();
  told();
}

const asked = () => like ? { ...like, head: form.head.value } : { head: form.head.value, class: form.class.value || given.class, sort: form.sort.value };

async function load() {
  remember(like ? { ...asked(), class: form.class.value } : asked());
  const found = await telling(() => api(`/api/grid?${query(asked())}`));
  if (!found) return;
  found.masks = found.masks.filter((/** @type {any} */ mask) => !passed.has(name(mask)));
  shown = found;
  const before = form.class.value || given.class || "";
  const names = found.classes.map((/** @type {any} */ item) => item.name);
  fill(form.class, names, names.includes(before) ? before : names[0]);
  if (!like && !before && form.class.value) { await load(); return; }
  draw();
}

/** Gives what is not marked the class; what is marked goes to the queue. */
async function accept() {
  const of = chosen();
  if (!of || page.readOnly) return;
  const word = wordOf(of) ?? await choose(`${of.name}: which of its words?`, of.labels, false);
  if (!word) return;
  const right = shown.masks.filter((/** @type {any} */ _, /** @type {number} */ place) => !marked.has(place));
  const wrong = shown.masks.filter((/** @type {any} */ _, /** @type {number} */ place) => marked.has(place));
  if (!right.length) return;
  const seconds = (performance.now() - began) / 1000 / shown.masks.length;
  const queue = like ? "grid alike" : "grid class";
  const head_id = like ? undefined : shown.head_id ?? undefined;
  const answers = right.map((/** @type {any} */ mask) => ({ ...keyOf(mask), verdict: "is", label: word, score: mask.score, queue, head_id, seconds }));
  wrong.forEach((/** @type {any} */ mask) => passed.add(name(mask)));
  try {
    await save(answers);
    done.push({ masks: right });
  } catch (error) {
    toast(error);
    return;
  }
  if (wrong.length) toast(`${wrong.length} marked: they stay in the queue`, true);
  await load();
}

async function undo() {
  const last = done.pop();
  if (!last) return;
  await telling(() => save(last.masks.map((mask) => ({ ...keyOf(mask), verdict: "undone" }))));
  saving.saved -= 2 * last.masks.length;
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
  if (like) {
    form.sort.closest("label").hidden = true;
    find("#like").textContent = `like mask ${like.mask} of ${like.image}`;
  }
  counts(() => [`${marked.size} marked`]);
  await load();
}

form.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
form.head.addEventListener("change", load);
form.sort.addEventListener("change", load);
form.class.addEventListener("change", () => (like ? told() : load()));
find("#accept").addEventListener("click", accept);
find("#more").addEventListener("click", () => { shown.masks.forEach((/** @type {any} */ mask) => passed.add(name(mask))); load(); });
find("#undo").addEventListener("click", undo);
find("#train").addEventListener("click", () => telling(() => train({ head: shown.head ?? undefined })));
onTrained((job) => { fill(form.head, [job.head, ...[...form.head.options].map((option) => option.value).filter((it) => it && it !== job.head)], job.head); load(); });
keys({ Enter: accept, u: undo, t: () => find("#train").click() });

begin();
