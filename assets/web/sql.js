// The console: a query and its rows, with thumbnails where they name images or masks.

import { api, element, find, page, parameters, query, remember, telling, toast } from "./common.js";

const form = find("#tools");
const text = find("#sql");
/** @type {any} */
let shown = null;

/** What a row names: the address of its thumbnail, and of its view. @param {(string | null)[]} row */
function named(row) {
  const of = (/** @type {string} */ name) => row[shown.columns.indexOf(name)];
  const [image, extractor, mask] = [of("image_id"), of("extractor_id"), of("mask_index")];
  if (!image) return null;
  if (extractor && mask) return { crop: `/crops/${extractor}/${image}/${mask}?side=96`, view: `/image?${query({ image, extractor, mask, head: page.head })}` };
  return { crop: `/photos/${image}?side=320`, view: `/image?${query({ image, head: page.head })}` };
}

function draw() {
  const hasPictures = shown.columns.includes("image_id");
  const isNumber = (/** @type {string | null} */ value) => value !== null && /^-?\d[\d.]*(e-?\d+)?$/i.test(value);
  const rows = shown.rows.map((/** @type {(string | null)[]} */ row, /** @type {number} */ n) => {
    const found = hasPictures && n < 200 ? named(row) : null;
    return element("tr", {}, hasPictures ? element("td", {}, found ? element("a", { href: found.view }, element("img", { src: found.crop, alt: "", loading: "lazy" })) : null) : null,
      ...row.map((value) => element("td", { class: isNumber(value) ? "n" : "" }, value === null ? element("span", { class: "soft" }, "null") : value)));
  });
  find("#rows").replaceChildren(element("table", {}, element("thead", {}, element("tr", {}, hasPictures ? element("th") : null, ...shown.columns.map((/** @type {string} */ name) => element("th", {}, name)))), element("tbody", {}, ...rows)));
  find("#told").textContent = `${shown.is_cut ? "the first " : ""}${shown.rows.length} rows in ${shown.seconds.toFixed(2)} s`;
  find("#review").hidden = !["extractor_id", "image_id", "mask_index"].every((name) => shown.columns.includes(name));
}

async function run() {
  remember({ sql: text.value });
  find("#told").textContent = "running…";
  const found = await telling(() => api("/api/sql", { sql: text.value }));
  find("#told").textContent = "";
  if (!found) return;
  shown = found;
  draw();
}

function csv() {
  const quoted = (/** @type {string | null} */ value) => (value === null ? "" : /[",\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  return [shown.columns, ...shown.rows].map((row) => row.map(quoted).join(",")).join("\n");
}

form.addEventListener("submit", (/** @type {Event} */ event) => { event.preventDefault(); run(); });
text.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => { if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); } });
find("#review").hidden = true;
find("#review").addEventListener("click", () => { location.href = `/queue?${query({ kind: "sql", sql: text.value, head: page.head })}`; });
find("#csv").addEventListener("click", () => telling(async () => {
  if (!shown) return;
  await navigator.clipboard.writeText(csv());
  toast(`${shown.rows.length} rows copied`, true);
}));
for (const button of document.querySelectorAll("[data-sql]")) {
  button.addEventListener("click", () => { text.value = /** @type {HTMLElement} */ (button).dataset.sql || ""; run(); });
}
if (parameters().sql) { text.value = parameters().sql; run(); }
