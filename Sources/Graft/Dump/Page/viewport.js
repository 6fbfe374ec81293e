// The graph's camera: drag, wheel, pinch and keys move and scale one group of the drawing.

const zoomRange = { least: 0.04, most: 3 };

class Viewport {
  /**
   * @param svg the element that takes the gestures
   * @param group what moves
   * @param changed called after every movement
   */
  constructor(svg, group, changed) {
    Object.assign(this, { svg, group, changed, x: 0, y: 0, zoom: 1 });
    this.size = { width: 0, height: 0 };
    this.pointers = new Map();
    this.dragged = false;
    this.flight = null;
    this.fitted = false;
    svg.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    svg.addEventListener("pointerdown", (event) => this.down(event));
    svg.addEventListener("pointermove", (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      svg.addEventListener(name, (event) => this.up(event));
    }
    // What ends a drag is no click on what lies below the pointer.
    svg.addEventListener("click", (event) => {
      if (this.dragged) event.stopPropagation();
      this.dragged = false;
    }, true);
  }

  /** The window's size in pixels. */
  get window() {
    return { width: this.svg.clientWidth || 1, height: this.svg.clientHeight || 1 };
  }

  apply() {
    this.group.setAttribute("transform", `translate(${this.x} ${this.y}) scale(${this.zoom})`);
    this.changed();
  }

  /** Shows all of the drawing, never enlarged. `fitted` holds until the camera moves. */
  fit(animated = true) {
    const { width, height } = this.window;
    const margin = 28;
    const zoom = Math.min(
      (width - 2 * margin) / Math.max(1, this.size.width),
      (height - 2 * margin) / Math.max(1, this.size.height), 1);
    this.fly(this.clamp(zoom), this.size.width / 2, this.size.height / 2, animated);
    this.fitted = true;
  }

  /** Puts a point of the drawing into the middle of the window. */
  center(x, y, zoom = this.zoom, animated = true) {
    this.fly(this.clamp(zoom), x, y, animated);
  }

  clamp(zoom) {
    return Math.min(zoomRange.most, Math.max(zoomRange.least, zoom));
  }

  fly(zoom, x, y, animated) {
    this.halt();
    const { width, height } = this.window;
    const from = { x: (width / 2 - this.x) / this.zoom, y: (height / 2 - this.y) / this.zoom };
    const fromZoom = this.zoom;
    const step = (t) => {
      const ease = t * t * (3 - 2 * t);
      this.zoom = fromZoom * (zoom / fromZoom) ** ease;
      this.x = width / 2 - (from.x + (x - from.x) * ease) * this.zoom;
      this.y = height / 2 - (from.y + (y - from.y) * ease) * this.zoom;
      this.apply();
    };
    if (!animated || prefersStillness.matches) return step(1);
    const start = performance.now();
    const frame = (now) => {
      const t = Math.min(1, Math.max(0, (now - start) / 220));
      step(t);
      if (t < 1) this.flight = requestAnimationFrame(frame);
    };
    this.flight = requestAnimationFrame(frame);
  }

  /** Scales about a point of the window, its middle where none is given. */
  zoomBy(factor, at = { x: this.window.width / 2, y: this.window.height / 2 }) {
    this.halt();
    const zoom = this.clamp(this.zoom * factor);
    this.x = at.x - ((at.x - this.x) * zoom) / this.zoom;
    this.y = at.y - ((at.y - this.y) * zoom) / this.zoom;
    this.zoom = zoom;
    this.apply();
  }

  panBy(x, y) {
    this.halt();
    this.x += x;
    this.y += y;
    this.apply();
  }

  halt() {
    cancelAnimationFrame(this.flight);
    this.fitted = false;
  }

  at(event) {
    const frame = this.svg.getBoundingClientRect();
    return { x: event.clientX - frame.left, y: event.clientY - frame.top };
  }

  wheel(event) {
    event.preventDefault();
    // A notch of a wheel is some 100 pixels, or 3 lines; a pinch on a touchpad, small steps.
    const delta = event.deltaY * [1, 33, 400][event.deltaMode];
    if (event.shiftKey) return this.panBy(-(event.deltaX || delta), 0);
    this.zoomBy(Math.exp(-delta * (event.ctrlKey ? 0.01 : 0.0018)), this.at(event));
  }

  down(event) {
    if (event.button !== 0) return;
    this.pointers.set(event.pointerId, this.at(event));
    this.traveled = 0;
    this.dragged = false;
  }

  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.at(event);
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId);
    this.pointers.set(event.pointerId, now);
    this.traveled += Math.hypot(now.x - before.x, now.y - before.y);
    if (this.traveled < 4) return;
    if (!this.dragged) this.svg.setPointerCapture(event.pointerId);
    this.dragged = true;
    if (others.length) {
      const [, other] = others[0];
      const distance = (point) => Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
      this.zoomBy(distance(now) / distance(before), {
        x: (now.x + other.x) / 2, y: (now.y + other.y) / 2,
      });
    }
    const share = 1 / (others.length + 1);
    this.panBy((now.x - before.x) * share, (now.y - before.y) * share);
  }

  up(event) {
    this.pointers.delete(event.pointerId);
  }
}
