"use strict";
/* What every page does: words for times, marks of states, keys, copying, and buttons that ask the
   API. Other scripts use it as `barto`. Text is only ever set as text. */
const barto = (() => {
  const html = document.documentElement;
  html.classList.add("js");
  const root = html.dataset.root || "";
  const zone = html.dataset.zone || "UTC";

  // The server's clock counts, not the reader's.
  const ahead = Date.parse(html.dataset.now) - Date.now();
  const now = () => Date.now() + ahead;

  /* -- words: the same as in words.py ------------------------------------------------------- */
  const days = { weekday: "short", day: "numeric", month: "short" };
  const clock = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
  const parts = (form, at) => {
    const found = {};
    for (const part of form.formatToParts(at)) found[part.type] = part.value;
    return found;
  };
  const maker = new Intl.DateTimeFormat("en-GB", { timeZone: zone, ...days, ...clock, year: "numeric" });
  const offsets = new Intl.DateTimeFormat("en-GB", { timeZone: zone, timeZoneName: "longOffset" });

  function shortTime(text) {
    const at = parts(maker, new Date(text)), today = parts(maker, new Date(now()));
    if (at.year === today.year && at.month === today.month && at.day === today.day)
      return `${at.hour}:${at.minute}:${at.second}`;
    const year = at.year === today.year ? "" : ` ${at.year}`;
    return `${at.weekday} ${at.day} ${at.month}${year} ${at.hour}:${at.minute}`;
  }
  function longTime(text) {
    const at = parts(maker, new Date(text));
    const offset = parts(offsets, new Date(text)).timeZoneName.replace("GMT", "UTC");
    const words = zone === "UTC" ? "" : ` (${offset === "UTC" ? "UTC+00:00" : offset})`;
    return `${at.weekday} ${at.day} ${at.month} ${at.year} ${at.hour}:${at.minute}:${at.second} ${zone}${words}`;
  }
  const two = (number) => String(number).padStart(2, "0");
  function duration(seconds) {
    if (seconds === null || seconds === undefined) return "";
    if (seconds < 0) return `-${duration(-seconds)}`;
    if (seconds < 1) return `${Math.floor(seconds * 1000)}ms`;
    if (seconds < 10) return `${Math.floor(seconds * 10) / 10}s`;
    const whole = Math.floor(seconds);
    for (const [size, big, small, per] of [[86400, "d", "h", 3600], [3600, "h", "m", 60], [60, "m", "s", 1]])
      if (whole >= size) return `${Math.floor(whole / size)}${big} ${two(Math.floor((whole % size) / per))}${small}`;
    return `${whole}s`;
  }
  function elapsed(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    return `${Math.floor(whole / 3600)}:${two(Math.floor((whole % 3600) / 60))}:${two(whole % 60)}`;
  }
  function fromNow(seconds) {
    if (Math.abs(seconds) < 1) return "now";
    const said = duration(Math.abs(seconds)).split(" ")[0];
    return seconds > 0 ? `in ${said}` : `${said} ago`;
  }
  function size(bytes) {
    if (bytes < 1000) return `${bytes} B`;
    let amount = bytes;
    for (const unit of ["kB", "MB", "GB"]) {
      amount /= 1000;
      if (amount < 1000 || unit === "GB")
        return `${amount < 10 ? amount.toFixed(1) : Math.round(amount).toLocaleString("en")} ${unit}`;
    }
    return "";
  }
  // What could turn the direction of writing, or cannot be seen: as in libbarto/harmless.py.
  const unsafe = "\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb\\ud800-\\udfff\\u{e0000}-\\u{e0fff}";
  const harmful = new RegExp(`[${unsafe}]`, "gu");
  function escaped(one) {
    const code = one.codePointAt(0);
    if (code < 0x100) return `\\x${code.toString(16).padStart(2, "0")}`;
    return code < 0x10000 ? `\\u${code.toString(16).padStart(4, "0")}` : `\\U${code.toString(16).padStart(8, "0")}`;
  }
  const harmless = (text) => String(text).replace(/\t/g, "   ").replace(harmful, escaped);

  /* -- pieces of pages ---------------------------------------------------------------------- */
  function setTime(element, text, how) {
    if (!text) { element.replaceChildren(); return; }
    element.setAttribute("datetime", text);
    element.title = longTime(text);
    if (how === "elapsed") element.textContent = elapsed((now() - Date.parse(text)) / 1000);
    else if (how === "distance") element.textContent = fromNow((Date.parse(text) - now()) / 1000);
    else element.textContent = shortTime(text);
  }
  function time(text, how) {
    const element = document.createElement("time");
    if (how) element.dataset[how] = "";
    setTime(element, text, how);
    return element;
  }
  // From when to when; the second without its day where that is the same.
  function between(first, last) {
    if (!last || first === last) return [time(first)];
    const begin = time(first), end = time(last), dash = document.createElement("span");
    const day = (text) => shortTime(text).split(" ").slice(0, -1).join(" ");
    dash.className = "dim";
    dash.textContent = " – ";
    const minutes = (text) => text.replace(/:\d\d$/, (found, at) => (at > text.lastIndexOf(" ") + 3 ? "" : found));
    begin.textContent = minutes(begin.textContent);
    end.textContent = minutes(day(first) === day(last) ? end.textContent.split(" ").pop() : end.textContent);
    return [begin, dash, end];
  }
  // The mark of a state: a copy of the one that the server has drawn into the page.
  function mark(name, text) {
    const states = document.getElementById("states").content;
    const known = [...states.children].find((one) => one.dataset.state === name);
    const copy = (known || [...states.children].find((one) => one.dataset.state === "unknown")).cloneNode(true);
    copy.dataset.state = name;
    if (text || !known) copy.querySelector(".word").textContent = harmless(text || String(name).replace(/_/g, " "));
    return copy;
  }
  function fill(element, content) {
    if (content instanceof Node) element.replaceChildren(content);
    else element.textContent = content === null || content === undefined ? "" : harmless(content);
  }

  let saying = 0;
  function say(text) {
    const place = document.getElementById("said");
    place.textContent = harmless(text);
    clearTimeout(saying);
    saying = setTimeout(() => { place.textContent = ""; }, 6000);
  }

  // A line on top, with a link that shows this page anew.
  function offer(text) {
    const place = document.getElementById("away"), link = document.createElement("a");
    link.href = location.href;
    link.textContent = "Show them";
    place.hidden = false;
    place.replaceChildren(`${text} `, link);
  }

  /* -- the API ------------------------------------------------------------------------------ */
  async function ask(path, values) {
    const options = values === undefined ? {} : {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(values),
    };
    const answer = await fetch(path, { credentials: "same-origin", ...options })
      .catch(() => { throw new Error("the server does not answer"); });
    if (answer.status === 401) { location.reload(); }
    // What stands between may answer in its own words.
    const told = await answer.json().catch(() => null);
    if (answer.ok && told) return told;
    throw new Error((told && (told.detail || told.title)) || `what answers is no bartos (${answer.status})`);
  }
  async function act(button) {
    const { post, confirm: question } = button.dataset;
    if (question && !window.confirm(question)) return;
    button.disabled = true;
    try {
      const told = await ask(post, JSON.parse(button.dataset.body || "{}"));
      say(told.said ? `${button.textContent.trim()}: confirmed by ${told.said}` : `${button.textContent.trim()}: done`);
      button.dispatchEvent(new CustomEvent("acted", { bubbles: true, detail: told }));
    } catch (error) {
      say(error.message);
    } finally {
      button.disabled = false;
    }
  }

  /* -- clicks ------------------------------------------------------------------------------- */
  function copyText(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    return Promise.reject(new Error("this browser does not let pages copy"));
  }
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.post) act(button);
    else if (button.dataset.copy !== undefined)
      copyText(button.dataset.copy).then(() => say("copied"), (error) => say(error.message));
    else if (button.id === "theme") turn();
    else if (button.id === "show-keys") help();
  });

  const theme = { get: () => { try { return localStorage.getItem("theme"); } catch { return null; } } };
  if (theme.get()) html.dataset.theme = theme.get();
  function turn() {
    const dark = html.dataset.theme === "dark" || (!html.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    html.dataset.theme = dark ? "light" : "dark";
    try { localStorage.setItem("theme", html.dataset.theme); } catch { /* it holds for this page */ }
  }
  function help() {
    const dialog = document.getElementById("keys");
    if (dialog && !dialog.open) dialog.showModal();
  }

  /* -- keys --------------------------------------------------------------------------------- */
  const places = { n: "/", s: "/schedules", w: "/workers", h: "/history", c: "/calendar" };
  let going = false;
  // Rows that `j` and `k` walk through: those that lead somewhere.
  const rows = () => [...document.querySelectorAll("tr[data-href], li[data-href], [data-row]")].filter((one) => one.offsetParent !== null);
  function move(by) {
    const all = rows();
    if (!all.length) return;
    const at = all.findIndex((one) => one.classList.contains("chosen"));
    const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))];
    choose(next);
  }
  function choose(row) {
    for (const one of document.querySelectorAll(".chosen")) { one.classList.remove("chosen"); one.removeAttribute("tabindex"); }
    row.classList.add("chosen");
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }
  const chosen = () => document.querySelector(".chosen");
  // A key acts on the chosen row, else on the page.
  function press(key) {
    const within = chosen();
    // Any key may be pressed, also one that ends a text in a selector.
    const meant = `[data-key="${CSS.escape(key)}"]`;
    const found = (within && within.querySelector(meant)) ||
      [...document.querySelectorAll(meant)].find((one) => !one.closest("tr, li") && one.offsetParent !== null);
    if (found) found.click();
    return Boolean(found);
  }
  const typing = (element) => element.closest && element.closest("input, textarea, select, [contenteditable]");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.key === "Escape" && typing(event.target)) { event.target.blur(); return; }
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    if (going) {
      going = false;
      if (places[event.key]) { event.preventDefault(); location.href = root + places[event.key]; return; }
    }
    const row = chosen();
    switch (event.key) {
      case "/": {
        const field = document.querySelector("[data-search]") || document.querySelector(".search input");
        if (field) { event.preventDefault(); field.focus(); field.select(); }
        return;
      }
      case "g": going = true; setTimeout(() => { going = false; }, 1500); return;
      case "j": move(1); return;
      case "k": move(-1); return;
      case "?": help(); return;
      case "Enter":
        if (row && event.target === row && row.dataset.href) location.href = row.dataset.href;
        return;
      default:
        if (event.key.length === 1 && press(event.key)) event.preventDefault();
    }
  });

  /* -- clocks ------------------------------------------------------------------------------- */
  function tick() {
    for (const one of document.querySelectorAll("time[data-elapsed]"))
      one.textContent = elapsed((now() - Date.parse(one.getAttribute("datetime"))) / 1000);
    for (const one of document.querySelectorAll("time[data-distance]"))
      one.textContent = fromNow((Date.parse(one.getAttribute("datetime")) - now()) / 1000);
  }
  setInterval(tick, 1000);

  return { root, zone, now, shortTime, longTime, duration, elapsed, fromNow, size, unsafe, escaped, harmless, setTime, time, between, mark, fill, say, offer, ask, act, choose, tick };
})();
