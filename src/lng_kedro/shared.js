'use strict';
// What the pages' scripts share: elements, tags on photos, JSON laid out.
// What a model or a dataset wrote reaches a page as text nodes and attributes only, never as HTML.
const $ = (id) => document.getElementById(id);
const fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'function') element.addEventListener(name, value);
    else if (value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children);
  return element;
};
const h = (tag, attributes = {}, ...children) => fill(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);

// --- Tags ------------------------------------------------------------------------------------------

const shared = (a, b, from, to) => Math.max(0, Math.min(a[to], b[to]) - Math.max(a[from], b[from]));
const overlap = (a, b) => shared(a, b, 0, 2) * shared(a, b, 1, 3);
const area = (a) => (a[2] - a[0]) * (a[3] - a[1]);
const iou = (a, b) => overlap(a, b) / (area(a) + area(b) - overlap(a, b));
const pen = document.createElement('canvas').getContext('2d');
pen.font = '600 100px system-ui, sans-serif';
const lengths = new Map();

/** Width of a text in font sizes. */
function textWidth(text) {
  if (!lengths.has(text)) lengths.set(text, pen.measureText(text).width / 100);
  return lengths.get(text);
}

/** Where a tag of that size covers least of what is already there; `frame` is the drawing's width and height. */
function place([x0, y0, x1, y1], width, height, taken, frame) {
  const at = (x, y) => {
    const left = Math.min(Math.max(x, 0), frame[0] - width);
    const top = Math.min(Math.max(y, 0), frame[1] - height);
    return [left, top, left + width, top + height];
  };
  const spots = [at(x0, y0 - height), at(x0, y1), at(x1 - width, y0 - height), at(x1 - width, y1),
    at(x0, y0), at(x0, y1 - height), at(x1, y0), at(x0 - width, y0)];
  const costs = spots.map((spot) => taken.reduce((sum, other) => sum + overlap(spot, other), 0));
  const best = spots[costs.indexOf(Math.min(...costs))];
  taken.push(best);
  return best;
}

function tag(box, text, unit, taken, frame) {
  const size = 11.5 * unit;
  const [x, y, right, bottom] = place(box, textWidth(text) * size + 8 * unit, 16 * unit, taken, frame);
  return svg('g', { class: 'tag' },
    svg('rect', { x, y, width: right - x, height: bottom - y, rx: 2 * unit }),
    svg('text', { x: x + 4 * unit, y: y + 12 * unit, 'font-size': size }, text));
}

// --- JSON ------------------------------------------------------------------------------------------

/** A model's text with white space added where its JSON has objects and keys; nothing else is touched. */
function pretty(text) {
  const start = text.search(/\[\s*\{/);
  if (start < 0) return text;
  const open = [];
  let out = text.slice(0, start);
  const line = () => `\n${'  '.repeat(open.filter(Boolean).length)}`;
  const tokens = text.slice(start).match(/"(?:[^"\\]|\\[^])*"?|[{}[\],]|[^"{}[\],]+/g);
  tokens.forEach((token, i) => {
    if (token === '{' || token === '[') {
      open.push(token === '{' || /^\s*\{/.test(tokens[i + 1] ?? ''));
      out += token + (open.at(-1) ? line() : '');
    } else if (token === '}' || token === ']') {
      out += (open.pop() ? line() : '') + token;
    } else out += token + (token === ',' && open.at(-1) ? line() : '');
  });
  return out;
}
