"use strict";
/* What a line of output looks like: the same as bartos/ansi.py, and held to it by the same corpus.
   `ansi.drawn(text, style)` gives pieces [text, classes], and the style of the next line. */
const ansi = (() => {
  const PARAMETERS_MAX = 32;
  const PLAIN = Object.freeze({ ink: null, paper: null, flags: "" });
  const UNSEEN = Object.freeze({ ink: null, paper: null, flags: "unseen" });
  const unsafe = barto.unsafe;
  const token = new RegExp(
    "(?<csi>(?:\\x1b\\[|\\x9b)(?<parameters>[0-?]*)(?<between>[ -\\/]*)(?<final>[@-~]))" +
    "|(?<string>(?:\\x1b[\\]PX^_]|[\\x90\\x98\\x9d\\x9e\\x9f])[^\\x07\\x1b\\x90\\x98\\x9c-\\x9f]*(?:\\x07|\\x1b\\\\|\\x9c))" +
    "|(?<escape>\\x1b(?:[ -\\/]+[0-~]|[0-OQ-WYZ\\\\`-~])?)" +
    "|(?<move>[\\r\\x08])" +
    "|(?<control>[\\x00-\\x08\\x0a-\\x1f\\x7f-\\x9f])" +
    `|(?<unseen>(?!\\t)[${unsafe}])` +
    "|(?<text>[^\\x00-\\x08\\x0a-\\x1f\\x7f-\\x9f])", "gu");
  const thought = new RegExp(`(?!\\t)[${unsafe}]`, "u");
  const FLAGS = { 1: "bold", 2: "faint", 3: "italic", 4: "under", 7: "turned", 9: "struck" };
  const CUBE = [0, 95, 135, 175, 215, 255];

  const has = (flags, flag) => flags.split(" ").includes(flag);
  const set = (flags, flag) => [...new Set([...flags.split(" "), flag])].filter(Boolean).sort().join(" ");
  const unset = (flags, ...gone) => flags.split(" ").filter((flag) => flag && !gone.includes(flag)).join(" ");
  const same = (a, b) => a === b || (a.ink === b.ink && a.paper === b.paper && a.flags === b.flags);

  function classes(style) {
    if (style === PLAIN) return "";
    const turned = has(style.flags, "turned");
    const ink = turned ? style.paper : style.ink, paper = turned ? style.ink : style.paper;
    const found = [];
    if (ink !== null) found.push("ink", `i${ink}`);
    if (paper !== null) found.push("paper", `p${paper}`);
    if (turned && paper === null) found.push("turned");
    const rest = unset(style.flags, "turned");
    if (rest) found.push(rest);
    return found.join(" ");
  }

  function drawn(text, style) {
    style = style || PLAIN;
    if (!thought.test(text)) return { runs: text ? [[text, classes(style)]] : [], style };
    const cells = [];
    let at = 0;
    const put = (what, how) => { cells[at] = [what, how]; at += 1; };
    for (const found of text.matchAll(token)) {
      const part = found.groups;
      if (part.text !== undefined) put(part.text, style);
      else if (part.csi !== undefined) {
        if (part.between) continue;
        if (part.final === "m") style = changed(style, part.parameters);
        else if (part.final === "K") erase(cells, at, part.parameters);
      } else if (part.move !== undefined) at = part.move === "\r" ? 0 : Math.max(0, at - 1);
      else if (part.unseen !== undefined) put(barto.escaped(part.unseen), UNSEEN);
    }
    const runs = [];
    let last = null;
    for (const [what, how] of cells) {
      if (last && same(last, how)) runs[runs.length - 1][0] += what;
      else runs.push([what, classes(how)]);
      last = how;
    }
    return { runs, style };
  }
  function erase(cells, at, parameters) {
    if (parameters === "" || parameters === "0") cells.length = Math.min(cells.length, at);
    else if (parameters === "1" || parameters === "2") {
      const last = parameters === "2" ? cells.length : Math.min(at + 1, cells.length);
      for (let place = 0; place < last; place += 1) cells[place] = [" ", PLAIN];
    }
  }
  const plain = (text) => (thought.test(text) ? drawn(text).runs.map((run) => run[0]).join("") : text);

  const number = (word) => {
    if (word === "") return 0;
    return /^[0-9]{1,5}$/.test(word) ? Number(word) : null;
  };
  function changed(style, parameters) {
    const groups = parameters.split(";").slice(0, PARAMETERS_MAX).map((group) => group.split(":"));
    let place = 0;
    while (place < groups.length) {
      const group = groups[place];
      place += 1;
      const code = number(group[0]);
      if (code === 38 || code === 48) {
        let rest = group.slice(1);
        if (!rest.length) {
          const flat = groups.slice(place).map((one) => one[0]);
          const length = { 5: 2, 2: 4 }[flat[0] === undefined ? "" : flat[0]] || 1;
          rest = flat.slice(0, length);
          place += Math.min(length, flat.length);
        }
        const colour = mixed(rest);
        if (colour !== null) style = code === 38 ? { ...style, ink: colour } : { ...style, paper: colour };
      } else if (code !== null) style = simple(style, code, group.slice(1));
    }
    return style;
  }
  function mixed(words) {
    const numbers = words.map(number);
    if (numbers.length >= 2 && numbers[0] === 5) return numbers[1] !== null && numbers[1] <= 255 ? numbers[1] : null;
    if (numbers.length >= 4 && numbers[0] === 2) {
      const [red, green, blue] = numbers.length >= 5 ? numbers.slice(2, 5) : numbers.slice(1, 4);
      if (red === null || green === null || blue === null || Math.max(red, green, blue) > 255) return null;
      return nearest(red, green, blue);
    }
    return null;
  }
  function nearest(red, green, blue) {
    if (Math.max(red, green, blue) - Math.min(red, green, blue) < 8) {
      const level = Math.floor((red + green + blue) / 3);
      if (level < 4) return 16;
      return level > 246 ? 231 : 232 + Math.min(23, Math.max(0, Math.floor((level - 3) / 10)));
    }
    const step = (level) => {
      let best = 0;
      CUBE.forEach((value, place) => { if (Math.abs(value - level) < Math.abs(CUBE[best] - level)) best = place; });
      return best;
    };
    return 16 + 36 * step(red) + 6 * step(green) + step(blue);
  }
  function simple(style, code, more) {
    const flags = (changed) => ({ ...style, flags: changed });
    if (code === 0) return PLAIN;
    if (code === 4 && more.length && number(more[0]) === 0) return flags(unset(style.flags, "under"));
    if (FLAGS[code]) return flags(set(style.flags, FLAGS[code]));
    if (code === 21) return flags(set(style.flags, "under"));
    if (code === 22) return flags(unset(style.flags, "bold", "faint"));
    if (FLAGS[code - 20]) return flags(unset(style.flags, FLAGS[code - 20]));
    if (code >= 30 && code <= 37) return { ...style, ink: code - 30 };
    if (code === 39) return { ...style, ink: null };
    if (code >= 40 && code <= 47) return { ...style, paper: code - 40 };
    if (code === 49) return { ...style, paper: null };
    if (code >= 90 && code <= 97) return { ...style, ink: code - 82 };
    if (code >= 100 && code <= 107) return { ...style, paper: code - 92 };
    return style;
  }
  return { drawn, plain, PLAIN };
})();
