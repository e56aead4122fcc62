"use strict";
/* Schedules, as they change. A run that begins or ends changes the state in its schedule's row at
   once; the row with its strip is asked for anew when the run has ended, at most every two seconds
   for each schedule. On the page of one schedule, its runs come and change by themselves. */
(() => {
  const table = document.getElementById("schedules");
  const rowOf = (schedule) => [...table.tBodies[0].rows].find((row) => row.dataset.schedule === schedule);

  /* -- all schedules ------------------------------------------------------------------------ */
  const waiting = new Map();
  function renew(schedule) {
    if (waiting.has(schedule) || !rowOf(schedule)) return;
    waiting.set(schedule, setTimeout(async () => {
      waiting.delete(schedule);
      const told = await fragment(schedule);
      const row = rowOf(schedule), fresh = told && told.querySelector("tr");
      if (!row || !fresh) return;
      const chosen = row.classList.contains("chosen");
      row.replaceWith(document.adoptNode(fresh));
      if (chosen) barto.choose(fresh);
    }, waiting.size ? 2000 : 300));
  }
  function inTable(run) {
    const row = rowOf(run.schedule);
    if (!row) return;
    const distance = document.createElement("span");
    distance.className = "dim";
    distance.append(barto.time(run.slot, "distance"));
    row.querySelector('[data-f="last"]').replaceChildren(barto.mark(run.verdict || "running"), " ", distance);
    if (run.verdict !== null) renew(run.schedule);
  }
  function barAt(event) {
    const strip = event.target.closest("svg[data-strip]");
    if (!strip) return null;
    const runs = strip.dataset.strip.split(" ");
    const place = Math.floor((event.clientX - strip.getBoundingClientRect().left) / 5);
    const run = runs[place - (30 - runs.length)];
    return run && run !== "-" ? run : null;
  }

  // The event names all that is paused now; "*" is a pause of everything.
  const isMeant = (told, schedule) => told.schedules.includes(schedule) || told.schedules.includes("*");
  const isPaused = (place) => place.querySelector('[data-key="p"]').textContent.trim() === "resume";
  async function fragment(schedule) {
    const answer = await fetch(`${barto.root}/fragments/schedule?name=${encodeURIComponent(schedule)}`).catch(() => null);
    return answer && answer.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
  }

  /* -- one schedule ------------------------------------------------------------------------- */
  const strip = document.getElementById("strip");
  const shown = strip && strip.dataset.schedule;
  const head = () => document.querySelector("main .head");
  async function renewHead() {
    const told = await fragment(shown);
    if (!told) return;
    for (const place of ["main .head", "#strip"]) {
      const fresh = told.querySelector(place.replace("main ", ""));
      if (fresh) document.querySelector(place).replaceWith(document.adoptNode(fresh));
    }
  }
  let ended = 0;
  function renewSoon() {
    if (!ended) ended = setTimeout(() => { ended = 0; renewHead(); }, 1000);
  }
  function inRuns(run) {
    if (run.schedule !== shown) return;
    const rows = document.querySelector("#runs tbody");
    if (!rows) { again(); return; }
    let row = [...rows.children].find((one) => one.dataset.run === run.id);
    if (!row) {
      row = document.createElement("tr");
      row.dataset.run = run.id;
      row.dataset.href = `${barto.root}/runs/${run.id}`;
      row.className = "new";
      for (const kind of ["time main-cell", "dim", "no-wrap", "right num"]) row.insertCell().className = kind;
      rows.prepend(row);
    }
    const [due, worker, state, took] = row.cells;
    const link = document.createElement("a");
    link.href = `${barto.root}/runs/${run.id}`;
    link.append(barto.time(run.slot));
    due.replaceChildren(link);
    barto.fill(worker, run.worker);
    const code = document.createElement("span");
    code.className = "dim";
    code.textContent = run.signal ? ` signal ${run.signal}` : run.exit_code ? ` exit ${run.exit_code}` : "";
    state.replaceChildren(barto.mark(run.verdict || "running"), code);
    if (run.verdict === null) took.replaceChildren(run.started ? barto.time(run.started, "elapsed") : "");
    else { took.textContent = barto.duration(run.seconds); renewSoon(); }
    while (rows.children.length > 30) rows.lastElementChild.remove();
  }

  if (table) {
    live.on("run", inTable);
    live.on("pauses", (told) => { for (const row of table.tBodies[0].rows) if (isPaused(row) !== isMeant(told, row.dataset.schedule)) renew(row.dataset.schedule); });
    document.addEventListener("acted", (event) => { const row = event.target.closest("tr"); if (row) renew(row.dataset.schedule); });
    document.addEventListener("click", (event) => { const run = barAt(event); if (run) location.href = `${barto.root}/runs/${run}`; });
  }
  if (strip) {
    live.on("run", inRuns);
    live.on("pauses", (told) => { if (isPaused(head()) !== isMeant(told, shown)) renewHead(); });
    document.addEventListener("acted", renewHead);
  }
  // Some events did not reach this page: what it shows is read anew, at most every five seconds.
  let read = 0, reading = 0;
  function again() {
    if (!reading) reading = setTimeout(readAgain, Math.max(300, read + 5000 - Date.now()));
  }
  async function readAgain() {
    read = Date.now();
    const answer = await fetch(location.href).catch(() => null);
    reading = 0;
    if (!answer || !answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const place of ["#schedules tbody", "main .head", "#strip", "#starts", "#runs", "#holes"]) {
      const old = document.querySelector(place), now = fresh.querySelector(place);
      if (old && now) old.replaceWith(document.adoptNode(now));
    }
  }
  live.on("reset", again);
  live.on("schedules", (told) => {
    const names = table ? [...table.tBodies[0].rows].map((row) => row.dataset.schedule) : [shown];
    if (!shown || told.schedules.some((one) => names.includes(one))) barto.offer("Other schedules are in force than this page shows.");
  });
})();
