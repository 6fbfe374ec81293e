// The whole layout: columns of layers, placed side by side, and the lines between the boxes as SVG
// path data. Lines bend only between ranks and columns, never through a box.

/**
 * Places every box and routes every net.
 * @param view { width, height } of the window
 * @param wrap whether the network may be cut into columns
 * @returns { width, height, places, lines }: places by box as { x, y } of the left top corner;
 *   lines by net as { path, arrows, routes }, where routes has a path of its own for each target
 */
function layoutGraph(model, view, wrap) {
  const { boxes, nets } = model;
  if (boxes.length === 0) return { width: 0, height: 0, places: new Map(), lines: new Map() };
  const rankCount = assignRanks(boxes);
  const ranges = wrap
    ? cutColumns(boxes, nets, rankCount, view) : [{ first: 0, last: rankCount - 1 }];
  const columns = ranges.map((range) => layoutColumn(boxes, nets, range));

  let x = 0;
  columns.forEach((column, index) => {
    column.x = x;
    const tracks = columns[index + 1] ? column.exits.length : 0;
    x += column.width + spacing.gutter + tracks * spacing.track;
  });
  // Lines that come up a gutter pass above the first boxes.
  const top = Math.max(...columns.map((column) =>
    column.entries.length ? spacing.track * (column.entries.length + 1) - column.tops[0] : 0));
  for (const column of columns) {
    column.tops = column.tops.map((y) => y + top);
    column.bottom += top;
  }
  const places = new Map();
  for (const column of columns) {
    for (const [box, vertex] of column.vertexOf) {
      places.set(box, {
        x: column.x + vertex.x - box.width / 2,
        y: column.tops[vertex.layer] + (column.heights[vertex.layer] - box.height) / 2,
      });
    }
  }
  const lines = new Map(nets.map((net) => [net, routeNet(net, columns, places)]));
  const heights = columns.map((column) =>
    column.bottom + (column.exits.length ? (column.exits.length + 1) * spacing.track : 0));
  const last = columns[columns.length - 1];
  return { width: last.x + last.width, height: Math.max(...heights), places, lines };
}

function layoutColumn(boxes, nets, range) {
  const column = makeLayers(boxes, nets, range);
  const { layers } = column;
  column.crossings = orderLayers(layers);
  column.width = placeLayers(layers);
  spreadPorts(layers.flat());

  column.heights = layers.map((layer) =>
    layer.reduce((most, vertex) => Math.max(most, vertex.box?.height ?? 0), 0));
  column.tops = [];
  let y = 0;
  layers.forEach((layer, index) => {
    column.tops.push(y);
    const bent = layer.flatMap((vertex) => vertex.down)
      .filter((edge) => Math.abs(edge.startX - edge.endX) > 1);
    const far = bent.reduce((most, edge) => Math.max(most, Math.abs(edge.startX - edge.endX)), 0);
    const gap = Math.max(rankGap(bent.length), Math.min(70, far / 7));
    // The first and last layers hold line ends alone and take no room where they are empty.
    y += column.heights[index] + (layer.length && layers[index + 1]?.length ? gap : 0);
  });
  // The first boxes of all columns stand at 0.
  const rise = column.tops[1];
  column.tops = column.tops.map((top) => top - rise);
  column.bottom = y - rise;
  column.exitOf = new Map(
    sortedByX(column.exits).map((vertex, track) => [vertex.net, { vertex, track }]));
  column.entryOf = new Map(column.entries.map((vertex) => [vertex.net, vertex]));
  return column;
}

function sortedByX(vertices) {
  return [...vertices].sort((a, b) => a.x - b.x);
}

/** Where lines meet the boxes' edges: straight where they can, and apart from each other. */
function spreadPorts(vertices) {
  for (const vertex of vertices) {
    for (const edge of vertex.down) {
      edge.startX = vertex.x;
      edge.endX = edge.to.x;
    }
  }
  for (const vertex of vertices) {
    const { box } = vertex;
    if (!box) continue;
    const half = box.width / 2 - 12;
    const spread = (edges, wanted, set) => {
      const sorted = [...edges].sort((a, b) => wanted(a) - wanted(b));
      const gap = Math.min(7, (2 * half) / Math.max(1, sorted.length - 1));
      const at = sorted.map((edge) =>
        Math.min(vertex.x + half, Math.max(vertex.x - half, wanted(edge))));
      for (let i = 1; i < at.length; i += 1) at[i] = Math.max(at[i], at[i - 1] + gap);
      let limit = vertex.x + half;
      for (let i = at.length - 1; i >= 0; i -= 1, limit -= gap) {
        limit = Math.min(limit, at[i]);
        at[i] = limit;
      }
      sorted.forEach((edge, index) => set(edge, at[index]));
    };
    spread(vertex.up, (edge) => edge.from.x, (edge, x) => { edge.endX = x; });
    // All edges of one net leave a box at one place: below the first of its results, the next …
    box.writes.forEach((net, index) => {
      const count = box.writes.length;
      const x = vertex.x + (index - (count - 1) / 2) * Math.min(24, (2 * half) / count);
      for (const edge of vertex.down) if (edge.net === net) edge.startX = x;
    });
  }
}

/** The pieces of one net: the trunk column by column, and a branch for each box that reads it. */
function routeNet(net, columns, places) {
  const pieces = [];
  const routes = new Map();
  const arrows = [];
  let trunk = "";
  let carried = null;
  for (const column of columns) {
    let vertex = column.vertexOf.get(net.source) ?? column.entryOf.get(net);
    if (!vertex) continue;
    if (carried) {
      const piece = connector(carried, column, vertex);
      pieces.push(piece);
      trunk += piece;
      carried = null;
    }
    while (vertex) {
      const edges = vertex.down.filter((edge) => edge.net === net);
      let next = null;
      for (const edge of edges) {
        const piece = edgePath(edge, column, places);
        pieces.push(piece);
        if (edge.to.box) {
          routes.set(edge.to.box, trunk + piece);
          arrows.push(arrow(edge, column, places));
        } else {
          next = { vertex: edge.to, piece };
        }
      }
      if (!next) break;
      trunk += next.piece;
      vertex = next.vertex;
    }
    const exit = column.exitOf.get(net);
    if (exit) carried = { column, ...exit };
  }
  return { path: pieces.join(""), arrows: arrows.join(""), routes };
}

const arrowLength = 6;

/** From the lower edge of a box or layer, through the gap, to the upper edge of the next. */
function edgePath({ from, to, startX, endX }, column, places) {
  const [x1, x2] = [round(column.x + startX), round(column.x + endX)];
  const bottom = column.tops[from.layer] + column.heights[from.layer];
  const top = column.tops[to.layer];
  const start = from.box ? places.get(from.box).y + from.box.height : bottom;
  const end = to.box ? places.get(to.box).y - arrowLength : top + column.heights[to.layer];
  let path = `M${x1} ${round(start)}`;
  if (x1 !== x2) {
    const [y1, y2] = [round(bottom), round(to.box ? top - arrowLength : top)];
    const middle = round((y1 + y2) / 2);
    if (start < bottom) path += `V${y1}`;
    path += `C${x1} ${middle} ${x2} ${middle} ${x2} ${y2}`;
  }
  return path + `V${round(end)}`;
}

function arrow({ to, endX }, column, places) {
  return `M${round(column.x + endX - 3.5)} ${round(places.get(to.box).y - arrowLength - 1)}`
    + `h7l-3.5 ${arrowLength + 1}z`;
}

/** From the end of one column, up the gutter, to the start of the next: nested, never crossing. */
function connector({ column, vertex, track }, nextColumn, entry) {
  const count = column.exits.length;
  const rank = spacing.track * (count - track);
  const x1 = column.x + vertex.x;
  const x2 = nextColumn.x + entry.x;
  const down = column.bottom + rank;
  const gutter = column.x + column.width + spacing.gutter / 2 + rank - spacing.track;
  const up = nextColumn.tops[0] - spacing.track * (track + 1);
  const r = 7;
  return `M${round(x1)} ${round(column.bottom)}V${round(down - r)}q0 ${r} ${r} ${r}`
    + `H${round(gutter - r)}q${r} 0 ${r} ${-r}V${round(up + r)}q0 ${-r} ${r} ${-r}`
    + `H${round(x2 - r)}q${r} 0 ${r} ${r}V${round(nextColumn.tops[0])}`;
}

function round(number) {
  return Math.round(number * 10) / 10;
}
