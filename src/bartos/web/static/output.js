"use strict";
/* What a run prints: read from the server, numbered as bartos/searching.py does it, and drawn in
   blocks of which only those near the window are there. Text is only ever set as text. */
(() => {
  const box = document.getElementById("output");
  if (!box) return;
  const LINE_MAX = 32 * 1024;
  const BLOCK = 100;
  const LINES_MAX = 250000, BYTES_MAX = 64 * 1024 * 1024;
  const AT_ONCE = 64;
  const place = document.getElementById("lines");
  const part = (name) => box.querySelector(`[data-part="${name}"]`);
  const api = `${barto.root}/api/v1/runs/${box.dataset.run}`;

  /* -- lines -------------------------------------------------------------------------------- */
  let attempt = Number(box.dataset.attempt);
  let lines = [];        // {number, stream, step, at, text, style}
  let held = new Map();  // lines that have not ended, by step and stream
  let styles = new Map();
  let begun = 0, bytes = 0, cut = false, complete = false, last = -1, partly = 0;
  const encoder = new TextEncoder(), decoder = new TextDecoder();

  const bytesOf = (piece) => (piece.base64 ? Uint8Array.from(atob(piece.base64), (c) => c.charCodeAt(0)) : encoder.encode(piece.text || ""));
  function joined(one, other) {
    if (!one.length) return other;
    const both = new Uint8Array(one.length + other.length);
    both.set(one);
    both.set(other, one.length);
    return both;
  }
  const none = new Uint8Array(0);

  function take(piece) {
    const data = bytesOf(piece), key = `${piece.step} ${piece.stream}`;
    bytes += data.length;
    let line = held.get(key) || null, from = 0;
    held.delete(key);
    while (from <= data.length) {
      const end = data.indexOf(10, from);
      if (end < 0 && from === data.length && !line) return;
      if (!line) line = begin(piece, key);
      line.data = joined(line.data, data.subarray(from, end < 0 ? data.length : end));
      while (line.data.length > LINE_MAX) {
        const rest = line.data.slice(LINE_MAX);
        line.data = line.data.slice(0, LINE_MAX);
        finish(line, key);
        line = begin(piece, key);
        line.data = rest;
      }
      if (end < 0) {
        held.set(key, line);
        line.text = decoder.decode(line.data);
        line.changed = true;
        return;
      }
      if (line.data[line.data.length - 1] === 13) line.data = line.data.slice(0, -1);
      finish(line, key);
      line = null;
      from = end + 1;
    }
  }
  function begin(piece, key) {
    begun += 1;
    const line = { number: begun, stream: piece.stream, step: piece.step, at: piece.at, data: none, text: "", style: styles.get(key) || ansi.PLAIN, changed: true };
    lines.push(line);
    return line;
  }
  function finish(line, key) {
    line.text = decoder.decode(line.data);
    line.data = none;
    line.changed = true;
    if (line.text.includes("\x1b") || line.text.includes("\x9b")) styles.set(key, ansi.drawn(line.text, line.style).style);
    else styles.set(key, line.style);
    // A style goes on in the next line of its stream, also where that has begun already.
  }

  /* -- blocks ------------------------------------------------------------------------------- */
  let shown = [];   // the lines that are wanted, in order
  let upTo = 0;     // how many of `lines` were looked at for that
  let blocks = [];  // {element, first, height, drawn}
  let stream = "both";
  const watcher = new IntersectionObserver((seen) => {
    for (const one of seen) {
      const block = blocks[Number(one.target.dataset.block)];
      if (!block || block.element !== one.target) continue;
      block.near = one.isIntersecting;
      if (block.near) draw(block); else clear(block);
    }
  }, { rootMargin: "1200px 0px" });
  let rowHeight = 18;

  function renew() {
    for (const block of blocks) watcher.unobserve(block.element);
    blocks = []; shown = []; upTo = 0;
    place.replaceChildren();
    grow();
  }
  // Adds what has come, and draws anew what has changed.
  function grow() {
    for (; upTo < lines.length; upTo += 1) {
      const line = lines[upTo];
      if (stream !== "both" && line.stream !== stream && line.stream !== "marker") continue;
      shown.push(line);
    }
    while (blocks.length * BLOCK < shown.length) {
      const element = document.createElement("div");
      element.className = "block";
      element.dataset.block = blocks.length;
      const block = { element, first: blocks.length * BLOCK, height: 0, near: false, count: 0 };
      blocks.push(block);
      place.append(element);
      watcher.observe(element);
    }
    for (let number = Math.max(0, blocks.length - 1); number >= 0; number -= 1) {
      const block = blocks[number];
      const count = Math.min(BLOCK, shown.length - block.first);
      const stale = block.count !== count || (block.near && shown.slice(block.first, block.first + count).some((line) => line.changed));
      if (!stale && number < blocks.length - 3) break;
      if (!stale) continue;
      block.count = count;
      block.height = 0;
      if (block.near) draw(block); else size(block);
    }
  }
  function size(block) {
    block.element.style.height = `${block.height || block.count * rowHeight}px`;
  }
  function clear(block) {
    if (!block.element.firstChild) return;
    block.height = block.element.getBoundingClientRect().height;
    block.element.replaceChildren();
    size(block);
  }
  function draw(block) {
    const rows = document.createDocumentFragment();
    for (let at = block.first; at < block.first + block.count; at += 1) rows.append(row(shown[at]));
    block.element.style.height = "";
    block.element.replaceChildren(rows);
  }
  const clockOf = new Intl.DateTimeFormat("en-GB", { timeZone: barto.zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
  const clocks = new Map();
  function clock(at) {
    const second = at.slice(0, 19);
    if (!clocks.has(second)) {
      if (clocks.size > 5000) clocks.clear();
      clocks.set(second, clockOf.format(new Date(at)));
    }
    return clocks.get(second);
  }
  function row(line) {
    const element = document.createElement("div");
    element.className = `out-line ${line.stream}`;
    element.id = `L${line.number}`;
    if (line.number === target) element.classList.add("target");
    const number = document.createElement("a");
    number.className = "number";
    number.href = `#L${line.number}`;
    number.textContent = line.number;
    number.title = `line ${line.number}${line.stream === "stderr" ? ", stderr" : ""}`;
    const time = document.createElement("time");
    time.dateTime = line.at;
    time.textContent = clock(line.at);
    const text = document.createElement("span");
    text.className = "printed";
    if (line.stream === "stderr") {
      const said = document.createElement("span");
      said.className = "unseen-text";
      said.textContent = "stderr: ";
      element.append(number, time, said, text);
    } else element.append(number, time, text);
    line.changed = false;
    const runs = ansi.drawn(line.text, line.style).runs;
    const found = hits.get(line.number);
    let column = 0;
    for (const [what, classes] of runs) {
      if (found === undefined) append(text, what, classes);
      else {
        // A hit may lie over several pieces.
        const begin = Math.max(0, Math.min(what.length, found[0] - column));
        const end = Math.max(0, Math.min(what.length, found[1] - column));
        append(text, what.slice(0, begin), classes);
        append(text, what.slice(begin, end), `${classes} hit${line.number === current ? " current" : ""}`);
        append(text, what.slice(end), classes);
      }
      column += what.length;
    }
    return element;
  }
  function append(to, what, classes) {
    if (!what) return;
    if (!classes) { to.append(what); return; }
    const span = document.createElement("span");
    span.className = classes;
    span.textContent = what;
    to.append(span);
  }

  /* -- a line by its number ----------------------------------------------------------------- */
  let target = 0;
  const wanted = () => { const found = /^#L([0-9]{1,9})$/.exec(location.hash); return found ? Number(found[1]) : 0; };
  function indexOf(number) {
    let low = 0, high = shown.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      if (shown[middle].number === number) return middle;
      if (shown[middle].number < number) low = middle + 1; else high = middle - 1;
    }
    return -1;
  }
  function go(number, gently) {
    const index = indexOf(number);
    if (index < 0) return false;
    const block = blocks[Math.floor(index / BLOCK)];
    const scroll = () => {
      const bar = part("tools").getBoundingClientRect().bottom;
      const there = document.getElementById(`L${number}`);
      const top = there ? there.getBoundingClientRect().top : block.element.getBoundingClientRect().top;
      if (gently && there && top > bar && top < innerHeight - 40) return;
      scrollBy(0, top - Math.max(bar + 40, innerHeight / 3));
    };
    block.near = true;
    draw(block);
    scroll();
    // What comes into view on the way may be of another height than it was thought to be.
    requestAnimationFrame(() => requestAnimationFrame(scroll));
    return true;
  }
  function mark(number) {
    const before = document.getElementById(`L${target}`);
    if (before) before.classList.remove("target");
    target = number;
    const now = document.getElementById(`L${number}`);
    if (now) now.classList.add("target");
  }
  addEventListener("hashchange", () => {
    mark(wanted());
    if (target) { stop(); go(target, true); }
  });

  /* -- following ---------------------------------------------------------------------------- */
  const follow = part("follow");
  const following = () => follow.getAttribute("aria-pressed") === "true";
  function stop() { follow.setAttribute("aria-pressed", "false"); }
  function toEnd() { scrollTo(0, document.documentElement.scrollHeight); }
  follow.addEventListener("click", () => {
    follow.setAttribute("aria-pressed", String(!following()));
    if (following()) toEnd();
  });
  addEventListener("wheel", (event) => { if (event.deltaY < 0) stop(); }, { passive: true });
  addEventListener("keydown", (event) => { if (["PageUp", "Home", "ArrowUp"].includes(event.key)) stop(); });
  addEventListener("touchmove", stop, { passive: true });

  /* -- what is shown of it ------------------------------------------------------------------ */
  for (const button of box.querySelectorAll("[data-stream]"))
    button.addEventListener("click", () => {
      stream = button.dataset.stream;
      for (const one of box.querySelectorAll("[data-stream]")) one.setAttribute("aria-pressed", String(one === button));
      search(true);
      renew();
    });
  const wrap = part("wrap");
  wrap.addEventListener("click", () => {
    const on = wrap.getAttribute("aria-pressed") !== "true";
    wrap.setAttribute("aria-pressed", String(on));
    place.classList.toggle("wrapped", on);
    for (const block of blocks) { block.height = 0; if (!block.element.firstChild) size(block); }
  });
  addEventListener("resize", () => { for (const block of blocks) if (!block.element.firstChild) { block.height = 0; size(block); } });

  /* -- searching within --------------------------------------------------------------------- */
  const field = part("find"), count = part("found");
  let hits = new Map(), order = [], current = 0;
  function search(quietly) {
    const text = field.value;
    hits = new Map(); order = [];
    if (text) {
      const low = text.toLowerCase(), exact = low !== text;
      for (const line of lines) {
        if (stream !== "both" && line.stream !== stream) continue;
        const seen = ansi.plain(line.text);
        const at = exact ? seen.indexOf(text) : seen.toLowerCase().indexOf(low);
        if (at >= 0) { hits.set(line.number, [at, at + text.length]); order.push(line.number); }
      }
    }
    if (!order.includes(current)) current = 0;
    for (const block of blocks) if (block.element.firstChild) draw(block);
    tellFound();
    if (!quietly && text && !current) step(1);
  }
  function tellFound() {
    if (!field.value) { count.textContent = ""; return; }
    const at = order.indexOf(current);
    count.textContent = order.length ? `${at < 0 ? "–" : at + 1} of ${order.length.toLocaleString("en")}` : "not found";
  }
  function step(by) {
    if (!order.length) return;
    const at = order.indexOf(current);
    current = order[(at + by + order.length) % order.length];
    if (at < 0) current = by > 0 ? order[0] : order[order.length - 1];
    stop();
    for (const block of blocks) if (block.element.firstChild) draw(block);
    go(current);
    tellFound();
  }
  let typing = 0;
  field.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(() => search(false), 120); });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") { event.preventDefault(); step(event.shiftKey ? -1 : 1); }
  });
  part("next-found").addEventListener("click", () => step(1));
  part("previous-found").addEventListener("click", () => step(-1));

  /* -- reading ------------------------------------------------------------------------------ */
  function tell() {
    const words = [`${begun.toLocaleString("en")} ${begun === 1 ? "line" : "lines"}`, barto.size(bytes)];
    if (cut) words.push("the rest is in the download");
    else words.push(complete ? "complete" : "still coming");
    part("amount").textContent = words.join(", ");
    part("nothing").hidden = begun > 0;
    part("nothing").textContent = complete ? "It printed nothing." : "It has printed nothing yet.";
  }
  let waiting = 0, looking = 0;
  function refresh() {
    if (waiting) return;
    waiting = requestAnimationFrame(() => {
      waiting = 0;
      grow();
      tell();
      if (field.value && !looking) looking = setTimeout(() => { looking = 0; search(true); }, 300);
      if (following()) toEnd();
    });
  }
  const enough = () => lines.length >= LINES_MAX || bytes >= BYTES_MAX;

  async function readAll() {
    const fixed = box.dataset.fixed === "true";
    let after = -1;
    for (;;) {
      const query = new URLSearchParams({ after, limit: AT_ONCE, attempt });
      const told = await barto.ask(`${api}/output.json?${query}`);
      for (const piece of told.segments) { take(piece); last = piece.chunk; }
      if (enough() && told.next !== null) { cut = true; complete = true; break; }
      if (told.next === null) { complete = fixed || (told.complete && !told.running); break; }
      after = told.next;
      tell();
      if (after < 2 * AT_ONCE) { first(); grow(); }
    }
    first();
    grow();
    if (wanted()) { mark(wanted()); go(target); }
    else if (following()) toEnd();
    tell();
    if (field.value) search(target > 0);
    if (!complete) listen();
  }
  // The lines that the server has drawn make room for the same ones.
  let fresh = true;
  function first() {
    if (!fresh) return;
    fresh = false;
    renew();
    const one = place.querySelector(".out-line");
    if (one) rowHeight = one.getBoundingClientRect().height || rowHeight;
  }
  let began = false, rest = 1;
  function listen() {
    // As in live.js: what nobody looks at keeps no connection from others.
    if (document.hidden) { document.addEventListener("visibilitychange", listen, { once: true }); return; }
    // What is here already comes once more, and is known by the numbers of its chunks.
    const source = new EventSource(`${api}/output/events?from=${Math.max(0, bytes - 65536)}`);
    const close = () => source.close();
    let skip = 0;
    source.onopen = () => { skip = partly; rest = 1; tell(); };
    source.onerror = () => {
      part("amount").textContent = "the server does not answer; this goes on by itself when it is back";
      if (source.readyState !== EventSource.CLOSED) return;
      // The browser has given it up.
      removeEventListener("pagehide", close);
      setTimeout(listen, rest * 1000);
      rest = Math.min(30, rest * 2);
    };
    source.addEventListener("segment", (event) => {
      const piece = JSON.parse(event.data);
      if (piece.chunk <= last) return;
      if (!began) { began = true; document.dispatchEvent(new CustomEvent("output-began")); }
      // A chunk of which a part had come is sent once more from its beginning.
      if (skip > 0) { skip -= 1; return; }
      take(piece);
      if (event.lastEventId === `${attempt}.${piece.chunk}`) { last = piece.chunk; partly = 0; } else partly += 1;
      if (enough()) { cut = true; source.close(); }
      refresh();
    });
    source.addEventListener("attempt", (event) => {
      attempt = JSON.parse(event.data).attempt;
      lines = []; held = new Map(); styles = new Map();
      begun = 0; bytes = 0; last = -1; partly = 0;
      renew();
      tell();
    });
    source.addEventListener("end", () => {
      source.close();
      complete = true;
      stop();
      refresh();
      document.dispatchEvent(new CustomEvent("output-ended"));
    });
    addEventListener("pagehide", close);
  }
  readAll().catch((error) => { part("amount").textContent = error.message; });
})();
