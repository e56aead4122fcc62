"use strict";
/* The page of one run: when it has ended, what is said of it is read anew, once. */
(() => {
  const facts = document.getElementById("facts");
  if (!facts || facts.dataset.verdict) return;
  const query = new URLSearchParams({ kind: "run", schedule: facts.dataset.schedule, worker: facts.dataset.worker });
  document.documentElement.dataset.events = `?${query}`;
  let asked = false;
  async function anew() {
    const answer = await fetch(location.pathname, { credentials: "same-origin" });
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const told = page.getElementById("facts");
    if (!told) return;
    const now = document.getElementById("facts");
    now.dataset.verdict = told.dataset.verdict;
    now.replaceChildren(...document.importNode(told, true).childNodes);
  }
  live.on("run", (run) => {
    if (run.id !== facts.dataset.run) return;
    const started = run.started && !asked;
    if (run.verdict || started) { asked = true; anew(); }
  });
  live.on("reset", anew);
  document.addEventListener("output-ended", anew);
})();
