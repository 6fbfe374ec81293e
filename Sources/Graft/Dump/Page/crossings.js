// The order of the vertices within each layer, so that few edges cross: sweeps by weighted median
// with transpositions (Gansner, Koutsofios, North, Vo 1993, section 3), the best of them kept.

/** Orders every layer and sets `order` on its vertices. */
function orderLayers(layers) {
  startDepthFirst(layers);
  let best = { crossings: countCrossings(layers), layers: layers.map((layer) => [...layer]) };
  for (let sweep = 0, since = 0; sweep < 16 && since < 4 && best.crossings > 0; sweep += 1) {
    const downwards = sweep % 2 === 0;
    const order = downwards ? layers.slice(1) : layers.slice(0, -1).reverse();
    for (const layer of order) sortByMedian(layer, downwards);
    transpose(layers);
    const crossings = countCrossings(layers);
    since += 1;
    if (crossings < best.crossings) {
      best = { crossings, layers: layers.map((layer) => [...layer]) };
      since = 0;
    }
  }
  best.layers.forEach((layer, index) => {
    layers[index] = layer;
    number(layer);
  });
  return best.crossings;
}

function number(layer) {
  layer.forEach((vertex, index) => {
    vertex.order = index;
  });
}

/** The first order: depth first from the top, boxes before lines, which so run right of them. */
function startDepthFirst(layers) {
  // A line from above that ends soon belongs to the main chain: it comes before those that pass by.
  layers[0].sort((a, b) => reach(a) - reach(b));
  const seen = new Set();
  const started = layers.map(() => []);
  const rank = (vertex) => (vertex.box ? 0 : 1);
  for (const top of layers.flat()) {
    const stack = [top];
    while (stack.length) {
      const vertex = stack.pop();
      if (seen.has(vertex)) continue;
      seen.add(vertex);
      started[vertex.layer].push(vertex);
      const next = vertex.down.map((edge) => edge.to).sort((a, b) => rank(b) - rank(a));
      stack.push(...next);
    }
  }
  started.forEach((layer, index) => {
    layers[index].splice(0, layers[index].length, ...layer);
    number(layers[index]);
  });
}

/** The last layer that a line from above comes to. */
function reach(vertex) {
  let last = vertex;
  for (let next = vertex; next; next = next.down.find((edge) => !edge.to.box)?.to) last = next;
  return last.layer;
}

/** Moves vertices to the median of their neighbors; those without any keep their places. */
function sortByMedian(layer, downwards) {
  const keyed = [];
  for (const vertex of layer) {
    const places = (downwards ? vertex.up.map((e) => e.from) : vertex.down.map((e) => e.to))
      .map((neighbor) => neighbor.order)
      .sort((a, b) => a - b);
    if (places.length) keyed.push({ vertex, key: median(places) });
  }
  const moving = new Set(keyed.map((item) => item.vertex));
  keyed.sort((a, b) => a.key - b.key || a.vertex.order - b.vertex.order);
  let next = 0;
  layer.forEach((vertex, index) => {
    if (moving.has(vertex)) layer[index] = keyed[next++].vertex;
  });
  number(layer);
}

/** The median, leaning to the side on which the neighbors lie closer together. */
function median(places) {
  const middle = places.length >> 1;
  if (places.length % 2) return places[middle];
  if (places.length === 2) return (places[0] + places[1]) / 2;
  const left = places[middle - 1] - places[0];
  const right = places[places.length - 1] - places[middle];
  if (left + right === 0) return (places[middle - 1] + places[middle]) / 2;
  return (places[middle - 1] * right + places[middle] * left) / (left + right);
}

/** Swaps neighbors as long as that removes crossings. */
function transpose(layers) {
  for (let round = 0, improved = true; improved && round < 6; round += 1) {
    improved = false;
    for (const layer of layers) {
      for (let index = 0; index + 1 < layer.length; index += 1) {
        const [left, right] = [layer[index], layer[index + 1]];
        if (pairCrossings(left, right) <= pairCrossings(right, left)) continue;
        layer[index] = right;
        layer[index + 1] = left;
        right.order = index;
        left.order = index + 1;
        improved = true;
      }
    }
  }
}

/** Crossings between the edges of two neighbors when `left` stands left of `right`. */
function pairCrossings(left, right) {
  let count = 0;
  for (const a of left.up) for (const b of right.up) if (a.from.order > b.from.order) count += 1;
  for (const a of left.down) for (const b of right.down) if (a.to.order > b.to.order) count += 1;
  return count;
}

/** All crossings: inversions counted in a binary indexed tree (Barth, Jünger, Mutzel 2002). */
function countCrossings(layers) {
  let total = 0;
  for (let index = 0; index + 1 < layers.length; index += 1) {
    const tree = new Int32Array(layers[index + 1].length + 1);
    let inserted = 0;
    for (const vertex of layers[index]) {
      const ends = vertex.down.map((edge) => edge.to.order);
      for (const end of ends) {
        let left = 0;
        for (let place = end + 1; place > 0; place -= place & -place) left += tree[place];
        total += inserted - left;
      }
      // Edges of one vertex do not cross each other, so they count only for the vertices after it.
      for (const end of ends) {
        for (let place = end + 1; place < tree.length; place += place & -place) tree[place] += 1;
        inserted += 1;
      }
    }
  }
  return total;
}
