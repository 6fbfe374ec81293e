// The whole network in a corner, with the part that the window shows; drag to move there. It hides
// while the window shows everything.

class Minimap {
  constructor(model, view) {
    Object.assign(this, { model, view });
    this.canvas = byId("minimap");
    this.map = document.createElement("canvas");
    const move = (event) => {
      if (event.buttons !== 1) return;
      const frame = this.canvas.getBoundingClientRect();
      view.viewport.center(
        (event.clientX - frame.left) / this.scale.x, (event.clientY - frame.top) / this.scale.y,
        view.viewport.zoom, false);
    };
    this.canvas.addEventListener("pointerdown", (event) => {
      this.canvas.setPointerCapture(event.pointerId);
      move(event);
    });
    this.canvas.addEventListener("pointermove", move);
  }

  /** Draws the boxes once; update() draws the window over them. */
  draw() {
    const { width, height, places } = this.view.layout;
    const ratio = devicePixelRatio || 1;
    const fit = Math.min(190 / Math.max(1, width), 150 / Math.max(1, height));
    // A network in one long column would be a hair: it gets at least 28 pixels of width.
    const size = { width: Math.max(28, width * fit), height: Math.max(28, height * fit) };
    this.scale = { x: size.width / Math.max(1, width), y: size.height / Math.max(1, height) };
    for (const canvas of [this.canvas, this.map]) {
      canvas.width = Math.ceil(size.width * ratio);
      canvas.height = Math.ceil(size.height * ratio);
    }
    this.canvas.style.width = `${size.width}px`;
    this.canvas.style.height = `${size.height}px`;
    const context = this.map.getContext("2d");
    context.scale(ratio, ratio);
    const colors = familyColors();
    for (const [box, { x, y }] of places) {
      context.fillStyle = colors[box.family];
      context.fillRect(x * this.scale.x, y * this.scale.y,
        Math.max(1, box.width * this.scale.x), Math.max(1, box.height * this.scale.y - 0.4));
    }
    this.update();
  }

  update() {
    if (!this.scale) return;
    const { viewport } = this.view;
    const { width, height } = viewport.window;
    // A map of what is in sight whole anyway would only cover it.
    this.canvas.hidden = viewport.x > 0 && viewport.y > 0
      && viewport.x + viewport.size.width * viewport.zoom < width
      && viewport.y + viewport.size.height * viewport.zoom < height;
    const ratio = devicePixelRatio || 1;
    const context = this.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.drawImage(this.map, 0, 0);
    context.scale(ratio, ratio);
    const style = getComputedStyle(document.documentElement);
    context.strokeStyle = style.getPropertyValue("--accent");
    context.fillStyle = style.getPropertyValue("--window");
    context.lineWidth = 1.5;
    const frame = [
      (-viewport.x / viewport.zoom) * this.scale.x, (-viewport.y / viewport.zoom) * this.scale.y,
      (width / viewport.zoom) * this.scale.x, (height / viewport.zoom) * this.scale.y,
    ];
    context.fillRect(...frame);
    context.strokeRect(...frame);
  }
}

/** The families' colors as the style sheet has them now, in light or dark. */
function familyColors() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(
    Object.keys(families).map((name) => [name, style.getPropertyValue(`--${name}`)]));
}
