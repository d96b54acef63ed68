// --- One photo: boxes and tags over it, verdicts and the raw answer beside it ---------------------

/** Boxes of truth (dashed) and prediction with their verdicts' numbers; `width` is the drawing's, in pixels. */
function boxes(said, width) {
  const unit = data.side / width;
  const taken = [];
  const drawn = said.verdicts.flatMap(([kind, i, j], n) => {
    const [name, glyph] = data.kinds[kind];
    return [['true', said.true[j]], ['said', said.found[i]]].filter(([, f]) => f?.box).map(([side, f]) => {
      const [x, y, right, bottom] = f.box;
      const at = { x, y, width: right - x, height: bottom - y };
      const needless = side === 'true' && said.found[i]?.box && said.found[i].label === f.label;
      const pair = side === 'true' && i >= 0;
      const long = pair ? `${n + 1} truth: ${word(f.label)}` : `${n + 1} ${glyph} ${word(f.label) ?? NO_LABEL}`;
      const short = pair ? `${n + 1}` : `${n + 1}${glyph}`;
      const lines = ['halo', 'box'].map((line) => svg('rect', { class: line, ...at }));
      const group = svg('g', { class: `${side} ${kindClass(name)}` }, ...lines);
      return { group, f, text: needless ? null : width < 200 ? short : long };
    });
  });
  const view = { viewBox: `0 0 ${data.side} ${data.side}`, 'aria-hidden': 'true' };
  const layer = svg('svg', view, ...drawn.map(({ group }) => group));
  for (const { group, f, text } of drawn) {
    if (text) layer.append(svg('g', { class: group.getAttribute('class') }, tag(f.box, text, unit, taken, [data.side, data.side])));
  }
  return layer;
}

function picture(photo, eager) {
  const image = h('img', {
    src: source(photo.id), width: data.side, height: data.side, decoding: 'async', loading: eager ? 'eager' : 'lazy',
    alt: `test photo, ${word(photo.label) ?? 'nothing to report'}`,
    error: () => { image.classList.add('gone'); $('missing').hidden = false; },
  });
  return h('div', { class: 'photo' }, image);
}

/** A verdict in words: what differs, how far the boxes agree, how sure the model is. */
function verdict(said, [kind, i, j], n) {
  const [name, glyph] = data.kinds[kind];
  const [found, truth] = [said.found[i], said.true[j]];
  const label = (f) => word(f.label) ?? NO_LABEL;
  const notes = [];
  if (found && truth && found.label !== truth.label) notes.push(`truth ${label(truth)}`);
  if (found && truth) {
    data.fields.forEach((field, k) => {
      const [says, is] = [word(found.values[k]), word(truth.values[k])];
      if (says !== is) notes.push(`${field} ${says ?? 'none'}, truth ${is}`);
    });
    notes.push(`IoU\u00a0${iou(found.box, truth.box).toFixed(2)}`);
  }
  if (found && !found.box) notes.push('no box');
  if (found && found.chance !== null) notes.push(`score\u00a0${found.chance.toFixed(0)}\u202f%`);
  return h('li', { class: kindClass(name) }, h('span', { class: 'n' }, `${n + 1}`),
    h('span', {}, h('b', {}, `${glyph} ${name}`), ` ${label(found ?? truth)}`, h('small', {}, notes.join('; '))));
}

function words(said) {
  const flags = h('p', { class: 'flags' });
  if (!said.valid) flags.append(h('b', {}, '! broken JSON'), '; ');
  else if (!said.schema) flags.append(h('b', {}, 'not as the schema asks'), '; ');
  if (!said.finished) flags.append(h('b', {}, 'cut off'), '; ');
  flags.append(`${said.tokens} tokens`);
  const list = said.verdicts.map((v, n) => verdict(said, v, n));
  const nothing = h('li', {}, h('span', {}), h('span', {}, 'nothing reported, nothing to report'));
  return [h('ol', { class: 'verdicts' }, ...(list.length ? list : [nothing])), flags, h('pre', {}, pretty(said.text))];
}

function sides(photo, eager) {
  const shown = columns();
  return h('div', { class: `sides n-${shown.length}`, style: `--n: ${shown.length}` }, ...shown.map((i) =>
    h('div', { class: 'side', 'data-stage': data.stages[i][0] },
      ...(shown.length > 1 ? [h('h3', {}, data.stages[i][1])] : []),
      picture(photo, eager), h('div', { class: 'words' }, h('div', {}, ...words(photo.said[i]))))));
}

/** Draws boxes into pictures of that width, which are on the page: tags have one size on the screen. */
function draw(photo, root, width) {
  const frames = root.querySelectorAll('.photo');
  columns().forEach((i, n) => frames[n].append(boxes(photo.said[i], width)));
}

const widthOf = (root) => root.querySelector('.photo').clientWidth;
