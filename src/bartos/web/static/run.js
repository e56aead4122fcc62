"use strict";
/* The page of one run: when it begins to print and when it has ended, what is said of it is read
   anew. The stream of its output tells both; a browser has few streams to spare. */
(() => {
  const facts = document.getElementById("facts");
  if (!facts || facts.dataset.verdict) return;
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
  document.addEventListener("output-began", anew, { once: true });
  document.addEventListener("output-ended", anew);
})();
