// The first half of the layered layout (Sugiyama, Tagawa, Toda 1981): which rank each box has, into
// which columns the ranks are cut, and the layers of one column with a dummy vertex wherever a net
// passes a layer. A net keeps one chain of dummies however many boxes read it, so a value that two
// dozen concatenations read is drawn as one trunk with branches.

/** Pixels that never change. */
const spacing = {
  rank: 22,
  boxes: 28,
  boxToLine: 14,
  lines: 7,
  track: 7,
  gutter: 60,
};

/**
 * Sets `rank` on every box, the longest path from the inputs with sources as low as they can be,
 * and `depth`, the longest path to an end.
 */
function assignRanks(boxes) {
  let last = 0;
  for (const box of boxes) {
    // Execution order, so what a box reads has its rank already.
    box.rank = box.reads.reduce((rank, net) => Math.max(rank, net.source.rank + 1), 0);
    last = Math.max(last, box.rank);
  }
  for (const box of boxes) {
    const readers = box.writes.flatMap((net) => net.targets);
    if (box.reads.length === 0 && readers.length > 0) {
      box.rank = Math.min(...readers.map((reader) => reader.rank)) - 1;
    }
  }
  for (const box of [...boxes].reverse()) {
    const readers = box.writes.flatMap((net) => net.targets);
    box.depth = readers.reduce((depth, reader) => Math.max(depth, reader.depth + 1), 0);
  }
  return last + 1;
}

/**
 * Cuts the ranks into columns that are read like those of a newspaper, so that a deep network fills
 * the window instead of a thread through its middle.
 * @param view the window's width and height
 * @returns a list of { first, last } ranks
 */
function cutColumns(boxes, nets, rankCount, view) {
  const ranks = measureRanks(boxes, nets, rankCount);
  const height = ranks.reduce((sum, rank) => sum + rank.height, 0);
  let best = null;
  for (let count = 1; count <= Math.min(16, rankCount); count += 1) {
    const columns = partition(ranks, count, height / count);
    const widths = columns.map(({ first, last }) =>
      ranks.slice(first, last + 1).reduce((most, rank) => Math.max(most, rank.width), 0));
    const heights = columns.map(({ first, last }) =>
      ranks.slice(first, last + 1).reduce((sum, rank) => sum + rank.height, 0));
    const gutters = columns.map(({ last }) =>
      spacing.gutter + (last + 1 < rankCount ? ranks[last].crossing * spacing.track : 0));
    const width = [...widths, ...gutters].reduce((sum, each) => sum + each, 0);
    const zoom = Math.min(view.width / width, view.height / Math.max(...heights), 1);
    // A column more must pay: every cut sends the reader to the top again.
    if (!best || zoom > best.zoom * 1.03) best = { zoom, columns };
  }
  return best.columns;
}

/** For each rank its estimated width and height, and how many nets leave it downwards. */
function measureRanks(boxes, nets, rankCount) {
  const ranks = Array.from(
    { length: rankCount }, () => ({ width: 0, height: 0, crossing: 0, bent: 0 }));
  for (const box of boxes) {
    const rank = ranks[box.rank];
    rank.width += box.width + spacing.boxes;
    rank.height = Math.max(rank.height, box.height);
    if (box.rank > 0) ranks[box.rank - 1].bent += Math.max(0, box.reads.length - 1);
  }
  for (const net of nets) {
    const end = Math.max(...net.targets.map((target) => target.rank));
    for (let rank = net.source.rank; rank < end; rank += 1) {
      ranks[rank].crossing += 1;
      if (rank > net.source.rank) ranks[rank].width += spacing.lines;
    }
  }
  for (const rank of ranks) rank.height += rankGap(rank.bent);
  return ranks;
}

/** The room below a rank for `lines` curves. */
function rankGap(lines) {
  return spacing.rank + Math.min(44, 2 * Math.max(0, lines - 2));
}

/** Cuts at `count` − 1 places where few nets cross and the columns come out about as high. */
function partition(ranks, count, target) {
  const sums = [0];
  for (const rank of ranks) sums.push(sums[sums.length - 1] + rank.height);
  const cost = (first, last) => {
    const off = sums[last + 1] - sums[first] - target;
    const crossing = last + 1 < ranks.length ? ranks[last].crossing : 1;
    return (off * off) / target + 60 * Math.max(0, crossing - 1);
  };
  // least[r]: the least cost of ranks 0 … r in k + 1 columns, and where these start.
  let least = ranks.map((_, last) => ({ cost: cost(0, last), cuts: [0] }));
  for (let k = 1; k < count; k += 1) {
    least = ranks.map((_, last) => {
      let best = { cost: Infinity, cuts: [] };
      for (let first = k; first <= last; first += 1) {
        const before = least[first - 1];
        const sum = before.cost + cost(first, last);
        if (sum < best.cost) best = { cost: sum, before, first };
      }
      if (best.cost < Infinity) best.cuts = [...best.before.cuts, best.first];
      return { cost: best.cost, cuts: best.cuts };
    });
  }
  const { cuts } = least[least.length - 1];
  return cuts.map((first, index) => ({ first, last: (cuts[index + 1] ?? ranks.length) - 1 }));
}

/**
 * The layers of one column: vertices with `up` and `down` edges. Layer 0 holds the nets that come
 * from earlier columns, the last layer those that go on to later ones.
 */
function makeLayers(boxes, nets, { first, last }) {
  const layers = Array.from({ length: last - first + 3 }, () => []);
  const vertexOf = new Map();
  const layerOf = (box) => box.rank - first + 1;
  const addVertex = (layer, more) => {
    const vertex = {
      layer, box: null, net: null, width: 0, up: [], down: [], order: 0, x: 0, ...more,
    };
    layers[layer].push(vertex);
    return vertex;
  };
  for (const box of boxes) {
    if (box.rank < first || box.rank > last) continue;
    vertexOf.set(box, addVertex(layerOf(box), { box, width: box.width }));
  }
  const entries = [];
  const exits = [];
  for (const net of nets) {
    const targets = net.targets.filter((box) => box.rank >= first && box.rank <= last);
    const comesIn = net.source.rank < first;
    const goesOn = net.targets.some((box) => box.rank > last);
    if (net.source.rank > last || (comesIn && targets.length === 0 && !goesOn)) continue;
    let vertex = comesIn ? addVertex(0, { net }) : vertexOf.get(net.source);
    if (comesIn) entries.push(vertex);
    const end = goesOn ? layers.length - 1 : Math.max(...targets.map(layerOf)) - 1;
    for (let layer = vertex.layer + 1; layer <= end + 1; layer += 1) {
      for (const box of targets) {
        if (layerOf(box) === layer) join(net, vertex, vertexOf.get(box));
      }
      if (layer > end) break;
      const next = addVertex(layer, { net });
      join(net, vertex, next);
      vertex = next;
    }
    if (goesOn) exits.push(vertex);
  }
  return { layers, vertexOf, entries, exits };
}

function join(net, from, to) {
  const edge = { net, from, to, startX: 0, endX: 0 };
  from.down.push(edge);
  to.up.push(edge);
}
