// The drawn network: boxes, lines, what is selected, and the steps from box to box by key.

const fonts = {
  title: "600 12.5px system-ui, sans-serif",
  text: "11px system-ui, sans-serif",
  name: "11px ui-monospace, monospace",
};

/** Below this zoom the small print is left out and the operators are written large. */
const farZoom = 0.55;
/** Text is at least nine pixels high from here on. */
const readableZoom = 0.75;

class GraphView {
  /** @param actions { select(box), selectValue(value), moved() } */
  constructor(model, actions) {
    Object.assign(this, { model, actions, layout: null, elements: new Map(), wrap: true });
    this.svg = byId("graph-canvas");
    this.lines = s("g", { class: "lines" });
    this.marks = s("g", { class: "marks" });
    this.boxes = s("g", { class: "boxes" });
    this.group = s("g", {}, this.lines, this.marks, this.boxes);
    this.svg.append(this.group);
    this.viewport = new Viewport(this.svg, this.group, () => {
      this.svg.classList.toggle("far", this.viewport.zoom < farZoom);
      this.svg.classList.toggle("farther", this.viewport.zoom < 0.2);
      actions.moved();
    });
    this.svg.addEventListener("keydown", (event) => this.key(event));
    this.svg.addEventListener("click", (event) => {
      if (event.target === this.svg) actions.select(null);
    });
  }

  /** Lays the network out for the window as it is now, and draws it. */
  draw() {
    this.drawnFor = this.viewport.window;
    this.layout = layoutGraph(this.model, this.drawnFor, this.wrap);
    this.viewport.size = this.layout;
    this.elements.clear();
    replace(this.lines, this.model.nets.map((net) => this.drawNet(net)));
    replace(this.boxes, this.model.boxes.map((box) => this.drawBox(box)));
    this.boxes.firstElementChild?.setAttribute("tabindex", "0");
  }

  drawNet(net) {
    const { path, arrows } = this.layout.lines.get(net);
    const { value } = net;
    return s("g", { class: "net", onclick: () => this.actions.selectValue(value) },
      s("title", {},
        `${printable(tail(value.label, 80))}  ${value.dtype} ${shapeText(value.shape)}`),
      s("path", { class: "reach", d: path }),
      s("path", { class: "line", d: path }),
      s("path", { class: "arrow", d: arrows }));
  }

  drawBox(box) {
    const { x, y } = this.layout.places.get(box);
    const { width, height } = box;
    const pad = 14;
    const room = width - pad - 10;
    const text = (kind, left, baseline, content, anchor) =>
      s("text", { class: kind, x: left, y: baseline, "text-anchor": anchor }, content);
    const scope = printable(tail(box.scope, 80));
    const titleWidth = textWidth(box.opcode, fonts.title) + 8;
    const parts = [];
    const first = height === boxSize.slim ? 16.5 : 17;
    parts.push(text("title detail", pad, first, box.opcode));
    const beside = Math.max(40, room - titleWidth);
    if (box.essence) {
      parts.push(text("essence detail", width - 10, first,
        fitText(box.essence, beside, fonts.text, head), "end"));
    } else if (height === boxSize.slim) {
      parts.push(text("scope detail", width - 10, first, fitText(scope, beside, fonts.name), "end"));
    }
    if (height === boxSize.full) {
      parts.push(text("scope detail", pad, 33, fitText(scope, room, fonts.name)));
    }
    if (height > boxSize.slim) {
      const line = height === boxSize.full ? 49 : 33;
      const shape = fitText(box.shape, room, fonts.text);
      const left = room - textWidth(shape, fonts.text) - 12;
      parts.push(text("shape detail", pad, line, shape));
      if (box.multiplyAdds) {
        parts.push(text("work detail", width - 10, line, short(box.multiplyAdds), "end"));
      } else if (height === boxSize.medium && left > 30) {
        parts.push(text("scope detail", width - 10, line, fitText(scope, left, fonts.name), "end"));
      }
    }
    const size = Math.min(21, (12.5 * room) / textWidth(box.opcode, fonts.title));
    parts.push(s("text", { class: "large", x: width / 2 + 2, y: height / 2 + 0.36 * size,
      "text-anchor": "middle", "font-size": size }, box.opcode));
    if (box.multiplyAdds) {
      const share = box.multiplyAdds / this.model.totals.heaviest;
      parts.push(s("rect", { class: "share", x: 6, y: height - 4,
        width: Math.max(1, (width - 12) * share), height: 2.5, rx: 1.25 }));
    }
    const element = s("g", {
      class: `box ${box.kind} ${box.family} ${box.phase} ${box.again}`, role: "button", tabindex: "-1",
      "aria-label": [box.opcode, box.essence, scope, box.shape].filter(Boolean).join(", "),
      transform: `translate(${x} ${y})`,
      onclick: () => this.actions.select(box),
      onpointerenter: () => this.hover(box), onpointerleave: () => this.hover(null),
    },
    s("title", {}, `${box.opcode} ${box.essence}\n${scope}\n${box.shape}`),
    s("rect", { class: "card", width, height, rx: box.kind === "node" ? 5 : height / 2 }),
    box.kind === "node" && s("path", {
      class: "stripe", d: `M5 0H6V${height}H5a5 5 0 0 1-5-5V5a5 5 0 0 1 5-5z` }),
    parts);
    this.elements.set(box, element);
    return element;
  }

  /** The lines of a selected box or value stand out, with the boxes at their other ends. */
  select({ box = null, value = null }) {
    for (const element of this.svg.querySelectorAll(".selected, .near")) {
      element.classList.remove("selected", "near");
      element.removeAttribute("aria-current");
    }
    this.selection = { box, value };
    this.mark("chosen", box, value);
    for (const target of box ? this.neighbors(box) : this.ends(value)) {
      this.elements.get(target)?.classList.add("near");
    }
    const element = this.elements.get(box ?? value?.producer);
    if (!element) return;
    if (box) element.classList.add("selected");
    element.setAttribute("aria-current", "true");
    // The Tab key comes back to where one was.
    this.boxes.querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
    element.setAttribute("tabindex", "0");
  }

  hover(box) {
    this.mark("hovered", box, null);
  }

  mark(kind, box, value) {
    for (const old of this.marks.querySelectorAll(`.${kind}`)) old.remove();
    const path = (d, side) => s("path", { class: `${kind} ${side}`, d });
    if (box) {
      for (const net of box.reads) {
        const route = this.layout.lines.get(net).routes.get(box);
        if (route) this.marks.append(path(route, "in"));
      }
    }
    const nets = box ? box.writes : this.model.nets.filter((net) => net.value === value);
    for (const net of nets) this.marks.append(path(this.layout.lines.get(net).path, "out"));
  }

  neighbors(box) {
    return [...box.reads.map((net) => net.source), ...box.writes.flatMap((net) => net.targets)];
  }

  ends(value) {
    return value ? [value.producer, ...value.consumers.map((consumer) => consumer.box)] : [];
  }

  /** Shows which boxes a search found; null ends the search. */
  found(boxes) {
    this.svg.classList.toggle("searching", boxes !== null);
    const set = new Set(boxes ?? []);
    for (const [box, element] of this.elements) element.classList.toggle("found", set.has(box));
  }

  /** The first view: all of the drawing or, where that would be too small to read, its beginning. */
  begin() {
    const first = this.model.boxes[0];
    const place = first && this.layout.places.get(first);
    const zoom = readableZoom;
    if (!place || this.viewport.zoom >= zoom) return;
    const below = (this.viewport.window.height / 2 - 28) / zoom;
    this.viewport.center(place.x + first.width / 2, place.y + below, zoom, false);
  }

  /** Brings a box into view: always to the middle where asked, else only if it is not in sight. */
  reveal(box, { always = false, animated = true } = {}) {
    const place = box && this.layout.places.get(box);
    if (!place) return;
    const { viewport } = this;
    const zoom = viewport.zoom < farZoom ? 0.9 : viewport.zoom;
    const { width, height } = viewport.window;
    const left = viewport.x + place.x * viewport.zoom;
    const top = viewport.y + place.y * viewport.zoom;
    const inSight = left > 8 && top > 8 && left + box.width * viewport.zoom < width - 8
      && top + box.height * viewport.zoom < height - 8;
    if (inSight && !always) return;
    viewport.center(
      place.x + box.width / 2, place.y + box.height / 2, always ? zoom : viewport.zoom, animated);
  }

  key(event) {
    const box = [...this.elements].find(([, element]) => element === document.activeElement)?.[0];
    if (!box || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      return this.actions.select(box);
    }
    const next = event.shiftKey ? null : this.step(box, event.key);
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    this.actions.select(next);
    this.elements.get(next).focus({ preventScroll: true });
    this.reveal(next);
  }

  /** Up to what a box reads first, down to what reads it first, left and right by position. */
  step(box, key) {
    if (key === "ArrowUp") return box.reads[0]?.source;
    if (key === "ArrowDown") return box.writes[0]?.targets[0];
    if (key !== "ArrowLeft" && key !== "ArrowRight") return null;
    const here = this.layout.places.get(box);
    const sign = key === "ArrowRight" ? 1 : -1;
    let best = null;
    for (const [other, place] of this.layout.places) {
      const across = (place.x - here.x) * sign;
      if (across < 1) continue;
      const distance = across + 3 * Math.abs(place.y - here.y);
      if (!best || distance < best.distance) best = { other, distance };
    }
    return best?.other;
  }
}
