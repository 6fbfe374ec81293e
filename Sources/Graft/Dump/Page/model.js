// The document of docs/dump-format.md as objects that refer to each other: boxes (inputs, nodes,
// outputs), the values between them, and nets, the lines of a value from its producer to its readers.
// Parameters are not boxes: they belong to the nodes that read them.

/** What operators do, by the group that `operators` names, in the order of the legend. */
const families = {
  convolution: { label: "Convolution" },
  matrix: { label: "Matrix product" },
  normalization: { label: "Normalization" },
  activation: { label: "Activation" },
  pooling: { label: "Pooling, reduction" },
  arithmetic: { label: "Arithmetic" },
  movement: { label: "Data movement" },
  training: { label: "Loss, gradient, update" },
  boundary: { label: "Input, output" },
  other: { label: "Other" },
};

/** Sizes of boxes in pixels at zoom 1, by how much a box has to say. */
const boxSize = {
  width: 220,
  full: 58,
  medium: 40,
  slim: 25,
};

/**
 * Reads the document.
 * @param data what `graft dump --format json` prints
 * @param operators by opcode: `summary` in words, the names of `operands`, and `group`
 */
function buildModel(data, operators) {
  const values = new Map();
  const boxes = [];

  function define(tensor, more) {
    const value = {
      ...tensor, parameter: null, producer: null, index: 0, consumers: [], outputs: [],
      placement: null, aliasOf: null, label: tensor.name ?? `%${tensor.id}`, ...more,
    };
    values.set(tensor.id, value);
    return value;
  }

  function addBox(box) {
    const whole = {
      step: null, operands: [], results: [], attributes: {}, origins: [], kernel: null,
      multiplyAdds: 0, phase: "", again: "", parameterCount: 0, reads: [], writes: [], summary: "", roles: [], ...box, index: boxes.length,
    };
    boxes.push(whole);
    return whole;
  }

  for (const tensor of data.parameters) {
    const { elements, trained, group, derivation } = tensor;
    define(tensor, { parameter: { elements, trained, group, derivation } });
  }
  for (const tensor of data.inputs) {
    const value = define(tensor);
    value.producer = addBox({
      kind: "input", opcode: "input", family: "boundary", scope: value.label, essence: "",
      results: [value], shape: shapeText(value.shape),
    });
  }
  data.nodes.forEach((node, step) => {
    const operands = node.operands.map((id) => (id === null ? null : values.get(id) ?? null));
    const results = node.results.map((tensor) => define(tensor));
    const box = addBox({
      kind: "node", opcode: node.opcode, step, operands, results, attributes: node.attributes,
      family: operators[node.opcode]?.group ?? "other", origins: node.origins,
      kernel: node.kernel ?? null, multiplyAdds: node.multiply_adds, phase: node.phase ?? "",
      again: node.recomputed ? "recomputed" : "",
      essence: printable(head(essence(node, operands, results), 60)),
      scope: scopeOf(node, operands), shape: results.map((r) => shapeText(r.shape)).join(" "),
      summary: operators[node.opcode]?.summary ?? "", roles: operators[node.opcode]?.operands ?? [],
    });
    results.forEach((value, index) => Object.assign(value, { producer: box, index }));
    operands.forEach((value, index) => value?.consumers.push({ box, index }));
  });
  for (const { name, id } of data.outputs) {
    const value = values.get(id);
    if (!value) continue;
    const box = addBox({
      kind: "output", opcode: "output", family: "boundary", scope: name, essence: "",
      operands: [value], shape: shapeText(value.shape),
    });
    value.outputs.push(name);
    value.consumers.push({ box, index: 0 });
  }

  const nets = connect(values);
  const counted = new Set();
  for (const box of boxes) {
    for (const value of box.operands) {
      if (!value?.parameter || counted.has(value.id)) continue;
      counted.add(value.id);
      box.parameterCount += value.parameter.elements;
    }
    Object.assign(box, { width: boxSize.width, height: heightOf(box) });
    box.text = searchText(box);
  }
  const memory = data.memory ? attachMemory(data.memory, values) : null;
  return {
    name: data.name, stage: data.stage, boxes, values, nets, memory,
    training: data.training ?? null,
    nodes: boxes.filter((box) => box.kind === "node"), totals: totalsOf(boxes, data.parameters),
  };
}

/** `layer1.0.conv1` of the parameter `layer1.0.conv1.weight`, else the name of the model's node. */
function scopeOf(node, operands) {
  for (const operand of operands) {
    if (!operand?.parameter || !operand.name) continue;
    // Parameters derived by passes have the original name with a suffix.
    const name = operand.parameter.derivation
      ? operand.name.replace(/(\.(folded|scale|shift)[^.]*)+$/, "") : operand.name;
    if (name.includes(".")) return name.slice(0, name.lastIndexOf("."));
  }
  return node.origins[0] ?? "";
}

/** One net for each value that a box makes and a box reads. */
function connect(values) {
  const nets = [];
  for (const value of values.values()) {
    if (!value.producer || value.consumers.length === 0) continue;
    const targets = [...new Set(value.consumers.map((consumer) => consumer.box))];
    const net = { value, source: value.producer, targets };
    value.producer.writes.push(net);
    for (const target of targets) target.reads.push(net);
    nets.push(net);
  }
  return nets;
}

function heightOf(box) {
  if (box.kind !== "node") return boxSize.medium;
  if (box.operands.some((operand) => operand?.parameter)) return boxSize.full;
  const [operand] = box.operands;
  const plain = box.operands.length === 1 && box.results.length === 1 && operand !== null;
  return plain && shapeText(operand.shape) === box.shape ? boxSize.slim : boxSize.medium;
}

function searchText(box) {
  const tensors = [...box.operands.filter((operand) => operand?.parameter), ...box.results];
  const parts = [
    box.opcode, box.phase, box.again, box.scope, families[box.family].label, box.essence, ...box.origins,
    ...tensors.flatMap((value) => [value.name ?? "", shapeText(value.shape)]),
  ];
  return matcher("").fold(parts.join("\n"));
}

/** The groups of training state other than weights. */
const ofRun = new Set(["optimizer", "accumulator", "statistics"]);

function totalsOf(boxes, parameters) {
  const sum = (list, amount) => list.reduce((total, item) => total + amount(item), 0);
  return {
    parameters: sum(parameters, (tensor) => tensor.elements),
    parameterBytes: sum(parameters, (p) => tensorBytes(p.dtype, p.elements) ?? 0),
    trained: sum(parameters, (tensor) => (
      tensor.trained && !ofRun.has(tensor.group) ? tensor.elements : 0)),
    multiplyAdds: sum(boxes, (box) => box.multiplyAdds),
    kernelTime: sum(boxes, (box) => box.kernel?.time ?? 0),
    heaviest: boxes.reduce((most, box) => Math.max(most, box.multiplyAdds), 0),
  };
}

/** Sets the placements of values; values that share memory get the placement of its owner. */
function attachMemory(memory, values) {
  const placements = [];
  const batchBytes = memory.arena_bytes - memory.fixed_bytes;
  for (const place of memory.placements) {
    const value = values.get(place.id);
    if (!value) continue;
    // At batch 1 the region that does not grow with N follows the one that does.
    const address = place.per_batch ? place.offset : batchBytes + place.offset;
    const placement = { ...place, address, value, aliases: [] };
    value.placement = placement;
    placements.push(placement);
  }
  const direct = new Map(memory.aliases.map(([alias, root]) => [alias, root]));
  for (const alias of direct.keys()) {
    const seen = new Set();
    let root = alias;
    while (direct.has(root) && !seen.has(root)) {
      seen.add(root);
      root = direct.get(root);
    }
    const [value, owner] = [values.get(alias), values.get(root)];
    if (!value || !owner) continue;
    Object.assign(value, { aliasOf: owner, placement: owner.placement });
    owner.placement?.aliases.push(value);
  }
  return {
    placements, batchBytes, arenaBytes: memory.arena_bytes, fixedBytes: memory.fixed_bytes,
    lowerBoundBytes: memory.lower_bound_bytes, alignment: memory.alignment,
  };
}
