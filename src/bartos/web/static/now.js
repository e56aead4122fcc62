"use strict";
/* The first page, as things change: each run's event moves its row at once; what only the server
   can count (the verdict bar, what comes next) is asked for as data, at most every two seconds. */
(() => {
  const BAD = new Set(["failed", "timed_out", "interrupted", "lost"]);
  const SHOWN = 20;
  const part = (id) => document.getElementById(id);
  const body = (id) => part(id).querySelector("tbody");
  const blank = (id) => part(`row-${id}`).content.querySelector("tr").cloneNode(true);
  const cell = (row, name) => row.querySelector(`[data-f="${name}"]`);
  const pairOf = (one) => `${one.schedule}\n${one.worker}`;
  const name = (text) => encodeURIComponent(text).replace(/%2F/g, "/");
  const find = (rows, key, value) => [...rows.children].find((row) => row.dataset[key] === value);

  function tell(id) {
    const rows = body(id).children.length;
    const number = part(id).querySelector("[data-number]");
    if (number) number.textContent = rows || "";
    const none = part(id).querySelector("[data-none]");
    if (none) none.hidden = rows > 0;
    else part(id).hidden = rows === 0;
    if (rows) part(id).hidden = false;
  }
  function link(row, path) {
    const there = barto.root + path;
    row.dataset.href = there;
    for (const one of row.querySelectorAll("a")) one.href = there;
  }

  /* -- rows --------------------------------------------------------------------------------- */
  function fillRunning(row, run) {
    row.dataset.run = run.id;
    link(row, `/runs/${run.id}`);
    barto.fill(cell(row, "schedule"), run.schedule);
    barto.fill(cell(row, "worker"), run.worker);
    barto.setTime(cell(row, "elapsed").querySelector("time"), run.started || run.claimed, "elapsed");
    const said = document.createElement("span");
    said.className = "dim";
    said.textContent = barto.harmless(run.stuck || "");
    cell(row, "note").replaceChildren(...(run.stuck ? [barto.mark("stuck"), " ", said] : []));
    const cancel = row.querySelector("button");
    cancel.dataset.post = `${barto.root}/api/v1/runs/${run.id}/cancel`;
    cancel.dataset.confirm = `Cancel ${barto.harmless(run.schedule)} on ${barto.harmless(run.worker)}?`;
  }
  function how(one) {
    if (one.signal) return ` signal ${one.signal}`;
    return one.exit_code ? ` exit ${one.exit_code}` : "";
  }
  function fillFailing(row, one) {
    const same = row.dataset.failed === (one.run || undefined) && cell(row, "note").querySelector(".said-line");
    row.dataset.pair = pairOf(one);
    if (one.run) row.dataset.failed = one.run; else delete row.dataset.failed;
    link(row, one.run ? `/runs/${one.run}` : `/schedules/${name(one.schedule)}`);
    if (!one.run) cell(row, "why").href += `?why=&worker=${encodeURIComponent(one.worker)}`;
    cell(row, "why").href += "#why";
    const code = document.createElement("span");
    code.className = "dim";
    code.textContent = how(one);
    cell(row, "state").replaceChildren(barto.mark(one.state), code);
    barto.fill(cell(row, "schedule"), one.schedule);
    barto.fill(cell(row, "worker"), one.worker);
    cell(row, "slot").replaceChildren(barto.time(one.slot));
    let said = same;
    if (!said) {
      said = document.createElement("span");
      said.className = "dim";
      said.textContent = barto.harmless(one.reason || "");
    }
    const note = [said];
    if (one.times > 1) {
      const times = document.createElement("span");
      times.className = "times";
      times.textContent = `${one.times} in a row`;
      note.unshift(times, " ");
    }
    cell(row, "note").replaceChildren(...note);
    const again = row.querySelector("button");
    const verb = !one.run ? "run" : one.state === "stuck" ? "cancel" : "rerun";
    const place = `${barto.harmless(one.schedule)} on ${barto.harmless(one.worker)}`;
    again.textContent = verb;
    again.dataset.post = barto.root + (one.run ? `/api/v1/runs/${one.run}/${verb}` : "/api/v1/runs");
    again.dataset.body = JSON.stringify(one.run ? {} : { schedule: one.schedule, on: one.worker });
    again.dataset.confirm = verb === "cancel" ? `Cancel ${place}?` : `Run ${place} ${one.run ? "once more" : "now"}?`;
    if (verb === "cancel") delete again.dataset.key; else again.dataset.key = "r";
  }
  function fillNext(row, one) {
    row.dataset.next = one.schedule;
    link(row, `/schedules/${name(one.schedule)}`);
    cell(row, "first").replaceChildren(...barto.between(one.first, one.last));
    barto.fill(cell(row, "schedule"), one.schedule);
    barto.fill(cell(row, "worker"), one.worker || (one.workers === 1 ? "1 worker" : `${one.workers.toLocaleString("en")} workers`));
    barto.setTime(cell(row, "distance").querySelector("time"), one.first, "distance");
  }

  // What each that failed said last: asked for once, for the rows that are seen first.
  const asking = new Set();
  async function quote() {
    for (const row of [...body("failing").children].slice(0, 10)) {
      const run = row.dataset.failed;
      if (!run || asking.has(run)) continue;
      asking.add(run);
      try {
        const told = await barto.ask(`${barto.root}/api/v1/why?run=${run}`);
        const last = told.lines[told.lines.length - 1], place = cell(row, "note").lastElementChild;
        if (!last || row.dataset.failed !== run || !place) continue;
        place.className = "said-line";
        place.title = place.textContent;
        place.textContent = barto.harmless(last);
      } catch { /* the reason stays */ }
    }
  }

  /* -- one run ------------------------------------------------------------------------------ */
  function onRun(run) {
    const running = body("running"), there = find(running, "run", run.id);
    if (run.verdict === null) {
      if (there) fillRunning(there, run);
      else if (running.children.length < SHOWN) {
        const row = blank("running");
        fillRunning(row, run);
        row.classList.add("new");
        running.append(row);
      }
    } else if (there) there.remove();
    tell("running");
    if (run.verdict === null) { later(); return; }
    const failing = body("failing"), known = find(failing, "pair", pairOf(run));
    if (BAD.has(run.verdict)) {
      const row = known || blank("failing");
      const seen = known && known.dataset.href === `${barto.root}/runs/${run.id}`;
      fillFailing(row, { ...run, state: run.verdict, run: run.id, times: 1 });
      if (!seen) { row.classList.add("new"); failing.prepend(row); }
    } else if (known && run.verdict === "ok") known.remove();
    tell("failing");
    later();
    quote();
  }

  /* -- all of it ---------------------------------------------------------------------------- */
  function update(id, key, items, keyOf, fill) {
    const rows = body(id), old = new Map([...rows.children].map((row) => [row.dataset[key], row]));
    const wanted = items.map((item) => {
      let row = old.get(keyOf(item));
      old.delete(keyOf(item));
      if (!row) { row = blank(id); row.classList.add("new"); }
      fill(row, item);
      return row;
    });
    for (const row of old.values()) row.remove();
    wanted.forEach((row, at) => { if (rows.children[at] !== row) rows.insertBefore(row, rows.children[at] || null); });
    tell(id);
  }
  function counts(status) {
    let loud = 0;
    for (const one of document.querySelectorAll("[data-count]")) {
      const number = one.dataset.count.split(" ").reduce((sum, state) => sum + (status.counts[state] || 0), 0);
      one.hidden = number === 0;
      one.querySelector("b").textContent = number.toLocaleString("en");
      if (!one.classList.contains("quiet-state")) loud += number;
    }
    const away = document.querySelector("[data-away]"), gone = status.workers - status.connected;
    away.hidden = gone === 0;
    away.title = barto.harmless(status.away.join(", "));
    away.querySelector("b").textContent = gone.toLocaleString("en");
    away.querySelector("b + span").textContent = gone === 1 ? "worker away" : "workers away";
    document.querySelector("[data-well]").hidden = loud + gone > 0 || status.workers === 0;
    const confirmed = document.querySelector("[data-confirmed]");
    confirmed.hidden = !status.meant;
    confirmed.textContent = `schedules confirmed by ${status.confirmed.toLocaleString("en")} of ${status.meant.toLocaleString("en")} ${status.meant === 1 ? "worker" : "workers"}`;
    if (status.workers > 0 && document.querySelector(".empty h2")?.textContent === "No worker yet") document.querySelector(".empty").remove();
  }
  let asked = 0, timer = 0, looking = false;
  function later() {
    if (!timer) timer = setTimeout(look, Math.max(150, asked + 2000 - Date.now()));
  }
  async function look() {
    asked = Date.now();
    // What happens while the answer is on its way may not be in it: then one looks once more.
    timer = 0;
    if (looking) { later(); return; }
    looking = true;
    try {
      const status = await barto.ask(`${barto.root}/api/v1/status`);
      counts(status);
      update("running", "run", status.running, (run) => run.id, fillRunning);
      update("failing", "pair", status.failing, pairOf, fillFailing);
      update("next", "next", status.next, (one) => one.schedule, fillNext);
    } catch { /* the line above says that the server is away */ }
    looking = false;
    quote();
    soon();
  }
  // When the first planned start has passed, something else is next.
  let waking = 0;
  function soon() {
    clearTimeout(waking);
    const first = body("next").querySelector("time[datetime]");
    if (!first) return;
    const wait = Date.parse(first.getAttribute("datetime")) - barto.now() + 1500;
    waking = setTimeout(later, Math.min(Math.max(wait, 2000), 3600000));
  }

  live.on("run", onRun);
  for (const kind of ["range", "worker", "schedules", "pauses", "status", "reset"]) live.on(kind, later);
  document.addEventListener("acted", later);
  quote();
  soon();
})();
