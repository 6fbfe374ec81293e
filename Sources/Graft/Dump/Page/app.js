// Connects the modules. The URL fragment is the state of the page (node, value, search, view), so that a
// link restores it and the browser's Back button undoes a step.

function start() {
  const data = JSON.parse(byId("graph").textContent);
  const operators = JSON.parse(byId("operators").textContent);
  const model = buildModel(data, operators);
  document.title = `${printable(tail(model.name, 60))} · ${model.stage}`;

  let state = {};
  const go = (change) => {
    apply({ ...state, ...change });
    const hash = writeFragment(state);
    if (location.hash !== hash && (hash !== "#" || location.hash)) location.hash = hash;
  };
  const selectValue = (value) => go({ node: null, value: null, ...linkOf(model, value) });
  const select = (box, more) => go({ node: null, value: null, ...linkOf(model, box), ...more });

  const graph = new GraphView(model, { select, selectValue, moved: () => minimap?.update() });
  const minimap = new Minimap(model, graph);
  const memory = model.memory ? new MemoryView(model, { selectValue }) : null;
  const panel = new Panel(model, {
    select, selectValue, search: (text) => go({ search: text }),
    address: (target) => writeFragment(linkOf(model, target)),
  });
  const search = new Search(model, {
    go: (box) => {
      select(box, { view: null });
      graph.reveal(box, { always: true });
    },
    changed: (query, boxes) => {
      graph.found(boxes);
      state.search = query || null;
      replaceFragment(writeFragment(state));
    },
  });
  const camera = () => (state.view === "memory" ? memory : graph.viewport);

  function apply(next, { animated = true } = {}) {
    const first = state.applied === undefined;
    const before = state;
    state = { ...next, applied: true };
    if (state.view === "memory" && !memory) state.view = null;
    const box = state.node ? findNode(model, state.node) : null;
    const value = !box && state.value ? findValue(model, state.value) : null;
    const inMemory = state.view === "memory";
    document.body.classList.toggle("memory", inMemory);
    for (const tab of document.querySelectorAll("[data-view]")) {
      tab.setAttribute("aria-pressed", String((tab.dataset.view === "memory") === inMemory));
    }
    if (first || (state.search ?? "") !== search.query) search.run(state.search ?? "", false);
    panel.show({ box, value });
    graph.select({ box, value });
    memory?.select(value ?? box?.results.find((result) => result.placement) ?? null);
    if (inMemory && before.view !== "memory") memory.draw();
    if (!inMemory && before.view === "memory") resize();
    const changed = state.node !== before.node || state.value !== before.value;
    if (changed && (box || value?.producer)) {
      graph.reveal(box ?? value.producer, { always: first, animated });
    }
  }

  function redraw() {
    graph.draw();
    graph.viewport.fit(false);
    minimap.draw();
    graph.found(search.query ? search.matches : null);
    if (graph.selection) graph.select(graph.selection);
  }

  /** If the whole graph is shown, lays it out again for the new window size. */
  function resize() {
    if (state.view === "memory") return memory.draw();
    const { width, height } = graph.viewport.window;
    const same = width === graph.drawnFor.width && height === graph.drawnFor.height;
    if (graph.viewport.fitted && !same) redraw();
    minimap.update();
  }

  drawHeader(model);
  drawLegend(model, (family) => go({ search: families[family].label }));
  redraw();
  graph.begin();
  apply(readFragment(), { animated: false });

  addEventListener("hashchange", () => {
    const given = readFragment();
    if (writeFragment(given) !== writeFragment(state)) apply(given);
  });
  let waiting = 0;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(resize, 100);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => minimap.draw());

  const commands = {
    in: () => camera().zoomBy(1.3),
    out: () => camera().zoomBy(1 / 1.3),
    fit: () => camera().fit(),
    actual: () => graph.viewport.zoomBy(1 / graph.viewport.zoom),
    wrap: () => {
      graph.wrap = !graph.wrap;
      byId("wrap").setAttribute("aria-pressed", String(graph.wrap));
      redraw();
      if (!graph.wrap) graph.reveal(graph.selection.box ?? model.boxes[0], { always: true });
    },
    graph: () => go({ view: null }),
    memory: () => memory && go({ view: "memory" }),
    search: () => byId("search").select(),
    help: () => (byId("help").open ? byId("help").close() : byId("help").showModal()),
    clear: () => go({ node: null, value: null, search: null }),
  };
  for (const button of document.querySelectorAll("[data-command]")) {
    button.addEventListener("click", () => commands[button.dataset.command]());
  }
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
    if (event.target.closest("input")) return;
    const arrow = {
      ArrowLeft: [80, 0], ArrowRight: [-80, 0], ArrowUp: [0, 80], ArrowDown: [0, -80],
    }[event.key];
    if (arrow && !event.target.closest("#panel")) {
      event.preventDefault();
      return camera().panBy(...arrow);
    }
    const command = {
      "+": "in", "=": "in", "-": "out", "0": "fit", "1": "actual", w: "wrap", g: "graph",
      m: "memory", "/": "search", "?": "help", Escape: "clear",
    }[event.key];
    if (!command) return;
    event.preventDefault();
    commands[command]();
  });
}

// The fragment

const stateKeys = ["node", "value", "search", "view"];

function readFragment() {
  const given = new URLSearchParams(location.hash.slice(1));
  return Object.fromEntries(stateKeys.map((key) => [key, given.get(key) || null]));
}

function writeFragment(state) {
  const parts = stateKeys.filter((key) => state[key])
    .map((key) => `${key}=${encodeURIComponent(state[key])}`);
  return `#${parts.join("&")}`;
}

/** Changes the URL without a history entry, if the browser allows it for files. */
function replaceFragment(hash) {
  if (location.hash === hash || (hash === "#" && !location.hash)) return;
  try {
    history.replaceState(null, "", hash);
  } catch {
    // The URL is then not updated, which has no other effect.
  }
}

/** Whether a name is suitable for a URL: short, and not the number of a value. */
const linkable = (name) => Boolean(name) && name.length <= 200 && !name.startsWith("%");

/** The fragment of a node: its name in the model if that is unique, else its first result. */
function linkOfNode(model, box) {
  const name = box.origins[0];
  const own = linkable(name)
    && model.nodes.filter((other) => other.origins.includes(name)).length === 1;
  return own ? name : `%${box.results[0]?.id}`;
}

/** The fragment that selects a node, a value, or the value of an input or output; null for none. */
function linkOf(model, target) {
  if (!target) return {};
  if (target.kind === "node") return { node: linkOfNode(model, target) };
  const value = target.kind ? target.results[0] ?? target.operands[0] : target;
  return { value: linkOfValue(model, value) };
}

function findNode(model, link) {
  return model.nodes.find((box) => box.origins.includes(link))
    ?? model.nodes.find((box) => box.results.some((r) => `%${r.id}` === link || r.name === link))
    ?? model.nodes.find((box) => box.scope === link) ?? null;
}

function linkOfValue(model, value) {
  const own = linkable(value.name)
    && [...model.values.values()].filter((other) => other.name === value.name).length === 1;
  return own ? value.name : `%${value.id}`;
}

function findValue(model, link) {
  const all = [...model.values.values()];
  return all.find((value) => `%${value.id}` === link) ?? all.find((value) => value.name === link)
    ?? null;
}

// The frame

function drawHeader(model) {
  const { totals, memory } = model;
  byId("name").textContent = printable(tail(model.name, 60));
  byId("stage").textContent = model.stage;
  const figure = (label, value, note) =>
    h("div", { title: note }, h("dt", {}, label), h("dd", {}, value));
  const over = memory?.lowerBoundBytes ? memory.arenaBytes / memory.lowerBoundBytes - 1 : 0;
  replace(byId("totals"),
    figure("nodes", grouped(model.nodes.length)),
    figure("parameters", short(totals.parameters),
      `${grouped(totals.parameters)} elements, ${bytes(totals.parameterBytes)}`),
    totals.trained > 0
      && figure("trained", short(totals.trained), `${grouped(totals.trained)} elements`),
    figure("multiply-adds", short(totals.multiplyAdds),
      `${grouped(totals.multiplyAdds)} at batch 1`),
    memory && figure("arena", bytes(memory.arenaBytes),
      `${grouped(memory.arenaBytes)} bytes at batch 1, ${percent(over)} over the lower bound`));
  for (const element of document.querySelectorAll(".if-memory")) element.hidden = !memory;
}

function drawLegend(model, choose) {
  const counts = new Map();
  for (const box of model.nodes) counts.set(box.family, (counts.get(box.family) ?? 0) + 1);
  replace(byId("legend"), Object.keys(families).filter((name) => counts.has(name)).map((name) =>
    h("li", {}, h("button", { onclick: () => choose(name), title: "Search for this group" },
      swatch(name), families[name].label,
      h("span", { class: "aside" }, grouped(counts.get(name)))))));
}

start();
