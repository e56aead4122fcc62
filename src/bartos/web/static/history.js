"use strict";
/* The history: names are completed as one types, and rows on the page follow their runs. */
(() => {
  for (const field of document.querySelectorAll("[data-names]")) {
    let waiting = 0, asked = null;
    const complete = async () => {
      const begin = field.value;
      if (begin === asked) return;
      asked = begin;
      try {
        const told = await barto.ask(`${barto.root}/api/v1/names/${field.dataset.names}?begin=${encodeURIComponent(begin)}`);
        if (field.value !== begin) return;
        field.list.replaceChildren(...told.names.map((one) => {
          const option = document.createElement("option");
          option.value = one.name;
          option.label = barto.harmless(one.about ? `${one.name} (${one.about})` : one.name);
          return option;
        }));
      } catch { /* without it one types the whole name */ }
    };
    field.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(complete, 150); });
    field.addEventListener("focus", complete);
  }
  for (const field of document.querySelectorAll("#filters [type=date], #filters select, #filters [type=checkbox]"))
    field.addEventListener("change", () => field.form.requestSubmit());

  const rows = document.getElementById("history");
  if (rows) live.on("run", (run) => {
    const row = rows.querySelector(`tr[data-run="${CSS.escape(run.id)}"]`);
    if (!row) return;
    const part = (name) => row.querySelector(`[data-f="${name}"]`);
    barto.fill(part("state"), barto.mark(run.stuck ? "stuck" : run.verdict || "running"));
    if (run.verdict) barto.fill(part("took"), barto.duration(run.seconds));
    else if (run.started) barto.fill(part("took"), barto.time(run.started, "elapsed"));
    barto.fill(part("reason"), run.stuck || run.reason);
  });
})();
