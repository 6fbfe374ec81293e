// Formatting of numbers, shapes and names. Names from the model are untrusted: they go through
// printable() and into a text node, never into markup.

const times = "×";

/** 1234567 as "1,234,567". */
function grouped(number) {
  return number.toLocaleString("en-US");
}

/** 1234567 as "1.23 M", to three significant digits. */
function short(number) {
  const units = ["", " k", " M", " G", " T"];
  let unit = 0;
  let rest = number;
  while (rest >= 999.5 && unit < units.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  return (unit === 0 ? String(rest) : threeDigits(rest)) + units[unit];
}

/** Bytes with binary units: 3211264 as "3.06 MiB". */
function bytes(number) {
  const units = [" B", " KiB", " MiB", " GiB", " TiB"];
  let unit = 0;
  let rest = number;
  while (rest >= 1023.5 && unit < units.length - 1) {
    rest /= 1024;
    unit += 1;
  }
  return (unit === 0 ? String(rest) : threeDigits(rest)) + units[unit];
}

function threeDigits(number) {
  return number.toFixed(number >= 99.95 ? 0 : number >= 9.995 ? 1 : 2);
}

/** A fraction as a percentage that is 0 or 100 only for exactly 0 or 1. */
function percent(share) {
  if (share === 0 || share === 1) return `${100 * share} %`;
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return (100 * share).toFixed(share >= 0.0995 && share < 0.99 ? 0 : 1) + " %";
}

/** Extents as "N×64×56×56", one alone as "[64]". */
function shapeText(shape) {
  return shape.length > 1 ? shape.join(times) : `[${shape.join("")}]`;
}

/** A layout in words; undefined is plain row-major order. */
function layoutText(layout) {
  if (!layout) return "plain";
  const parts = [];
  if (layout.channel_block > 1) parts.push(`channels in blocks of ${layout.channel_block}`);
  const [height = 0, width = 0] = layout.border ?? [];
  if (height || width) parts.push(`zero border ${height}${times}${width}`);
  return parts.join(", ") || "plain";
}

/** The bytes of elements of a type such as "f32" or "bool", null for one that is not known. */
function tensorBytes(dtype, elements) {
  if (dtype === "bool") return elements;
  const bits = Number(/^[a-z]+(\d+)$/.exec(dtype)?.[1]);
  return Number.isInteger(bits) ? (elements * bits) / 8 : null;
}

/** Text in which no character moves, hides or reorders another. */
function printable(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cn}\p{Co}\p{Cs}]/gu, (character) => {
    const named = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[character];
    return named ?? `\\u{${character.codePointAt(0).toString(16)}}`;
  });
}

/** The last `length` characters: in "layer1.0.conv1" they tell more than the first. */
function tail(text, length) {
  // A name of any length costs no more than its end: each code point is at most two units.
  const characters = Array.from(text.slice(-2 * length - 2));
  if (characters.length <= length && text.length <= 2 * length + 2) return text;
  return "…" + characters.slice(-Math.max(1, length - 1)).join("");
}

/** The first `length` characters. */
function head(text, length) {
  const characters = Array.from(text.slice(0, 2 * length + 2));
  if (characters.length <= length && text.length <= 2 * length + 2) return text;
  return characters.slice(0, Math.max(1, length - 1)).join("") + "…";
}

/** The words of a query, case-insensitive, with x for ×. */
function matcher(query) {
  const fold = (text) => text.toLowerCase().replaceAll(times, "x");
  const words = fold(query).split(/\s+/).filter(Boolean);
  return { words, matches: (text) => words.every((word) => text.includes(word)), fold };
}

/** The distinguishing attributes of a node in a few characters: "3×3 /2 + relu". */
function essence(node, operands, results) {
  const attribute = (name) => node.attributes[name];
  const square = (list) => list.join(times);
  const parts = [];
  const window = (kernel) => {
    parts.push(square(kernel));
    const strides = attribute("strides") ?? [];
    if (strides.some((stride) => stride !== 1)) {
      const same = strides.every((stride) => stride === strides[0]);
      parts.push("/" + (same ? strides[0] : square(strides)));
    }
    const dilations = attribute("dilations") ?? [];
    if (dilations.some((dilation) => dilation !== 1)) parts.push("dilated " + square(dilations));
  };
  const weights = operands.find((operand) => operand?.parameter);
  if (node.opcode === "convolution" && weights?.shape.length === 4) {
    window(weights.shape.slice(2));
    const groups = attribute("groups") ?? 1;
    if (groups > 1) parts.push(weights.shape[1] === 1 ? "depthwise" : `${groups} groups`);
    if (operands[3]) parts.push("+ add");
  } else if (Array.isArray(attribute("kernel"))) {
    window(attribute("kernel"));
  } else if (node.opcode === "convert_layout") {
    const layout = results[0]?.layout;
    const block = layout?.channel_block ?? 1;
    parts.push(block > 1 ? `to blocks of ${block}` : layout ? "to bordered" : "to plain");
  } else if (node.opcode === "concat") {
    parts.push(`${operands.length} → 1`);
  } else if (node.opcode === "split") {
    parts.push(`1 → ${results.length}`);
  } else if (node.opcode === "clip") {
    parts.push(`${attribute("low")} … ${attribute("high")}`);
  } else if (Array.isArray(attribute("permutation"))) {
    parts.push(attribute("permutation").join(" "));
  } else if (Array.isArray(attribute("axes"))) {
    parts.push("axes " + attribute("axes").join(" "));
  }
  const activation = attribute("activation");
  if (typeof activation === "string" && activation !== "none") parts.push("+ " + activation);
  return parts.join(" ");
}
