// The review page; review_page.py joins it with shared.js. Reports and photos lie in script elements, worst first.
const page = JSON.parse($('page').textContent);
const BATCH = 24;
const NONE = '(none)';
const photos = [...document.querySelectorAll('script.report')].map((element, rank) => {
  const report = JSON.parse(element.textContent);
  return { rank, element, report, search: report.photo.normalize().toLowerCase() };
});
const byName = new Map(photos.map((photo) => [photo.report.photo, photo]));
const SHOW = [
  ['', 'all', () => true],
  ['errors', 'errors', ({ error }) => error !== null],
  ['empty', 'without findings', ({ error, findings }) => error === null && findings.length === 0],
  ['untrue', 'not as the schema asks', (r) => r.error === null && !r.schema_true],
  ['cut', 'cut off', (r) => r.error === null && !r.finished],
  ['cramped', 'findings may be missing', (r) => r.cramped],
];
// What a single finding is asked for: label, each field.
const ASKED = { label: page.labels, ...page.fields };
const fieldId = (name) => (name === 'label' ? 'label' : `field-${name}`);
const DEFAULTS = { show: '', below: '', q: '', photo: '', ...Object.fromEntries(Object.keys(ASKED).map((n) => [`f-${n}`, ''])) };
const state = { ...DEFAULTS };

// --- State: in the address as well ------------------------------------------------------------------

function readHash() {
  Object.assign(state, DEFAULTS);
  for (const [key, value] of new URLSearchParams(location.hash.slice(1))) {
    if (Object.hasOwn(DEFAULTS, key)) state[key] = value;
  }
  if (!SHOW.some(([name]) => name === state.show)) state.show = '';
  for (const [name, values] of Object.entries(ASKED)) {
    if (state[`f-${name}`] !== NONE && !values.includes(state[`f-${name}`])) state[`f-${name}`] = '';
  }
  if (!(Number(state.below) > 0)) state.below = '';
}

function hash(changes = {}) {
  const changed = Object.entries({ ...state, ...changes }).filter(([key, value]) => value !== DEFAULTS[key]);
  return `#${new URLSearchParams(changed)}`;
}

// --- Filters ----------------------------------------------------------------------------------------

const says = (finding, name) => finding[name] ?? NONE;

/** The photos chosen, and for each choice how many there would be. All that is asked of a finding, one finding has. */
function select() {
  const wanted = state.q.normalize().toLowerCase();
  const asked = Object.keys(ASKED).filter((name) => state[`f-${name}`] !== '');
  const limit = state.below === '' ? null : Number(state.below) / 100;
  const sure = (finding) => limit === null || finding.score === null || finding.score < limit;
  const counts = { show: SHOW.map(() => 0) };
  for (const name of Object.keys(ASKED)) counts[name] = new Map();
  const chosen = [];
  const shows = SHOW.find(([name]) => name === state.show)[2];
  for (const photo of photos) {
    if (!photo.search.includes(wanted)) continue;
    const { report } = photo;
    const fit = report.findings.map((f) => asked.filter((name) => says(f, name) !== state[`f-${name}`]))
      .map((misses, i) => (sure(report.findings[i]) ? misses : null));
    const free = asked.length === 0 && (limit === null || (report.error !== null && report.findings.length === 0));
    const passes = free || fit.some((misses) => misses?.length === 0);
    if (passes) SHOW.forEach(([, , test], i) => { if (test(report)) counts.show[i] += 1; });
    if (!shows(report)) continue;
    if (passes) chosen.push(photo);
    for (const name of Object.keys(ASKED)) {
      const others = (misses) => misses !== null && misses.every((other) => other === name);
      for (const value of new Set(report.findings.filter((_, i) => others(fit[i])).map((f) => says(f, name)))) {
        counts[name].set(value, (counts[name].get(value) ?? 0) + 1);
      }
    }
  }
  return { chosen, counts };
}

function makeFilters() {
  const choice = (name) => h('label', {}, name, ' ', h('select', { id: fieldId(name) }));
  $('fields').append(...Object.keys(page.fields).map(choice));
  for (const [name, values] of Object.entries(ASKED)) {
    const odd = photos.some(({ report }) => report.findings.some((f) => f[name] == null));
    const options = ['', ...values, ...(odd ? [NONE] : [])];
    $(fieldId(name)).append(...options.map((value) => h('option', { value }, value)));
  }
  $('kinds').append(...SHOW.map(([value, name]) => h('label', { class: 'chip' },
    h('input', { type: 'radio', name: 'show', value }), h('span', {}, name, h('small')))));
  $('filters').addEventListener('submit', (event) => event.preventDefault());
  $('filters').addEventListener('input', ({ target }) => {
    const name = Object.keys(ASKED).find((known) => fieldId(known) === target.id);
    state[name ? `f-${name}` : target.name || target.id] = target.value;
    history.replaceState(null, '', hash());
    showList();
  });
}

function showFilters(counts) {
  const n = (count) => (count ?? 0).toLocaleString('en');
  for (const name of Object.keys(ASKED)) {
    const element = $(fieldId(name));
    for (const option of element.options) {
      option.text = option.value === '' ? 'any' : `${option.value} (${n(counts[name].get(option.value))})`;
    }
    if (element.value !== state[`f-${name}`]) element.value = state[`f-${name}`];
  }
  for (const id of ['below', 'q']) if ($(id).value !== state[id]) $(id).value = state[id];
  document.querySelectorAll('#kinds .chip').forEach((chip, i) => {
    chip.querySelector('input').checked = SHOW[i][0] === state.show;
    chip.querySelector('small').textContent = n(counts.show[i]);
  });
}

// --- One photo --------------------------------------------------------------------------------------

const percent = (score) => (score === null ? 'score unknown' : `${(100 * score).toFixed(0)}\u202f%`);
const colour = (finding) => `--kind: ${page.colours[finding.label] ?? '#5a6774'}`;

function picture({ report, element }) {
  const { width, height, photo } = report;
  if (!width) return h('div', { class: 'photo' }, h('span', { class: 'none' }, 'no photo'));
  const { jpeg } = element.dataset;
  const image = jpeg
    ? h('img', { src: `data:image/jpeg;base64,${jpeg}`, width, height, decoding: 'async', alt: `photo ${photo}` })
    : h('span', { class: 'none' }, 'the photo could not be read');
  return h('div', { class: 'photo', style: `--shape: ${width / height}` }, image);
}

/** Boxes with their numbers, labels and scores; `shown` is the drawing's width in pixels. */
function boxes({ findings, width, height }, shown) {
  const unit = width / shown;
  const taken = [];
  const drawn = findings.map((finding, i) => [finding, i]).filter(([finding]) => finding.bbox);
  const layer = svg('svg', { viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true' }, ...drawn.map(([f]) => {
    const [x, y, right, bottom] = f.bbox;
    const at = { x, y, width: right - x, height: bottom - y };
    return svg('g', { style: colour(f) }, ...['halo', 'box'].map((line) => svg('rect', { class: line, ...at })));
  }));
  for (const [f, i] of drawn) {
    const text = [i + 1, f.label ?? NONE, ...(f.score === null ? [] : [percent(f.score)])].join(' ');
    layer.append(svg('g', { style: colour(f) }, tag(f.bbox, text, unit, taken, [width, height])));
  }
  return layer;
}

function draw(photo, root, shown) {
  if (photo.report.width) root.querySelector('.photo').append(boxes(photo.report, shown));
}

function described(finding, i) {
  const values = Object.keys(page.fields).map((name) => finding[name] ?? `${name} none`).join(' · ');
  const where = finding.bbox ? '' : '; no box';
  return h('li', {}, h('span', { class: 'n' }, `${i + 1}`), h('span', {},
    h('b', {}, finding.label ?? NONE), ` ${percent(finding.score)}${where}`, h('small', {}, values)));
}

function words({ report }) {
  const flags = [];
  if (report.error) flags.push(`no report: ${report.error.reason}, ${report.error.detail}`);
  else {
    if (!report.schema_true) flags.push('not as the schema asks');
    if (!report.finished) flags.push('cut off');
    if (report.cramped) flags.push('findings may be missing');
  }
  const list = report.findings.map(described);
  if (!list.length && !report.error) list.push(h('li', {}, h('span', {}), h('span', {}, 'nothing found')));
  return [h('ol', { class: 'findings' }, ...list),
    h('p', { class: 'flags' }, ...flags.map((flag) => h('b', {}, `! ${flag} `)))];
}

function side(photo, json) {
  return h('div', { class: 'side' }, picture(photo),
    h('div', { class: 'words' }, h('div', {}, ...words(photo), h('pre', { tabindex: 0 }, json))));
}

/** A report's JSON, boxes on one line each; a line break inside a text is no line break there. */
const laidOut = (report) => JSON.stringify(report, null, 1)
  .replace(/\[\n[\s\d.,-]+\]/g, (box) => box.replace(/\s+/g, '').replaceAll(',', ', '));

const titled = (photo) => [h('b', {}, photo.report.photo),
  h('span', { class: 'id' }, photo.report.findings.length ? percent(photo.report.score) : '')];

// --- The list ---------------------------------------------------------------------------------------

let chosen = [];
let drawn = 0;

function card(photo) {
  const link = h('a', { href: hash({ photo: photo.report.photo }), 'data-photo': photo.rank }, ...titled(photo));
  const item = h('li', { class: 'card panel' }, link, side(photo, pretty(JSON.stringify(photo.report.findings))));
  item.querySelector('.photo').addEventListener('click', () => openPhoto(photo));
  return item;
}

const watch = new IntersectionObserver(
  (entries) => { if (entries.some((entry) => entry.isIntersecting)) more(); }, { rootMargin: '900px' });

function more(count = BATCH) {
  const batch = chosen.slice(drawn, drawn + count).map((photo) => [photo, card(photo)]);
  drawn += batch.length;
  $('cards').append(...batch.map(([, item]) => item));
  const shown = batch.length && batch[0][1].querySelector('.photo').clientWidth; // all are as wide as the first
  for (const [photo, item] of batch) draw(photo, item, shown);
  watch.disconnect();
  if (drawn < chosen.length) watch.observe($('more'));
}

function showList() {
  const found = select();
  chosen = found.chosen;
  drawn = 0;
  showFilters(found.counts);
  const unknown = state.photo && !byName.has(state.photo) ? ` There is no photo ${state.photo} on this page.` : '';
  $('status').textContent = `${chosen.length.toLocaleString('en')} of ${photos.length.toLocaleString('en')} photos.${unknown}`;
  $('cards').replaceChildren();
  more();
}

// --- One photo, large -------------------------------------------------------------------------------

const detail = $('detail');

function button(text, name, action, disabled = false) {
  return h('button', { type: 'button', 'data-do': name, 'aria-label': name, click: action, disabled }, text);
}

function showDetail() {
  const photo = byName.get(state.photo);
  if (!photo) {
    if (detail.open) detail.close();
    return;
  }
  const i = chosen.indexOf(photo);
  const focused = document.activeElement?.dataset?.do;
  const pressed = String(!detail.classList.contains('bare'));
  const top = h('div', { class: 'bar-top' }, h('h2', { id: 'detail-title' }, ...titled(photo)),
    h('span', { class: 'quiet', role: 'status' }, i < 0 ? 'not in the list' : `${i + 1} of ${chosen.length}`),
    button('←', 'previous photo', () => walk(-1), i <= 0),
    button('→', 'next photo', () => walk(1), i >= chosen.length - 1),
    h('button', { type: 'button', 'data-do': 'boxes', 'aria-pressed': pressed, click: bare }, 'Boxes'),
    button('✕', 'close', closePhoto));
  const body = h('div', { class: 'body' }, side(photo, laidOut(photo.report)));
  detail.replaceChildren(top, body);
  if (!detail.open) detail.showModal();
  (detail.querySelector(`[data-do="${focused}"]:not(:disabled)`) ?? detail.querySelector('[data-do=close]')).focus();
  draw(photo, body, body.querySelector('.photo').clientWidth);
  detail.scrollTop = 0;
}

function bare() {
  const off = detail.classList.toggle('bare');
  detail.querySelector('[data-do=boxes]').setAttribute('aria-pressed', String(!off));
}

function openPhoto(photo) {
  state.photo = photo.report.photo;
  history.pushState(null, '', hash());
  showDetail();
}

function walk(by) {
  const next = chosen[chosen.indexOf(byName.get(state.photo)) + by];
  if (!next) return;
  state.photo = next.report.photo;
  history.replaceState(null, '', hash());
  showDetail();
}

function closePhoto() {
  const photo = byName.get(state.photo);
  state.photo = '';
  history.replaceState(null, '', hash());
  detail.close();
  while (drawn <= chosen.indexOf(photo)) more();
  $('cards').querySelector(`[data-photo="${photo.rank}"]`)?.focus();
}

// --- Together ---------------------------------------------------------------------------------------

function show() {
  readHash();
  showList();
  showDetail();
}

function follow(event) {
  const link = event.target.closest('a[data-photo]');
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  openPhoto(photos[link.dataset.photo]);
}

function onKey(event) {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  walk(by);
}

const leftOut = page.total - photos.length;
if (leftOut) {
  $('left-out').hidden = false;
  $('left-out').textContent = `This page holds the ${photos.length.toLocaleString('en')} photos to look at first, as many `
    + `as fit into ${page.mib} MiB; ${leftOut.toLocaleString('en')} others are in reports.jsonl and findings.csv.`;
}
makeFilters();
document.addEventListener('click', follow);
detail.addEventListener('keydown', onKey);
detail.addEventListener('cancel', (event) => { event.preventDefault(); closePhoto(); });
detail.addEventListener('click', (event) => { if (event.target === detail) closePhoto(); });
window.addEventListener('popstate', show);
window.addEventListener('beforeprint', () => more(chosen.length));
show();
performance.mark('usable');
