"use strict";
/* Workers as they come and go. */
(() => {
  const rows = document.getElementById("workers");
  if (!rows) {
    // The first one that comes makes an empty page another one.
    if (!location.search) live.on("worker", () => location.reload());
    return;
  }
  document.documentElement.dataset.events = "?kind=worker&kind=run";
  const row = (name) => [...rows.querySelectorAll("tr[data-worker]")].find((one) => one.dataset.worker === name);
  const cell = (line, name) => line.querySelector(`[data-f="${name}"]`);
  live.on("worker", (worker) => {
    const line = row(worker.name);
    if (!line) return;
    const state = !worker.connected ? "away" : worker.drained ? "drained" : "connected";
    const parts = [barto.mark(state)];
    if (!worker.connected) parts.push(" ", barto.time(worker.last_seen, "distance"));
    cell(line, "state").replaceChildren(...parts);
    barto.fill(cell(line, "version"), worker.version);
    const button = line.querySelector("button[data-post]");
    const word = worker.drained ? "undrain" : "drain";
    button.textContent = word;
    button.dataset.post = `${barto.root}/api/v1/workers/${encodeURIComponent(worker.name)}/${word}`;
    button.dataset.confirm = `Let ${barto.harmless(worker.name)} start ${worker.drained ? "things again" : "nothing new"}?`;
  });
  // What began before this page was made is counted on it, and goes when it ends; the others are
  // known by their events, of which each has several.
  const running = new Map(), made = Date.parse(document.documentElement.dataset.now);
  live.on("run", (run) => {
    const line = row(run.worker);
    if (!line) return;
    const place = cell(line, "running");
    if (!running.has(run.worker)) running.set(run.worker, { first: Number(place.textContent.replace(/,/g, "")) || 0, more: new Set(), gone: new Set() });
    const known = running.get(run.worker);
    if (Date.parse(run.claimed) >= made) { if (run.verdict) known.more.delete(run.id); else known.more.add(run.id); }
    else if (run.verdict && Date.parse(run.ended || run.claimed) >= made) known.gone.add(run.id);
    const number = Math.max(0, known.first - known.gone.size) + known.more.size;
    const link = document.createElement("a");
    link.href = `${barto.root}/history?worker=${encodeURIComponent(run.worker)}&verdict=running`;
    link.textContent = number.toLocaleString("en");
    place.replaceChildren(...(number ? [link] : []));
  });
  live.on("reset", () => location.reload());
})();
