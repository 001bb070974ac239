// What all views share: requests, elements, keys, labels that are saved in order, undo, and training.

/** @param {string} selector @returns {any} */
export const find = (selector) => document.querySelector(selector);

export const page = {
  head: document.body.dataset.head || "",
  reviewer: document.body.dataset.reviewer || "",
  readOnly: document.body.dataset.readOnly !== undefined,
  adds: document.body.dataset.adds !== undefined,
};

/**
 * Asks the server; throws its error in words.
 * @param {string} path
 * @param {any} [body] sent as JSON; without one, the request only reads
 */
export async function api(path, body) {
  const request = body === undefined ? {} : {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(path, request);
  } catch {
    throw new Error("the server does not answer; is 'grainstore review' still running?");
  }
  if (answer.ok) return answer.json();
  const text = await answer.text();
  let words = text;
  try {
    const { error, hint } = JSON.parse(text);
    words = hint ? `${error} (${hint})` : error;
  } catch {
    // Not every answer is JSON.
  }
  throw new Error(words || answer.statusText);
}

/** @param {Record<string, any>} parameters those that are empty are left out */
export function query(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null && value !== "");
  return new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
}

/** @returns {Record<string, string>} the parameters of the page's address */
export const parameters = () => Object.fromEntries(new URLSearchParams(location.search));

/** Keeps what is shown in the address, so that it can be shared and reopened. @param {Record<string, any>} now */
export function remember(now) {
  const text = query(now);
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}

/**
 * @param {string} tag
 * @param {Record<string, any>} attributes `onclick` and the like are functions
 * @param {...(Node | string | number | null | undefined)} children
 * @returns {any}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "own") made.style.setProperty("--own", value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child !== null && child !== undefined) made.append(typeof child === "number" ? String(child) : child);
  }
  return made;
}

/** @param {unknown} error @param {boolean} isNews whether it is no error */
export function toast(error, isNews = false) {
  const text = error instanceof Error ? error.message : String(error);
  const made = element("div", { class: isNews ? "toast told" : "toast" }, text);
  find("#toasts").append(made);
  setTimeout(() => made.remove(), isNews ? 6000 : 12000);
}

/** Runs something and tells its error. @param {() => Promise<any>} work */
export const telling = async (work) => {
  try {
    return await work();
  } catch (error) {
    toast(error);
    return undefined;
  }
};

/**
 * @param {any} select
 * @param {(string | [string, string])[]} options values, or pairs of value and text
 * @param {string} chosen
 */
export function fill(select, options, chosen) {
  const pairs = options.map((option) => (Array.isArray(option) ? option : [option, option]));
  // An address can name what no list has, such as an older head by its id.
  if (chosen && !pairs.some(([value]) => value === chosen)) pairs.unshift([chosen, chosen]);
  select.replaceChildren(...pairs.map(([value, text]) => element("option", { value, selected: value === chosen }, text)));
}

/** Names of the heads, the newest first, without parts of others. @param {{head: string}[]} heads */
export const headNames = (heads) => {
  const names = heads.map((head) => head.head).filter((name) => !/\.(teacher|student)$/.test(name));
  return [...new Set(names.reverse())];
};

// Keys

/** @type {Record<string, (event: KeyboardEvent) => void>} */
let bound = {};
let went = 0;

/** Binds keys of a view. @param {Record<string, (event: KeyboardEvent) => void>} keys */
export function keys(keys) {
  bound = { ...bound, ...keys };
}

// What was clicked gives the keys back: Enter is for the mask, not for the button that the mouse pressed last.
document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("button") : null;
  if (button && event.detail > 0 && !button.closest("dialog")) button.blur();
});
let byPointer = false;
document.addEventListener("pointerdown", () => { byPointer = true; }, true);
document.addEventListener("keydown", () => { byPointer = false; }, true);
document.addEventListener("change", (event) => {
  if (byPointer && event.target instanceof HTMLSelectElement) event.target.blur();
});

document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || find("dialog[open]")) return;
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName)) {
    if (event.key === "Escape") target.blur();
    return;
  }
  // A button that has the focus is pressed by Enter and the space bar.
  if (target.tagName === "BUTTON" && (event.key === "Enter" || event.key === " ")) return;
  if (target.tagName === "A" && event.key === "Enter") return;
  const views = { q: "queue", g: "grid", i: "image", c: "classes", h: "heads", s: "sql" };
  const goes = Date.now() - went < 800;
  went = event.key === "g" && !goes ? Date.now() : 0;
  if (goes && event.key in views) {
    location.href = `/${views[/** @type {keyof typeof views} */ (event.key)]}`;
    return;
  }
  const run = bound[event.key] || (/^[1-9]$/.test(event.key) ? bound.digit : undefined);
  if (!run) return;
  event.preventDefault();
  // A key that is held down labels once: nobody looks at thirty masks a second.
  if (!event.repeat || event.key.startsWith("Arrow")) run(event);
});

// Labels

/**
 * @typedef {{extractor_id: string, image_id: string, mask_index: number}} Mask
 * @typedef {{name: string, color: string, labels: string[]}} Class
 * @typedef {{verdict: string, label?: string | null, by?: string | null}} Said
 */

/** @param {Mask} mask */
export const keyOf = ({ extractor_id, image_id, mask_index }) => ({ extractor_id, image_id, mask_index });

/** Labels that were given and not saved yet, those that were saved, and what the server says. */
export const saving = { waiting: 0, saved: 0, began: Date.now(), today: 0, changed: () => {} };
let line = Promise.resolve();
/** @type {{answers: any[], done: (saved: any) => void, failed: (error: unknown) => void}[]} */
let queued = [];

async function send() {
  const now = queued;
  queued = [];
  const answers = now.flatMap((item) => item.answers);
  if (!answers.length) return;
  try {
    const saved = await api("/api/labels", { answers });
    saving.saved += saved.saved;
    let at = 0;
    for (const item of now) {
      item.done(saved.mask_label_ids.slice(at, at + item.answers.length));
      at += item.answers.length;
    }
  } catch (error) {
    // One answer that is refused must not take the others with it.
    for (const item of now) {
      if (now.length === 1) item.failed(error);
      else await api("/api/labels", { answers: item.answers }).then((saved) => { saving.saved += saved.saved; item.done(saved.mask_label_ids); }, item.failed);
    }
  } finally {
    saving.waiting -= answers.length;
    saving.changed();
  }
}

/**
 * Saves labels after those that wait already; resolves when they are on the disk.
 * @param {any[]} answers
 * @returns {Promise<string[]>} their ids
 */
export function save(answers) {
  saving.waiting += answers.length;
  saving.changed();
  const saved = new Promise((done, failed) => queued.push({ answers, done, failed }));
  line = line.then(send);
  return /** @type {Promise<string[]>} */ (saved);
}

/**
 * Takes labels back, after those that wait are saved.
 * @param {Promise<string[]>} ids of the labels, when they are saved
 * @param {Mask[]} masks
 * @returns {Promise<(Said | null)[]>} what counts now
 */
export function takeBack(ids, masks) {
  // In line with the labels: one that is given to the mask next must be the newer one.
  const taken = line.then(async () => {
    const saved = await ids;
    const labels = saved.map((mask_label_id, at) => ({ mask_label_id, ...keyOf(masks[at]) }));
    const counting = await api("/api/undo", { labels });
    saving.saved -= labels.length;
    saving.changed();
    return counting;
  });
  line = taken.then(() => {}, () => {});
  return taken;
}

/** Tells what went wrong, and waits until it is read. @param {string} text */
export function tellFirst(text) {
  return new Promise((resolve) => {
    const dialog = element("dialog", { role: "alertdialog", "aria-label": "not saved" },
      element("form", { method: "dialog" }, element("b", {}, text), element("div", { class: "row" }, element("button", { class: "main" }, "Go back to it"))));
    dialog.addEventListener("close", () => { dialog.remove(); resolve(undefined); });
    document.body.append(dialog);
    dialog.showModal();
  });
}

window.addEventListener("beforeunload", (event) => {
  if (saving.waiting > 0) event.preventDefault();
});

/** Shows how much was done. @param {() => (string | Node | null)[]} more */
export async function counts(more = () => []) {
  const shown = find("#counts");
  saving.changed = () => {
    const hours = Math.max((Date.now() - saving.began) / 3600000, 1 / 3600);
    const rate = saving.saved > 4 ? `${Math.round(saving.saved / hours).toLocaleString("en")} an hour` : "";
    const items = [
      element("span", {}, element("b", {}, (saving.today + saving.saved).toLocaleString("en")), " labelled today", page.reviewer ? ` by ${page.reviewer}` : ""),
      rate ? element("span", {}, rate) : null,
      element("span", { id: "saved" }, saving.waiting ? `saving ${saving.waiting}…` : `${saving.saved} saved`),
      ...more().map((item) => element("span", {}, item)),
      page.readOnly ? element("span", {}, "read only: nothing can be changed") : null,
    ];
    shown.replaceChildren(...items.filter(Boolean));
  };
  saving.changed();
  const found = await telling(() => api("/api/progress"));
  if (found) saving.today = found.today;
  saving.changed();
}

/**
 * The word that says that a mask shows a class: its own name if that is one of its labels, else its only label.
 * @param {Class} of
 */
const wordOf = (of) => {
  if (of.labels.includes(of.name)) return of.name;
  return of.labels.length === 1 ? of.labels[0] : null;
};

/** The class of a word. @param {Class[]} classes @param {string | null | undefined} label */
export const classOf = (classes, label) => classes.find((item) => label && item.labels.includes(label));

/** @param {Said | null | undefined} said */
export const inWords = (said) => {
  if (!said) return "";
  const by = said.by ? ` (${said.by})` : "";
  if (said.verdict === "bad mask") return `bad mask${by}`;
  if (said.verdict === "is not") return `not ${said.label}${by}`;
  return `${said.label || "none of them"}${by}`;
};

/**
 * A button for each class, with how likely a mask shows it.
 * @param {Class[]} classes
 * @param {{best?: any[], said?: Said | null, first?: Class, disabled?: boolean, say: (of: Class) => void}} mask what a head and
 *   people say of it, and the class that Enter gives
 */
export function classButtons(classes, { best = [], said, first, disabled, say }) {
  const likely = new Map(best.map((item) => [item.class, item.probability]));
  find("#classes").replaceChildren(...classes.map((item, n) => {
    const probability = likely.get(item.name);
    const bar = element("span", { class: "likely" });
    bar.style.width = `${Math.round((probability ?? 0) * 100)}%`;
    const isSaid = said?.verdict === "is" && item.labels.includes(said.label ?? "");
    return element("button", { type: "button", own: item.color, class: [item === first ? "first" : "", isSaid ? "said" : ""].join(" "), disabled, onclick: () => say(item) },
      n < 9 ? element("kbd", {}, n + 1) : null, element("span", { class: "chip" }), item.name,
      probability === undefined ? null : element("span", { class: "share" }, probability.toFixed(2)), bar);
  }));
}

/** Makes a head the first of a select, and chooses it. @param {any} select @param {string} head */
export function promote(select, head) {
  const others = [...select.options].map((option) => option.value).filter((name) => name && name !== head);
  fill(select, [head, ...others], head);
}

/**
 * Lets a person choose a word, or type a new one.
 * @param {string} title
 * @param {string[]} words
 * @param {boolean} mayBeNew
 * @returns {Promise<string | null>}
 */
function choose(title, words, mayBeNew) {
  return new Promise((resolve) => {
    const input = element("input", { placeholder: "type to find", autocomplete: "off", spellcheck: "false", "aria-label": title });
    const found = element("div", { class: "found" });
    const dialog = element("dialog", {}, element("form", { method: "dialog" }, element("b", {}, title), input, found));
    /** @type {string[]} */
    let shown = [];
    let first = 0;
    /** @param {string | null} word */
    const end = (word) => {
      dialog.close();
      dialog.remove();
      resolve(word);
    };
    const draw = () => {
      const typed = input.value.trim().toLowerCase();
      const starts = words.filter((word) => word.toLowerCase().startsWith(typed));
      shown = [...starts, ...words.filter((word) => !starts.includes(word) && word.toLowerCase().includes(typed))].slice(0, 50);
      const isNew = mayBeNew && typed && !words.some((word) => word.toLowerCase() === typed);
      if (isNew) shown.push(input.value.trim());
      first = Math.min(first, Math.max(shown.length - 1, 0));
      found.replaceChildren(...shown.map((word, at) => element("button", {
        type: "button", class: at === first ? "first" : "", onclick: () => end(word),
      }, isNew && at === shown.length - 1 ? `a new word: ${word}` : word)));
    };
    input.addEventListener("input", () => { first = 0; draw(); });
    input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "ArrowDown") first += 1;
      else if (event.key === "ArrowUp") first = Math.max(first - 1, 0);
      else if (event.key === "Enter") { event.preventDefault(); end(shown[first] ?? null); return; }
      else return;
      event.preventDefault();
      draw();
    });
    dialog.addEventListener("cancel", () => end(null));
    document.body.append(dialog);
    draw();
    dialog.showModal();
    input.focus();
  });
}

/**
 * Asks for a class or a word.
 * @param {Class[]} classes
 * @returns {Promise<string | null>} the word
 */
export async function askAnything(classes) {
  const words = classes.flatMap((item) => item.labels);
  const named = await choose("What does the mask show?", [...new Set([...classes.map((item) => item.name), ...words])], true);
  const of = named === null || words.includes(named) ? undefined : classes.find((item) => item.name === named);
  return of ? askWord(of) : named;
}

/**
 * The word for a class; asks which of its labels is meant if none stands for all.
 * @param {Class} of
 * @returns {Promise<string | null>}
 */
export async function askWord(of) {
  return wordOf(of) ?? choose(`${of.name}: which of its words?`, of.labels, false);
}

// Training

/** @type {((job: any) => void)[]} */
const watchers = [];
/** Calls back when a training that ran here has ended. @param {(job: any) => void} done */
export const onTrained = (done) => watchers.push(done);
/** The last training whose end was told, or that had ended before the page was opened. */
let told = 0;

function showJob(/** @type {any} */ job) {
  const shown = find("#job");
  if (job.state === "running") {
    const bar = job.total ? element("progress", { max: job.total, value: Math.min(job.done, job.total) }) : element("progress");
    shown.hidden = false;
    shown.replaceChildren(element("b", {}, `Training '${job.head}'`), bar,
      element("div", { class: "soft" }, [job.phase && `${job.phase} ${job.done}${job.total ? ` of ${job.total}` : ""}`, job.status].filter(Boolean).join(" · ")));
  } else if (job.state !== "idle" && job.id !== told) {
    told = job.id;
    const close = element("button", { type: "button", onclick: () => { shown.hidden = true; } }, "Close");
    // A queue that changed under the hands would get answers that are meant for another mask.
    const use = job.state === "done" && watchers.length
      ? element("button", { type: "button", class: "main", onclick: () => { shown.hidden = true; for (const done of watchers) done(job); } }, "Go on with it") : null;
    const notes = job.notes.length ? element("ul", { class: "soft" }, ...job.notes.map((/** @type {string} */ note) => element("li", {}, note))) : null;
    const text = job.state === "done" ? `Head '${job.head}' in ${job.seconds.toFixed(1)} s: ${job.result}` : `Training failed: ${job.error}`;
    shown.hidden = false;
    shown.replaceChildren(element("div", { id: "trained" }, text), ...(notes ? [notes] : []), element("div", { class: "row" }, use, close));
  }
}

/** @type {EventSource | null} */
let events = null;

/** Follows a training to its end. A browser has few connections to a server, so there is none while nothing is trained. */
function follow() {
  events?.close();
  events = new EventSource("/api/events");
  events.onmessage = (event) => {
    const job = JSON.parse(event.data);
    if (job.state !== "running") events?.close();
    showJob(job);
  };
}
api("/api/job").then((job) => {
  told = job.state === "running" ? job.id - 1 : job.id;
  if (job.state === "running") follow();
}, () => {});

/** Asks what to train, and starts it. @param {{classes?: string, head?: string}} from */
export async function train(from = {}) {
  const [{ sets }, { heads, embedders }] = await Promise.all([api("/api/classes"), api("/api/heads")]);
  if (!sets.length) {
    toast("there is no class set yet: make one in Classes");
    return;
  }
  const before = heads.filter((/** @type {any} */ head) => head.head === from.head).pop();
  const set = (from.classes || (before ? before.class_set : sets[0].class_set)).split("@")[0];
  const dialog = element("dialog", { "aria-label": "train a head" });
  const input = (/** @type {string} */ name, /** @type {string} */ value) => element("input", { name, value, required: name === "name" });
  const select = (/** @type {string} */ name, /** @type {any[]} */ options, /** @type {string} */ chosen) => {
    const made = element("select", { name });
    fill(made, options, chosen);
    return made;
  };
  const losses = [
    ["", "labels of images and masks (default: mil+distill)"], ["linear", "labelled masks, linear: in seconds"],
    ["prototypes", "labelled masks, prototypes: from a handful"], ["masks", "labelled masks alone"],
    ["mil", "mil: images' labels, and masks'"], ["mil+distill", "mil+distill: the same, and a student"],
    ["mil+refine", "mil+refine: the same, and background"], ["mil+distill+refine", "mil+distill+refine: all three"],
  ];
  const form = element("form", { method: "dialog" },
    element("b", {}, "Train a head"),
    element("label", {}, "Name", input("name", from.head || set)),
    element("label", {}, "Class set", select("classes", sets.map((/** @type {any} */ it) => it.class_set), set)),
    element("label", {}, "Learns from", select("loss", losses, losses.some(([word]) => word === before?.loss) ? before.loss : "")),
    element("label", {}, "Reads", select("vectors", [["tokens", "the extractor's tokens"], ...embedders.map((/** @type {string} */ it) => [it, `vectors of ${it}`])], before?.vectors.join(",") || "tokens")),
    element("label", {}, "Epochs", element("input", { name: "epochs", type: "number", min: 1, placeholder: "enough for the data" })),
    element("p", { class: "soft" }, "A head of the same name is kept; the newest one counts."),
    element("div", { class: "row" }, element("button", { class: "main", value: "train" }, "Train"), element("button", { value: "", formnovalidate: true }, "Cancel")));
  dialog.append(form);
  document.body.append(dialog);
  dialog.addEventListener("close", () => {
    const given = Object.fromEntries(new FormData(form));
    const asked = dialog.returnValue;
    dialog.remove();
    if (asked !== "train") return;
    telling(async () => {
      const job = await api("/api/train", {
        name: given.name, classes: given.classes, loss: given.loss || null, vectors: String(given.vectors).split(","),
        epochs: given.epochs ? Number(given.epochs) : null, before: before ? before.head : null,
      });
      told = job.id - 1;
      follow();
    });
  });
  dialog.showModal();
}

const trainButton = find("#train");
if (trainButton) trainButton.disabled = page.readOnly;
