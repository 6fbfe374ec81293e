// The memory plan as a map: steps from left to right, addresses from bottom to top, each value a
// rectangle over the steps during which it must keep its contents.

const mapMargin = { left: 68, right: 20, top: 30, bottom: 46 };

class MemoryView {
  /** @param actions { selectValue(value), moved() } */
  constructor(model, actions) {
    Object.assign(this, { model, actions, from: 0, steps: Math.max(1, model.nodes.length) });
    this.svg = byId("memory-canvas");
    this.tip = byId("tip");
    this.to = this.steps;
    this.live = liveBytes(model.memory.placements, this.steps);
    this.plot = s("g", {});
    this.cursor = s("line", { class: "cursor", visibility: "hidden" });
    this.svg.append(this.plot, this.cursor);
    this.svg.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-event.deltaY * [1, 33, 400][event.deltaMode] * 0.0018),
        this.stepAt(event));
    }, { passive: false });
    this.svg.addEventListener("pointermove", (event) => this.move(event));
    this.svg.addEventListener("pointerleave", () => this.leave());
    this.svg.addEventListener("pointerdown", () => { this.traveled = 0; });
    this.svg.addEventListener("click", (event) => {
      const place = this.placeOf(event.target);
      if (this.traveled < 4) this.actions.selectValue(place?.value ?? null);
    });
  }

  get frame() {
    const { left, right, top, bottom } = mapMargin;
    return {
      left, top, width: Math.max(50, this.svg.clientWidth - left - right),
      height: Math.max(50, this.svg.clientHeight - top - bottom),
    };
  }

  x(step) {
    const { left, width } = this.frame;
    return left + ((step - this.from) / (this.to - this.from)) * width;
  }

  y(address) {
    const { top, height } = this.frame;
    const { arenaBytes, lowerBoundBytes } = this.model.memory;
    return top + height - (address / Math.max(1, arenaBytes, lowerBoundBytes)) * height;
  }

  stepAt(event) {
    const { left, width } = this.frame;
    const x = event.clientX - this.svg.getBoundingClientRect().left;
    return this.from + ((x - left) / width) * (this.to - this.from);
  }

  draw() {
    const { memory } = this.model;
    const { left, top, width, height } = this.frame;
    const clip = s("clipPath", { id: "map-clip" },
      s("rect", { x: left, y: 0, width, height: top + height + 20 }));
    const visible = memory.placements.filter((place) =>
      place.last_step + 1 > this.from && place.first_step < this.to);
    replace(this.plot, clip, this.grid(),
      s("g", { "clip-path": "url(#map-clip)" }, this.strip(), visible.map((p) => this.block(p)),
        s("path", { class: "live", d: this.liveLine() }), visible.map((p) => this.label(p))),
      this.level(memory.arenaBytes, "arena", `arena ${bytes(memory.arenaBytes)}`, true),
      this.level(memory.lowerBoundBytes, "bound", `lower bound ${bytes(memory.lowerBoundBytes)}`,
        false),
      memory.fixedBytes > 0
        && this.level(memory.batchBytes, "region", "below: times the batch", false),
      s("text", { class: "axis", x: left + width / 2, y: top + height + 40,
        "text-anchor": "middle" }, "step"));
    this.select(this.selected ?? null);
  }

  grid() {
    const { left, top, width, height } = this.frame;
    const lines = [];
    for (const address of ticks(0, this.model.memory.arenaBytes, height / 60, 2)) {
      const y = this.y(address);
      lines.push(s("line", { class: "grid", x1: left, x2: left + width, y1: y, y2: y }),
        s("text", { class: "axis", x: left - 8, y: y + 4, "text-anchor": "end" }, bytes(address)));
    }
    for (const step of ticks(this.from, this.to, width / 90, 10)) {
      const x = this.x(step);
      lines.push(s("line", { class: "grid", x1: x, x2: x, y1: top, y2: top + height }),
        s("text", { class: "axis", x, y: top + height + 26, "text-anchor": "middle" },
          grouped(step)));
    }
    return lines;
  }

  /** Below the map, the family of the operator at each step. */
  strip() {
    const { top, height } = this.frame;
    return this.model.nodes.filter((box) => box.step + 1 > this.from && box.step < this.to)
      .map((box) => {
        const [x, next] = [this.x(box.step), this.x(box.step + 1)];
        return s("rect", { class: `strip ${box.family}`, x, y: top + height + 4,
          width: Math.max(0.5, next - x - 0.5), height: 6 });
      });
  }

  block(place) {
    const [x1, x2] = [this.x(place.first_step), this.x(place.last_step + 1)];
    const [y1, y2] = [this.y(place.address + place.bytes), this.y(place.address)];
    const family = place.value.producer?.family ?? "boundary";
    const block = s("rect", { class: `block ${family}`, x: x1 + 0.5, y: y1 + 0.5,
      width: Math.max(1, x2 - x1 - 1), height: Math.max(1, y2 - y1 - 1) });
    block.place = place;
    return block;
  }

  label(place) {
    const x = Math.max(this.x(place.first_step), mapMargin.left) + 6;
    const width = this.x(place.last_step + 1) - x - 6;
    const [high, low] = [this.y(place.address + place.bytes), this.y(place.address)];
    if (width < 58 || low - high < 15) return null;
    return s("text", { class: "label", x, y: (high + low) / 2 + 4 },
      fitText(printable(tail(place.value.producer?.scope || nameOf(place.value), 120)), width,
        fonts.name));
  }

  liveLine() {
    return this.live.map((sum, step) =>
      `${step ? "V" : `M${this.x(0)} `}${this.y(sum)}H${this.x(step + 1)}`).join("");
  }

  level(address, kind, text, above) {
    const { left, width } = this.frame;
    const y = this.y(address);
    return s("g", { class: `level ${kind}` },
      s("line", { x1: left, x2: left + width, y1: y, y2: y }),
      s("text", { x: above ? left + width : left + 6, y: y - 6,
        "text-anchor": above ? "end" : "start" }, text));
  }

  /** Marks the rectangle of a value and tells where it is. */
  select(value) {
    this.selected = value;
    for (const block of this.plot.querySelectorAll(".block")) {
      const chosen = value !== null && block.place === value.placement;
      block.classList.toggle("selected", chosen);
      if (chosen) block.parentNode.insertBefore(block, block.parentNode.querySelector(".live"));
    }
  }

  placeOf(target) {
    return target.place;
  }

  move(event) {
    if (event.buttons === 1) {
      this.traveled = (this.traveled ?? 0) + Math.abs(event.movementX);
      this.panBy(event.movementX);
    }
    const step = Math.floor(this.stepAt(event));
    const node = this.model.nodes[step];
    const { top, height } = this.frame;
    if (!node || step < this.from - 1 || step > this.to) return this.leave();
    const x = this.x(step + 0.5);
    for (const [key, at] of Object.entries({ x1: x, x2: x, y1: top, y2: top + height })) {
      this.cursor.setAttribute(key, at);
    }
    this.cursor.setAttribute("visibility", "visible");
    const place = this.placeOf(event.target);
    replace(this.tip,
      place && h("p", {}, swatch(place.value.producer?.family ?? "boundary"),
        nameText(tail(nameOf(place.value), 60))),
      place && h("p", {}, `${bytes(place.bytes)} at ${grouped(place.address)}, steps `
        + `${grouped(place.first_step)} … ${grouped(place.last_step)}`),
      h("p", { class: place ? "aside" : "" },
        `step ${grouped(step)}: ${node.opcode}, ${bytes(this.live[step])} live`));
    this.tip.hidden = false;
    const frame = this.svg.parentNode.getBoundingClientRect();
    const left = Math.min(event.clientX - frame.left + 14, frame.width - this.tip.offsetWidth - 8);
    const below = event.clientY - frame.top + 16;
    const flip = below + this.tip.offsetHeight > frame.height;
    this.tip.style.left = `${left}px`;
    this.tip.style.top = `${flip ? below - this.tip.offsetHeight - 30 : below}px`;
  }

  leave() {
    this.tip.hidden = true;
    this.cursor.setAttribute("visibility", "hidden");
  }

  // The camera, with the same verbs as the graph's

  fit() {
    this.show(0, this.steps);
  }

  zoomBy(factor, around = (this.from + this.to) / 2) {
    const least = Math.min(4, this.steps);
    const span = Math.min(this.steps, Math.max(least, (this.to - this.from) / factor));
    const share = (around - this.from) / (this.to - this.from);
    this.show(around - share * span, around + (1 - share) * span);
  }

  panBy(pixels) {
    const steps = (pixels / this.frame.width) * (this.to - this.from);
    this.show(this.from - steps, this.to - steps);
  }

  show(from, to) {
    const span = to - from;
    this.from = Math.max(0, Math.min(from, this.steps - span));
    this.to = this.from + span;
    this.draw();
  }
}

/** The name of a value, else its producer. */
function nameOf(value) {
  return value.name ?? (value.producer?.scope || `%${value.id}`);
}

/** The bytes that are live at each step. */
function liveBytes(placements, steps) {
  const live = new Array(steps).fill(0);
  for (const { first_step: first, last_step: last, bytes: size } of placements) {
    const end = Math.min(last, steps - 1);
    for (let step = Math.max(0, first); step <= end; step += 1) live[step] += size;
  }
  return live;
}

/** About `count` round numbers: a power of `base` apart, of ten also its half or fifth. */
function ticks(from, to, count, base) {
  const rough = Math.max(1, (to - from) / Math.max(1, count));
  let step = base ** Math.ceil(Math.log(rough) / Math.log(base) - 1e-9);
  if (base === 10) {
    step = [step / 5, step / 2].find((finer) => finer >= rough && Number.isInteger(finer)) ?? step;
  }
  const all = [];
  for (let tick = Math.ceil(from / step) * step; tick <= to; tick += step) all.push(tick);
  return all;
}
