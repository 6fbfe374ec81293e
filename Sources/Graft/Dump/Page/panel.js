// The side panel: details of the selected node or value, or of the network if nothing is selected.

class Panel {
  /** @param actions { select(box), selectValue(value), search(text), address(box or value) } */
  constructor(model, actions) {
    Object.assign(this, { model, actions });
    this.element = byId("panel");
  }

  show({ box, value }) {
    const content = box?.kind === "node" ? this.node(box)
      : value ? this.value(value) : box ? this.value(box.results[0] ?? box.operands[0], box)
        : this.network();
    replace(this.element, content);
    this.element.scrollTop = 0;
  }

  // The network

  network() {
    const { model } = this;
    const boundary = (kind) => model.boxes.filter((box) => box.kind === kind);
    return [
      h("header", {}, h("h2", {}, "Network"), nameText(model.name, { class: "name sub" })),
      ...this.training(),
      this.section("Inputs", boundary("input").map((box) => this.valueRow(box.results[0]))),
      this.section("Outputs", boundary("output").map((box) =>
        this.valueRow(box.operands[0], box.scope))),
      this.section("Operators", this.operatorTable()),
      model.memory && this.section("Largest values in memory", this.largestValues()),
    ];
  }

  /** The frozen operators and cached values of a training step. */
  training() {
    const { training } = this.model;
    if (!training) return [];
    const parameters = training.frozen.reduce((sum, one) => sum + one.parameters, 0);
    return [
      this.section("Cached at the freeze line", training.cached.map((one) =>
        h("p", {}, nameText(one.name),
          h("span", { class: "aside" }, `${shapeText(one.shape)}, ${bytes(one.bytes_per_image)}`)))),
      training.frozen.length > 0 && this.section(
        `Frozen: ${grouped(training.frozen.length)} operators, ${short(parameters)} parameters`,
        training.frozen.map((one) => h("p", {}, one.opcode, " ", nameText(one.scope),
          h("span", { class: "aside" }, one.shape.replaceAll(",", " ×").replace(/[[\]]/g, ""))))),
    ];
  }

  operatorTable() {
    const { nodes, totals } = this.model;
    const rows = new Map();
    for (const node of nodes) {
      const row = rows.get(node.opcode)
        ?? { opcode: node.opcode, family: node.family, count: 0, parameters: 0, work: 0 };
      row.count += 1;
      row.parameters += node.parameterCount;
      row.work += node.multiplyAdds;
      rows.set(node.opcode, row);
    }
    const sorted = [...rows.values()].sort(
      (a, b) => b.work - a.work || b.count - a.count || (a.opcode < b.opcode ? -1 : 1));
    return h("table", { class: "figures" },
      h("thead", {}, h("tr", {},
        h("th", { scope: "col" }, "operator"), h("th", { scope: "col" }, "nodes"),
        h("th", { scope: "col" }, "parameters"), h("th", { scope: "col" }, "mult-adds"))),
      h("tbody", {}, sorted.map((row) => h("tr", {},
        h("th", { scope: "row" }, swatch(row.family),
          h("button", { class: "link", onclick: () => this.actions.search(row.opcode) },
            row.opcode)),
        h("td", {}, grouped(row.count)),
        h("td", {}, row.parameters ? short(row.parameters) : "–"),
        h("td", {}, row.work ? percent(row.work / totals.multiplyAdds) : "–")))));
  }

  largestValues() {
    const largest = [...this.model.memory.placements]
      .sort((a, b) => b.bytes - a.bytes || a.id - b.id).slice(0, 12);
    return largest.map((place) => this.valueRow(place.value, null, bytes(place.bytes)));
  }

  // A node

  node(box) {
    const { totals, nodes } = this.model;
    const share = totals.multiplyAdds ? box.multiplyAdds / totals.multiplyAdds : 0;
    return [
      this.heading(box.family, box.opcode, box.scope),
      box.summary && h("p", { class: "summary" }, box.summary),
      this.facts([
        ["Step", [grouped(box.step),
          h("span", { class: "aside" }, `of 0 … ${grouped(nodes.length - 1)}`)]],
        ["Multiply-adds", box.multiplyAdds
          ? [grouped(box.multiplyAdds), h("span", { class: "aside" }, percent(share))] : "none"],
        ["Phase", [box.phase, box.again].filter(Boolean).join(", ") || null],
        ["Parameters", box.parameterCount ? grouped(box.parameterCount) : null],
      ]),
      box.origins.length > 0 && this.section(
        box.origins.length === 1 ? "Computes the node" : `Computes ${box.origins.length} nodes`,
        h("ul", { class: "names" }, box.origins.map((name) => h("li", {}, nameText(name))))),
      this.attributes(box.attributes),
      box.kernel && this.kernel(box.kernel),
      this.section("Operands", box.operands.map((value, index) =>
        this.operand(value, box.roles[Math.min(index, box.roles.length - 1)]))),
      this.section(box.results.length === 1 ? "Result" : "Results",
        box.results.map((value) => [
          this.valueRow(value), this.consumers(value), this.placement(value)])),
    ];
  }

  attributes(attributes) {
    const names = Object.keys(attributes).sort();
    if (names.length === 0) return null;
    return this.section("Attributes", this.facts(names.map((name) =>
      [name, nameText(attributeText(attributes[name]))])));
  }

  kernel({ family, algorithm, element, time }) {
    const whole = this.model.totals.kernelTime;
    return this.section("Kernel",
      this.facts([
        ["Family", family.replaceAll("_", " ")],
        ["Computes in", element],
        ["Estimated time", time ? [`${short(time)} vector multiply-adds`,
          h("span", { class: "aside" }, percent(time / whole))] : "none: a view"],
      ]),
      algorithm && h("p", { class: "summary" }, printable(algorithm)));
  }

  operand(value, role) {
    if (!value) {
      return h("div", { class: "value absent" },
        role && h("span", { class: "role" }, role), "absent");
    }
    const row = this.valueRow(value, role);
    if (!value.parameter) {
      const maker = value.producer;
      return [row, maker && h("p", { class: "from" }, "from ", this.boxLink(maker))];
    }
    return [row, this.parameterNote(value)];
  }

  parameterNote(value) {
    const { elements, trained, group, derivation } = value.parameter;
    const size = tensorBytes(value.dtype, elements);
    const parts = [
      `parameter, ${grouped(elements)} element${elements === 1 ? "" : "s"}`,
      size === null ? null : bytes(size), trained && "trained", group && `group ${group}`,
    ].filter(Boolean).join(", ");
    return [
      h("p", { class: "from" }, printable(parts)),
      derivation && h("p", { class: "from" }, nameText(derivation)),
    ];
  }

  // A value

  value(value, box) {
    const family = value.producer?.family ?? "boundary";
    const kind = box?.kind === "output" ? "Output" : value.parameter ? "Parameter"
      : value.producer?.kind === "input" ? "Input" : "Value";
    return [
      this.heading(family, kind, box?.kind === "output" ? box.scope : value.label),
      this.facts([
        ["Type", value.dtype],
        ["Shape", shapeText(value.shape)],
        ["Layout", layoutText(value.layout)],
        ["Number", `%${value.id}`],
        value.outputs.length > 0 && ["Output as", value.outputs.map((name) => nameText(name))],
      ]),
      value.parameter && this.section("Parameter", this.parameterNote(value)),
      value.producer?.kind === "node" && this.section("Defined by", this.boxLink(value.producer)),
      this.section("Read by", this.consumers(value)),
      value.placement && this.section("Memory", this.placement(value)),
    ];
  }

  consumers(value) {
    const boxes = [...new Set(value.consumers.map((consumer) => consumer.box))];
    if (boxes.length === 0) return h("p", { class: "from" }, "read by nothing");
    return h("ul", { class: "links" }, boxes.map((box) => h("li", {}, "to ", this.boxLink(box))));
  }

  placement(value) {
    const place = value.placement;
    if (!place && value.aliasOf) {
      return this.facts([["In place of", this.valueLink(value.aliasOf)]]);
    }
    if (!place) {
      const away = this.model.memory && value.producer && "not in the arena: the caller holds it";
      return away && h("p", { class: "from" }, away);
    }
    return this.facts([
      ["Address", `${grouped(place.address)} … ${grouped(place.address + place.bytes)}`],
      ["Size", [bytes(place.bytes), place.per_batch
        ? h("span", { class: "aside" }, "times the batch") : ""]],
      ["Live", `steps ${grouped(place.first_step)} … ${grouped(place.last_step)}`],
      value.aliasOf && ["In place of", this.valueLink(value.aliasOf)],
      place.aliases.length > 0 && !value.aliasOf
        && ["Shared with", place.aliases.map((alias) => this.valueLink(alias))],
    ]);
  }

  // Pieces

  heading(family, title, name) {
    return h("header", { class: family },
      h("h2", {}, swatch(family), title),
      h("button", {
        class: "close", "aria-label": "Close", onclick: () => this.actions.select(null),
      }, "×"),
      name ? nameText(name, { class: "name sub" }) : null);
  }

  section(title, ...content) {
    return h("section", {}, h("h3", {}, title), content);
  }

  facts(rows) {
    return h("dl", {}, rows.filter((row) => row && row[1] !== null)
      .map(([term, content]) => [h("dt", {}, printable(term)), h("dd", {}, content)]));
  }

  valueRow(value, role, aside) {
    return h("div", { class: "value" },
      role && h("span", { class: "role" }, printable(role)),
      this.valueLink(value),
      h("span", { class: "type" }, `${value.dtype} ${shapeText(value.shape)}`,
        aside && h("span", { class: "aside" }, aside)),
      value.layout && h("span", { class: "type" }, layoutText(value.layout)));
  }

  valueLink(value) {
    const label = nameText(tail(value.label, 200));
    return this.link(value, () => this.actions.selectValue(value), label);
  }

  boxLink(box) {
    return this.link(box, () => this.actions.select(box),
      swatch(box.family), box.opcode, " ", nameText(tail(box.scope, 200)));
  }

  /** A link that can be copied; following it keeps the search and the view. */
  link(target, follow, ...content) {
    return h("a", {
      href: this.actions.address(target),
      onclick: (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        follow();
      },
    }, content);
  }
}

/** An attribute's value: lists with spaces, numbers to the digits that a float32 has. */
function attributeText(value) {
  if (typeof value === "number") return String(Number(value.toPrecision(8)));
  if (Array.isArray(value)) return `[${value.map(attributeText).join(", ")}]`;
  return String(value);
}
