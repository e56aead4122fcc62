"use strict";
/* One stream of events for the page. Each kind goes to whoever has asked by `live.on(kind, f)`;
   `f` gets the data. After a `reset`, or when the server is back after it was away for long,
   `live.on("reset", f)` is told: then what is shown is read anew. */
const live = (() => {
  const listeners = new Map();
  const kinds = ["run", "range", "worker", "schedules", "pauses", "status", "reset"];
  const REST = 60000;
  let source = null, lost = 0, timer = 0, waited = 1, resting = 0, missed = false;

  function on(kind, listener) {
    if (!listeners.has(kind)) listeners.set(kind, []);
    listeners.get(kind).push(listener);
    if (!source && !timer) timer = setTimeout(connect, 0);
  }
  function tell(kind, data) {
    for (const listener of listeners.get(kind) || []) listener(data);
  }
  function connect() {
    timer = 0;
    if (document.hidden) { source = null; missed = true; return; }
    const query = document.documentElement.dataset.events || "";
    source = new EventSource(`${barto.root}/api/v1/events${query}`);
    source.onopen = () => {
      const away = lost ? Date.now() - lost : 0;
      lost = 0;
      waited = 1;
      show("");
      // A browser says where it was, and the server remembers the last thousand events. Who was
      // away for longer, or had to begin a stream of its own, reads anew.
      if (away > 30000 || missed) tell("reset", null);
      missed = false;
    };
    source.onerror = () => {
      if (!lost) lost = Date.now();
      if (source.readyState === EventSource.CLOSED) {
        missed = true;
        // Who has logged out elsewhere is told so by this page, too.
        fetch(source.url, { method: "HEAD" }).then((answer) => { if (answer.status === 401) location.reload(); }, () => {});
        timer = setTimeout(connect, waited * 1000);
        waited = Math.min(30, waited * 2);
      }
      // A stream ends now and then; only what lasts is worth a word.
      setTimeout(() => { if (lost) show(); }, 1500);
    };
    for (const kind of kinds)
      source.addEventListener(kind, (event) => tell(kind, event.data ? JSON.parse(event.data) : null));
  }
  function show(text) {
    const place = document.getElementById("away");
    if (!place) return;
    if (text === "") { place.hidden = true; place.textContent = ""; return; }
    place.hidden = false;
    place.replaceChildren(
      "The server does not answer. This page shows what was so at ",
      barto.time(new Date(lost + barto.now() - Date.now()).toISOString()),
      "; it goes on by itself when the server is back.",
    );
  }
  // A browser has six connections to a server for all its tabs: one that nobody looks at asks for
  // none, or gives its own back after a minute, and reads anew when it is looked at again.
  document.addEventListener("visibilitychange", () => {
    clearTimeout(resting);
    if (document.hidden) resting = setTimeout(rest, REST);
    else if (missed && !source) connect();
  });
  function rest() {
    if (!source) return;
    clearTimeout(timer);
    source.close();
    source = null;
    missed = true;
  }
  addEventListener("pagehide", () => { if (source) source.close(); });
  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
  return { on, connect, rest };
})();
