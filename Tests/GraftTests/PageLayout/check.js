// usage: node check.js SCRIPTS-FOLDER DOCUMENT.json
// Lays a graph out as the page does and prints what is wrong with it, a line each: boxes that
// overlap, lines through boxes, readers that a line does not reach.
const { readFileSync } = require("node:fs");
const [, , folder, file] = process.argv;

const names = ["format", "model", "layers", "crossings", "placement", "layout"];
const source = names.map((name) => readFileSync(`${folder}/${name}.js`, "utf8")).join("\n");
const { buildModel, layoutGraph } = new Function(
  `"use strict"; ${source} return { buildModel, layoutGraph };`)();

/** Points along the path data that the layout writes: M, V, H and C absolute, q relative. */
function pointsOf(path) {
  const points = [];
  let [x, y] = [0, 0];
  const go = (toX, toY, curve) => {
    for (let step = 1; step <= 16; step += 1) points.push(curve(step / 16));
    [x, y] = [toX, toY];
  };
  for (const [, letter, rest] of path.matchAll(/([MVHCq])([^MVHCq]*)/g)) {
    const n = rest.trim().split(/\s+/).map(Number);
    if (n.some((number) => !Number.isFinite(number))) throw new Error(`not a path: ${path}`);
    const [x0, y0] = [x, y];
    const line = (t, toX, toY) => [x0 + (toX - x0) * t, y0 + (toY - y0) * t];
    if (letter === "M") [x, y] = n;
    else if (letter === "V") go(x, n[0], (t) => line(t, x0, n[0]));
    else if (letter === "H") go(n[0], y, (t) => line(t, n[0], y0));
    else if (letter === "C") {
      const mix = (a, b, c, d, t) =>
        a * (1 - t) ** 3 + 3 * b * t * (1 - t) ** 2 + 3 * c * t ** 2 * (1 - t) + d * t ** 3;
      go(n[4], n[5], (t) => [mix(x0, n[0], n[2], n[4], t), mix(y0, n[1], n[3], n[5], t)]);
    } else go(x + n[2], y + n[3], (t) => line(t, x0 + n[2], y0 + n[3]));
  }
  return points;
}

const model = buildModel(JSON.parse(readFileSync(file, "utf8")), {});
for (const wrap of [false, true]) {
  const layout = layoutGraph(model, { width: 1200, height: 800 }, wrap);
  const places = [...layout.places];
  if (places.length !== model.boxes.length) console.log(`${places.length} boxes have places`);
  const inside = (x, y, [box, place], by) => x > place.x + by && x < place.x + box.width - by
    && y > place.y + by && y < place.y + box.height - by;
  places.forEach(([box, { x, y }], index) => {
    const [right, bottom] = [x + box.width, y + box.height];
    if (x < -1 || y < -1 || right > layout.width + 1 || bottom > layout.height + 1) {
      console.log(`${box.scope} lies outside the drawing`);
    }
    for (const [other, place] of places.slice(index + 1)) {
      const apart = x + box.width <= place.x || place.x + other.width <= x
        || y + box.height <= place.y || place.y + other.height <= y;
      if (!apart) console.log(`${box.scope} overlaps ${other.scope}`);
    }
  });
  for (const [net, { path, routes }] of layout.lines) {
    for (const target of net.targets) {
      const end = routes.has(target) && pointsOf(routes.get(target)).at(-1);
      const place = layout.places.get(target);
      const arrives = end && Math.abs(end[1] - place.y) < 8 && end[0] > place.x
        && end[0] < place.x + target.width;
      if (!arrives) console.log(`${net.value.label} does not reach ${target.scope}`);
    }
    for (const [x, y] of pointsOf(path)) {
      const hit = places.find((entry) => inside(x, y, entry, 0.5));
      if (hit) {
        console.log(`${net.value.label} runs through ${hit[0].scope}`);
        break;
      }
    }
  }
}
