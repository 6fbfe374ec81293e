// Where the vertices of ordered layers stand from left to right: Brandes and Köpf, "Fast and
// simple horizontal coordinate assignment" (2001). Lines through several layers come out straight,
// and so does the main chain of boxes.

/** Sets `x`, the center of each vertex, so that the leftmost edge is at 0. @returns the width. */
function placeLayers(layers) {
  const vertices = layers.flat();
  vertices.forEach((vertex, index) => {
    vertex.index = index;
  });
  const conflicts = findConflicts(layers);
  const runs = [];
  for (const fromTop of [true, false]) {
    for (const fromLeft of [true, false]) {
      const directed = (fromTop ? layers : [...layers].reverse())
        .map((layer) => (fromLeft ? layer : [...layer].reverse()));
      const roots = alignBlocks(directed, vertices.length, fromTop, fromLeft, conflicts);
      const places = compact(directed, roots);
      if (!fromLeft) for (let index = 0; index < places.length; index += 1) places[index] *= -1;
      runs.push({ fromLeft, places, ...extent(vertices, places) });
    }
  }
  // The four runs are lined up on the narrowest, then each vertex takes the middle two's mean.
  const narrow = runs.reduce((a, b) => (b.right - b.left < a.right - a.left ? b : a));
  for (const run of runs) {
    run.shift = run.fromLeft ? narrow.left - run.left : narrow.right - run.right;
  }
  const means = vertices.map((_, index) => {
    const [, low, high] = runs.map((run) => run.places[index] + run.shift).sort((a, b) => a - b);
    return (low + high) / 2;
  });
  const { left, right } = extent(vertices, means);
  for (const vertex of vertices) vertex.x = means[vertex.index] - left;
  return right - left;
}

function extent(vertices, places) {
  let [left, right] = [Infinity, -Infinity];
  for (const { index, width } of vertices) {
    left = Math.min(left, places[index] - width / 2);
    right = Math.max(right, places[index] + width / 2);
  }
  return { left, right };
}

const isLine = (vertex) => vertex.box === null;

/**
 * Edges that are not to be straight: those that cross a line's inner segment (Brandes and Köpf's
 * type 1), those between a box and a line where on the same side an edge joins like to like, and
 * those to the shorter of two branches, so that the main chain goes straight down.
 */
function findConflicts(layers) {
  const conflicts = new Set();
  for (const vertex of layers.flat()) {
    for (const edges of [vertex.up, vertex.down]) {
      const unlike = edges.filter((edge) => isLine(edge.from) !== isLine(edge.to));
      if (unlike.length < edges.length) for (const edge of unlike) conflicts.add(edge);
    }
    const longest = vertex.down.reduce((most, { to }) => Math.max(most, to.box?.depth ?? 0), 0);
    for (const edge of vertex.down) if (edge.to.box?.depth < longest) conflicts.add(edge);
  }
  for (let index = 1; index < layers.length; index += 1) {
    const lower = layers[index];
    const upperCount = layers[index - 1].length;
    let [start, from] = [0, 0];
    lower.forEach((vertex, place) => {
      const inner = isLine(vertex) ? vertex.up.find((edge) => isLine(edge.from)) : undefined;
      if (!inner && place + 1 < lower.length) return;
      const to = inner ? inner.from.order : upperCount;
      for (; start <= place; start += 1) {
        for (const edge of lower[start].up) {
          const outside = edge.from.order < from || edge.from.order > to;
          if (outside && !(isLine(edge.from) && isLine(edge.to))) conflicts.add(edge);
        }
      }
      from = to;
    });
  }
  return conflicts;
}

/** For each vertex the first of the block of vertices that stand exactly above each other. */
function alignBlocks(layers, count, fromTop, fromLeft, conflicts) {
  const roots = Int32Array.from({ length: count }, (_, index) => index);
  const next = Int32Array.from(roots);
  const order = (vertex) => (fromLeft ? vertex.order : -vertex.order);
  for (const layer of layers) {
    let taken = -Infinity;
    for (const vertex of layer) {
      const { index } = vertex;
      const neighbors = (fromTop ? vertex.up : vertex.down)
        .filter((edge) => !conflicts.has(edge))
        .map((edge) => (fromTop ? edge.from : edge.to))
        .sort((a, b) => order(a) - order(b));
      const middle = (neighbors.length - 1) / 2;
      for (let i = Math.floor(middle); i >= 0 && i <= Math.ceil(middle); i += 1) {
        const above = neighbors[i];
        if (next[index] !== index || order(above) <= taken) continue;
        next[above.index] = index;
        roots[index] = roots[above.index];
        next[index] = roots[index];
        taken = order(above);
      }
    }
  }
  return roots;
}

/** Pushes the blocks together as far as the separation of neighbors lets them. @returns places */
function compact(layers, roots) {
  const before = Array.from(roots, () => []);
  const after = Array.from(roots, () => []);
  for (const layer of layers) {
    for (let index = 1; index < layer.length; index += 1) {
      const gap = separation(layer[index - 1], layer[index]);
      const [left, right] = [roots[layer[index - 1].index], roots[layer[index].index]];
      before[right].push({ block: left, gap });
      after[left].push({ block: right, gap });
    }
  }
  const places = new Float64Array(roots.length);
  for (const block of topological(before)) {
    for (const other of before[block]) {
      places[block] = Math.max(places[block], places[other.block] + other.gap);
    }
  }
  // Back again, so that a block with room moves towards its right neighbor.
  for (const block of topological(after)) {
    let limit = Infinity;
    for (const other of after[block]) limit = Math.min(limit, places[other.block] - other.gap);
    if (limit < Infinity) places[block] = Math.max(places[block], limit);
  }
  return places.map((_, index) => places[roots[index]]);
}

function separation(left, right) {
  const lines = isLine(left) && isLine(right);
  const boxes = !isLine(left) && !isLine(right);
  const gap = lines ? spacing.lines : boxes ? spacing.boxes : spacing.boxToLine;
  return gap + (left.width + right.width) / 2;
}

/** Blocks after everything that they depend on; without recursion, since chains are long. */
function topological(dependencies) {
  const done = new Uint8Array(dependencies.length);
  const order = [];
  for (let start = 0; start < dependencies.length; start += 1) {
    const stack = [{ block: start, next: 0 }];
    while (stack.length) {
      const frame = stack[stack.length - 1];
      const list = dependencies[frame.block];
      if (done[frame.block]) {
        stack.pop();
      } else if (frame.next < list.length) {
        const { block } = list[frame.next++];
        if (!done[block]) stack.push({ block, next: 0 });
      } else {
        done[frame.block] = 1;
        order.push(frame.block);
        stack.pop();
      }
    }
  }
  return order;
}
