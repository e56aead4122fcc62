"use strict";
/* The preview: what is typed is explained at once. */
(() => {
  const part = (id) => document.getElementById(id);
  const field = part("expression"), zone = part("timezone");
  const quote = (word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replace(/'/g, "'\"'\"'")}'`);
  let asked = 0;

  async function explain() {
    const text = field.value.trim(), number = asked += 1;
    const place = zone.value.trim();
    const query = new URLSearchParams();
    if (text) query.set("text", text);
    if (place) query.set("timezone", place);
    history.replaceState(null, "", `${location.pathname}${query.size ? `?${query}` : ""}`);
    part("preview").hidden = !text;
    if (!text) return;
    let told;
    try {
      told = await barto.ask(`${barto.root}/api/v1/calendar?${query}&limit=5`);
    } catch (error) {
      told = { error: { message: error.message, text: "", start: 0, end: 0 }, notes: [], next: [], normalized: [], words: "" };
    }
    if (number === asked) show(told, text, place);
  }
  function show(told, text, place) {
    const wrong = told.error;
    part("meaning").textContent = wrong ? "" : barto.harmless(told.words);
    part("wrong").hidden = !wrong;
    if (wrong) {
      part("wrong-says").textContent = barto.harmless(wrong.message);
      // The place counts code points, as the server does.
      const signs = [...wrong.text], mark = document.createElement("mark");
      const piece = (from, to) => barto.harmless(signs.slice(from, to).join(""));
      mark.textContent = piece(wrong.start, wrong.end) || "\u00a0";
      part("wrong-text").replaceChildren(piece(0, wrong.start), wrong.text ? mark : "", piece(wrong.end));
    }
    part("notes").replaceChildren(...told.notes.map((note) => {
      const line = document.createElement("p");
      line.className = "note";
      line.textContent = barto.harmless(note.fix ? `${note.message}; ${note.fix}` : note.message);
      return line;
    }));
    part("starts-of").hidden = !told.next.length;
    part("normalized").textContent = told.normalized.join("; ");
    part("remark").textContent = told.times === "range" ? "Each worker has a start of its own within these spans, drawn once."
      : told.times === "example" ? "Each worker has starts of its own; these are one example." : "";
    part("starts-table").querySelector("tbody").replaceChildren(...told.next.map(row));
    part("toml").textContent = wrong ? "" : `${told.kind === "cron" ? "cron" : "on_calendar"} = ${JSON.stringify(text)}`;
    const command = `barto calendar${told.kind === "cron" ? " --cron" : ""} ${quote(text)} --tz ${quote(place || barto.zone)}`;
    part("as-command").textContent = barto.harmless(command);
    part("copy-command").dataset.copy = command;
  }
  function row(start) {
    const line = document.createElement("tr");
    const cell = (classes, content) => {
      const made = document.createElement("td");
      made.className = classes;
      barto.fill(made, content);
      line.append(made);
    };
    cell("time main-cell", `${start.local.slice(0, 10)} ${start.local.slice(11, 19)}`);
    cell("right dim", barto.time(start.at, "distance"));
    cell("dim", start.zone);
    cell("time dim", start.zone === barto.zone ? "" : barto.time(start.at));
    cell("grow dim", (start.until ? `up to ${barto.shortTime(start.until)} ` : "") + start.note);
    return line;
  }

  let waiting = 0;
  const later = () => { clearTimeout(waiting); waiting = setTimeout(explain, 120); };
  field.addEventListener("input", later);
  zone.addEventListener("input", later);
  part("asking").addEventListener("submit", (event) => { event.preventDefault(); explain(); });
  for (const one of document.querySelectorAll("[data-example]"))
    one.addEventListener("click", (event) => { event.preventDefault(); field.value = one.textContent; field.focus(); explain(); });
  if (!field.value) field.focus({ preventScroll: true });
  // What was typed before this script came, or a browser has filled in again.
  if (field.value !== field.defaultValue || zone.value !== zone.defaultValue) explain();
})();
