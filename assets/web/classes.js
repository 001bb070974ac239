// Class sets: words are dragged between classes; saving makes a new version.

import { api, element, fill, find, keys, page, parameters, remember, telling, toast, train } from "./common.js";

const form = find("#tools");
const board = find("#board");
/** @type {any[]} */
let words = [];
/** @type {any[]} */
let sets = [];
/** @type {{class: string, labels: string[], supercategory?: string | null, external_id?: number | null, search?: string[]}[]} */
let classes = [];
let saved = "";
/** Name of the set that is shown. */
let shownSet = "";
/** The word that was chosen with the keyboard or a click. */
let held = /** @type {string | null} */ (null);

const given = () => JSON.stringify(classes.filter((item) => item.labels.length));

/** @param {string} label @param {number | null} to a class by its place; null for none */
function move(label, to) {
  for (const item of classes) item.labels = item.labels.filter((other) => other !== label);
  if (to !== null) classes[to].labels.push(label);
  held = null;
  draw();
}

function word(/** @type {string} */ label) {
  const found = words.find((item) => item.label === label);
  const uses = found ? [found.images && `${found.images} images`, found.objects && `${found.objects} objects`, found.masks && `${found.masks} masks`].filter(Boolean).join(", ") : "";
  return element("button", {
    type: "button", class: "word", draggable: "true", title: uses, "aria-pressed": String(held === label),
    ondragstart: (/** @type {DragEvent} */ event) => event.dataTransfer?.setData("text/plain", label),
    onclick: (/** @type {Event} */ event) => { event.stopPropagation(); held = held === label ? null : label; draw(); },
  }, label, element("span", { class: "soft" }, found ? (found.masks || found.objects || found.images) : ""));
}

function column(/** @type {string} */ title, /** @type {string[]} */ labels, /** @type {number | null} */ to) {
  const drop = (/** @type {DragEvent} */ event) => { event.preventDefault(); const label = event.dataTransfer?.getData("text/plain"); if (label) move(label, to); };
  const over = (/** @type {DragEvent} */ event) => { event.preventDefault(); made.classList.add("over"); };
  const named = to === null ? element("b", {}, title) : element("input", {
    value: title, "aria-label": "class", spellcheck: "false",
    oninput: (/** @type {Event} */ event) => { classes[to].class = /** @type {HTMLInputElement} */ (event.target).value.trim(); told(); },
  });
  const made = element("div", { class: "column", ondragover: over, ondragleave: () => made.classList.remove("over"), ondrop: drop },
    named, ...labels.map(word), held && !labels.includes(held) ? element("button", { type: "button", onclick: () => move(/** @type {string} */ (held), to) }, `put '${held}' here`) : null,
    to !== null ? element("button", { type: "button", class: "soft", onclick: () => { classes.splice(to, 1); draw(); } }, "remove the class") : null);
  return made;
}

function draw() {
  const used = new Set(classes.flatMap((item) => item.labels));
  const free = words.map((item) => item.label).filter((label) => !used.has(label));
  const add = element("div", { class: "column" }, element("button", { type: "button", onclick: () => { classes.push({ class: `class ${classes.length + 1}`, labels: [] }); draw(); } }, "+ a class"),
    free.length ? element("button", { type: "button", onclick: () => { for (const label of free) classes.push({ class: label, labels: [label] }); draw(); } }, "a class for every word that has none") : null);
  board.replaceChildren(column("in no class", free, null), ...classes.map((item, at) => column(item.class, item.labels, at)), add);
  told();
}

function told() {
  const empty = classes.filter((item) => !item.labels.length).length;
  const isNew = given() !== saved;
  find("#save").disabled = page.readOnly || !isNew || !form.set.value;
  find("#save").className = isNew ? "main" : "";
  find("#train").disabled = page.readOnly || isNew;
  find("#changes").textContent = [isNew ? "Changed; not saved yet." : "", empty ? `${empty} without words: they are left out.` : ""].filter(Boolean).join(" ");
}

function choose(/** @type {string} */ name) {
  const set = sets.find((item) => item.class_set === name);
  classes = (set?.classes ?? []).map((/** @type {any} */ item) => ({ class: item.class, labels: [...item.labels], supercategory: item.supercategory, external_id: item.external_id, search: item.search ?? [] }));
  saved = given();
  shownSet = name;
  remember({ set: name });
  draw();
}

async function load(/** @type {string} */ name = "") {
  const found = await telling(() => api("/api/classes"));
  if (!found) return;
  ({ words, sets } = found);
  const names = /** @type {[string, string][]} */ (sets.map((item) => [item.class_set, `${item.class_set} (version ${item.version})`]));
  const first = name || parameters().set || sets[0]?.class_set || "";
  fill(form.set, names.length ? names : [["", "none yet"]], first);
  choose(form.set.value);
}

form.addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
form.set.addEventListener("change", () => {
  if (given() !== saved && !window.confirm("Leave the changes to this set?")) { form.set.value = shownSet; return; }
  choose(form.set.value);
});
window.addEventListener("beforeunload", (event) => {
  if (given() !== saved) event.preventDefault();
});
find("#create").addEventListener("click", () => {
  const name = find("#name").value.trim();
  if (!name) { toast("a new set needs a name"); find("#name").focus(); return; }
  if (sets.some((item) => item.class_set === name)) { toast(`there is a set '${name}' already`); return; }
  // The new set begins as the one that is shown.
  form.set.append(element("option", { value: name }, `${name} (new)`));
  form.set.value = name;
  shownSet = name;
  saved = "";
  find("#name").value = "";
  draw();
});
find("#save").addEventListener("click", async () => {
  const name = form.set.value;
  const base = sets.find((item) => item.class_set === name)?.version;
  const added = await telling(() => api("/api/classes", { class_set: name, base, classes: classes.filter((item) => item.labels.length) }));
  if (!added) return;
  toast(`'${name}' version ${added.version}: train a head for it, and no mask is touched`, true);
  await load(name);
});
find("#train").addEventListener("click", () => telling(() => train({ classes: form.set.value, head: undefined })));
keys({ Escape: () => { held = null; draw(); }, t: () => find("#train").click() });

load();
