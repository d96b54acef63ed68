// One script with shared.js and photo.js, which draws one photo; page.py joins them and calls start().
const data = JSON.parse(document.getElementById('data').textContent);
const BATCH = 24;
const BROKEN = data.kinds.length; // the choice after the verdicts' kinds
const CHOICES = [...data.kinds, ['broken JSON', '!']];
const NO_LABEL = '(no label)';
const DEFAULTS = {
  stage: data.stages.at(-1)?.[0] ?? '', beside: '', label: '', kind: '', sort: '', q: '', photo: '',
  matrix: Object.keys(data.confusion).at(-1) ?? '', field: 'label',
};

// --- Data -----------------------------------------------------------------------------------------

const word = (number) => (number < 0 ? null : data.words[number]);
const finding = ([box, chance, label, ...values]) => ({ box, chance, label, values });

/** What can be filtered by: for all labels together and for each, a bit a kind. */
function facts(said) {
  let all = said.valid ? 0 : 1 << BROKEN;
  const broken = all;
  const labels = new Map();
  for (const [kind, i, j] of said.verdicts) {
    all |= 1 << kind;
    for (const label of new Set([said.found[i]?.label, said.true[j]?.label])) {
      if (label !== undefined) labels.set(label, (labels.get(label) ?? broken) | (1 << kind));
    }
  }
  const mistakes = said.verdicts.filter(([kind]) => kind > 0).length;
  const chances = said.found.map((f) => f.chance).filter((c) => c !== null);
  return { all, labels, mistakes, lowest: chances.length ? Math.min(...chances) : Infinity };
}

const photos = data.samples.map(([id, label, truth, answers]) => {
  const photo = { id, label, true: truth.map(finding) };
  photo.said = answers.map(([found, verdicts, text, valid, schema, tokens, finished]) => {
    const said = { found: found.map(finding), true: photo.true, verdicts, text, valid, schema, tokens, finished };
    return Object.assign(said, facts(said));
  });
  return photo;
});
const byId = new Map(photos.map((photo) => [photo.id.normalize(), photo]));
const present = new Set(photos.flatMap((photo) => photo.said.flatMap((said) => [...said.labels.keys()])));
const labels = data.words.slice(0, data.labels).map((name, number) => [name, number]);
if (present.has(-1)) labels.push([NO_LABEL, -1]);
const source = (id) => `${data.photos}/${encodeURIComponent(id)}.jpg`;

// --- State: what is chosen, in the address as well ------------------------------------------------

const state = { ...DEFAULTS };

function readHash() {
  const given = new URLSearchParams(location.hash.slice(1));
  Object.assign(state, DEFAULTS);
  for (const [key, value] of given) if (Object.hasOwn(DEFAULTS, key)) state[key] = value;
  const stages = data.stages.map(([stage]) => stage);
  if (!stages.includes(state.stage)) state.stage = DEFAULTS.stage;
  if (!stages.includes(state.beside) || state.beside === state.stage) state.beside = '';
  if (!labels.some(([name]) => name === state.label)) state.label = '';
  if (!CHOICES.some(([name]) => name === state.kind)) state.kind = '';
  if (!['mistakes', 'score'].includes(state.sort)) state.sort = '';
  if (!Object.hasOwn(data.confusion, state.matrix)) state.matrix = DEFAULTS.matrix;
  if (!Object.hasOwn(data.confusion[state.matrix] ?? {}, state.field)) state.field = DEFAULTS.field;
}

function hash(changes = {}) {
  const wanted = { ...state, ...changes };
  const changed = Object.entries(wanted).filter(([key, value]) => value !== DEFAULTS[key]);
  return `#${new URLSearchParams(changed)}`;
}

const indexOf = (stage) => data.stages.findIndex(([name]) => name === stage);
const columns = () => [state.stage, state.beside].filter(Boolean).map(indexOf);

// --- Filters --------------------------------------------------------------------------------------

/** The photos chosen, and for each choice of stage, label and kind how many there would be. */
function select() {
  const stage = indexOf(state.stage);
  const label = labels.find(([name]) => name === state.label)?.[1];
  const kind = CHOICES.findIndex(([name]) => name === state.kind);
  const bit = kind < 0 ? 0 : 1 << kind;
  const wanted = state.q.normalize().toLowerCase();
  const passes = (mask) => mask !== undefined && (bit === 0 || (mask & bit) !== 0);
  const none = (choices) => choices.map(() => 0);
  const counts = { stage: none(data.stages), label: new Map(), kind: none(CHOICES), labels: 0, kinds: 0 };
  const chosen = [];
  for (const photo of photos) {
    if (!photo.id.normalize().toLowerCase().includes(wanted)) continue;
    const mask = (said) => (label === undefined ? said.all : said.labels.get(label));
    photo.said.forEach((said, i) => { if (passes(mask(said))) counts.stage[i] += 1; });
    const said = photo.said[stage];
    const here = mask(said);
    if (passes(here)) chosen.push(photo);
    if (passes(said.all)) counts.labels += 1;
    for (const [number, m] of said.labels) {
      if (passes(m)) counts.label.set(number, (counts.label.get(number) ?? 0) + 1);
    }
    if (here !== undefined) {
      counts.kinds += 1;
      counts.kind.forEach((_, i) => { if (here & (1 << i)) counts.kind[i] += 1; });
    }
  }
  const key = { mistakes: (p) => -p.said[stage].mistakes, score: (p) => p.said[stage].lowest }[state.sort];
  if (key) chosen.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0));
  return { chosen, counts };
}

const option = (value, text) => h('option', { value }, text);
const kindClass = (name) => `k-${name.replaceAll(' ', '-')}`;

function makeFilters() {
  $('stage').append(...data.stages.map(([stage]) => option(stage, '')));
  $('beside').append(option('', 'no other stage'), ...data.stages.map(([stage, name]) => option(stage, name)));
  $('label').append(option('', ''), ...labels.map(([name]) => option(name, '')));
  const all = [['', ''], ...CHOICES];
  $('kinds').append(...all.map(([name, glyph]) => h('label', { class: `chip ${kindClass(name)}` },
    h('input', { type: 'radio', name: 'kind', value: name }),
    h('span', {}, `${glyph} ${name || 'anything'}`.trim(), h('small')))));
  $('filters').addEventListener('submit', (event) => event.preventDefault());
  $('filters').addEventListener('input', (event) => {
    const { id, name, value } = event.target;
    choose({ [id || name]: value });
  });
}

function showFilters(counts) {
  const n = (count) => count.toLocaleString('en');
  data.stages.forEach(([, name], i) => { $('stage').options[i].text = `${name} (${n(counts.stage[i])})`; });
  $('label').options[0].text = `all (${n(counts.labels)})`;
  labels.forEach(([name, number], i) => {
    $('label').options[i + 1].text = `${name} (${n(counts.label.get(number) ?? 0)})`;
  });
  for (const choice of $('beside').options) choice.disabled = choice.value === state.stage;
  for (const id of ['stage', 'beside', 'label', 'sort', 'q']) {
    if ($(id).value !== state[id]) $(id).value = state[id]; // else the cursor would jump
  }
  document.querySelectorAll('#kinds .chip').forEach((chip, i) => {
    chip.querySelector('input').checked = chip.querySelector('input').value === state.kind;
    chip.querySelector('small').textContent = n(i ? counts.kind[i - 1] : counts.kinds);
  });
}

// --- The list -------------------------------------------------------------------------------------

let chosen = [];
let drawn = 0;

function card(photo) {
  const link = h('a', { href: hash({ photo: photo.id }), 'data-photo': photo.id },
    h('b', {}, word(photo.label) ?? 'nothing to report'), h('span', { class: 'id' }, photo.id));
  const item = h('li', { class: 'card panel' }, link, sides(photo, false));
  item.querySelectorAll('.photo').forEach((frame) => frame.addEventListener('click', () => openPhoto(photo.id)));
  return item;
}

const watch = new IntersectionObserver(
  (entries) => { if (entries.some((entry) => entry.isIntersecting)) more(); },
  { rootMargin: '900px' },
);

/** The next cards. */
function more(count = BATCH) {
  const batch = chosen.slice(drawn, drawn + count).map((photo) => [photo, card(photo)]);
  drawn += batch.length;
  $('cards').append(...batch.map(([, item]) => item));
  // All are as wide as the first; to ask each would lay out the page anew for each.
  const width = batch.length && widthOf(batch[0][1]);
  for (const [photo, item] of batch) draw(photo, item, width);
  // Watched anew, the end of the list reports even where it is still in sight.
  watch.disconnect();
  if (drawn < chosen.length) watch.observe($('more'));
}

function showList() {
  const found = select();
  chosen = found.chosen;
  drawn = 0;
  showFilters(found.counts);
  const unknown = state.photo && !byId.has(state.photo.normalize()) ? ` There is no photo ${state.photo}.` : '';
  $('status').textContent = photos.length
    ? `${chosen.length.toLocaleString('en')} of ${photos.length.toLocaleString('en')} photos.${unknown}` : '';
  $('cards').replaceChildren();
  $('cards').classList.toggle('beside', state.beside !== '');
  more();
}

// --- One photo, large -----------------------------------------------------------------------------

const detail = $('detail');

function button(text, name, action, disabled = false) {
  return h('button', { type: 'button', 'data-do': name, 'aria-label': name, click: action, disabled }, text);
}

/** A finding as a report has it. */
function plain(f) {
  const values = data.fields.map((field, k) => [field, word(f.values[k])]);
  return { label: word(f.label), bbox: f.box, ...Object.fromEntries(values) };
}

function showDetail() {
  const photo = byId.get(state.photo.normalize());
  if (!photo) {
    if (detail.open) detail.close();
    return;
  }
  const i = chosen.indexOf(photo);
  const focused = document.activeElement?.dataset?.do;
  const pressed = String(!detail.classList.contains('bare'));
  const top = h('div', { class: 'bar-top' },
    h('h2', { id: 'detail-title' }, word(photo.label) ?? 'nothing to report', h('span', { class: 'id' }, photo.id)),
    h('span', { class: 'quiet', role: 'status' }, i < 0 ? 'not in the list' : `${i + 1} of ${chosen.length}`),
    button('←', 'previous photo', () => walk(-1), i <= 0),
    button('→', 'next photo', () => walk(1), i >= chosen.length - 1),
    h('button', { type: 'button', 'data-do': 'boxes', 'aria-pressed': pressed, click: bare }, 'Boxes'),
    button('✕', 'close', closePhoto));
  const truth = h('pre', {}, pretty(JSON.stringify(photo.true.map(plain))));
  const body = h('div', { class: 'body' }, sides(photo, true), h('h4', {}, 'Truth'), truth);
  detail.replaceChildren(top, body);
  if (!detail.open) detail.showModal();
  (detail.querySelector(`[data-do="${focused}"]:not(:disabled)`) ?? detail.querySelector('[data-do=close]')).focus();
  draw(photo, body, widthOf(body));
  detail.scrollTop = 0;
}

function bare() {
  const off = detail.classList.toggle('bare');
  detail.querySelector('[data-do=boxes]').setAttribute('aria-pressed', String(!off));
}

function openPhoto(id) {
  history.pushState(null, '', hash({ photo: id }));
  state.photo = id;
  showDetail();
}

function walk(by) {
  const next = chosen[chosen.indexOf(byId.get(state.photo.normalize())) + by];
  if (!next) return;
  state.photo = next.id;
  history.replaceState(null, '', hash());
  showDetail();
}

function closePhoto() {
  const id = state.photo;
  state.photo = '';
  history.replaceState(null, '', hash());
  detail.close();
  const place = chosen.indexOf(byId.get(id.normalize()));
  while (drawn <= place) more();
  const link = [...$('cards').querySelectorAll('[data-photo]')].find((a) => a.dataset.photo === id);
  link?.focus();
}

// --- The confusion matrix -------------------------------------------------------------------------

function showMatrix() {
  const matrices = data.confusion[state.matrix];
  if (!matrices) return;
  if (!(state.field in matrices)) state.field = Object.keys(matrices)[0];
  $('matrix-stage').value = state.matrix;
  $('matrix-field').replaceChildren(...Object.keys(matrices).map((field) => option(field, field)));
  $('matrix-field').value = state.field;
  const { values, matrix } = matrices[state.field];
  const names = [...values, 'none'];
  const none = (i) => (i === values.length ? 'none' : '');
  const head = h('tr', {}, h('th', {}, 'truth ↓', h('br'), 'prediction →'),
    ...names.map((name, j) => h('th', { scope: 'col', class: none(j) }, h('span', {}, name))));
  const rows = matrix.map((row, i) => {
    const whole = row.reduce((sum, count) => sum + count, 0);
    return h('tr', { class: none(i) }, h('th', { scope: 'row', title: names[i] }, names[i]), ...row.map((count, j) => {
      const share = whole ? (100 * count) / whole : 0;
      const style = `--share: ${share ? Math.round(6 + 0.54 * share) : 0}`;
      const kind = `${i === j ? 'same' : ''} ${none(j)} ${count ? '' : 'zero'}`;
      const corner = i === j && i === values.length;
      const title = `truth ${names[i]}, prediction ${names[j]}: ${count} of ${whole} (${share.toFixed(0)} %)`;
      return h('td', { class: kind, style, title }, corner ? '' : `${count}`);
    }));
  });
  $('matrix').replaceChildren(h('thead', {}, head), h('tbody', {}, ...rows));
}

// --- Together -------------------------------------------------------------------------------------

function choose(changes) {
  Object.assign(state, changes);
  if (state.beside === state.stage) state.beside = '';
  history.replaceState(null, '', hash());
  showList();
}

function show() {
  readHash();
  if (photos.length && data.stages.length) showList();
  showMatrix();
  showDetail();
}

/** A link to a section goes there and leaves the choices alone; one to a view shows it. */
function follow(event) {
  const link = event.target.closest('a[href^="#"]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const section = document.querySelector(`section[id="${CSS.escape(link.hash.slice(1))}"]`);
  if (section) section.scrollIntoView();
  else if (link.dataset.photo !== undefined) openPhoto(link.dataset.photo);
  else {
    history.pushState(null, '', link.hash);
    show();
    $('photos').scrollIntoView();
  }
}

function onKey(event) {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  walk(by);
}

function chooseMatrix() {
  state.matrix = $('matrix-stage').value;
  state.field = $('matrix-field').value;
  history.replaceState(null, '', hash());
  showMatrix();
}

function start() {
  makeFilters();
  const folder = new URL(data.photos, location.href);
  const place = decodeURI(folder.protocol === 'file:' ? folder.pathname : folder.href);
  $('missing').textContent = `Photos are expected in ${place} and are not all there: boxes are drawn on grey. `
    + 'Keep the page in its place, or copy the photos along.';
  for (const id of ['matrix-stage', 'matrix-field']) $(id)?.addEventListener('change', chooseMatrix);
  document.addEventListener('click', follow);
  detail.addEventListener('keydown', onKey);
  detail.addEventListener('cancel', (event) => { event.preventDefault(); closePhoto(); });
  detail.addEventListener('click', (event) => { if (event.target === detail) closePhoto(); });
  window.addEventListener('popstate', show);
  window.addEventListener('beforeprint', () => { for (const image of document.images) image.loading = 'eager'; });
  show();
  performance.mark('usable');
}

