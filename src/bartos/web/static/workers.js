"use strict";
/* Workers as they come and go. */
(() => {
  const rows = document.getElementById("workers");
  if (!rows) return;
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
  const running = new Map();
  live.on("run", (run) => {
    const line = row(run.worker);
    if (!line) return;
    const place = cell(line, "running");
    if (!running.has(run.worker)) running.set(run.worker, { first: Number(place.textContent.replace(/,/g, "")) || 0, more: new Set(), gone: new Set() });
    const known = running.get(run.worker);
    // What began before this page counts once, when it ends.
    if (run.verdict) { if (!known.more.delete(run.id)) known.gone.add(run.id); }
    else if (!known.gone.has(run.id)) known.more.add(run.id);
    const number = Math.max(0, known.first - known.gone.size) + known.more.size;
    place.textContent = number || "";
  });
  live.on("reset", () => location.reload());
})();
