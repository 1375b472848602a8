// Saves what a bar of files stands for (eval/saving.py). `drawing` gives plotly, once it is there.
const SHARP = 2;   // a PNG has so many points for each of the picture's
// Plots whose lengths mean the same along both axes need less room at their sides.
const WIDE = 1000, SQUARE = 720;
const EDGE = 20;
// What no XML may hold, even escaped.
const ILLEGAL = /[\u0000-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/g;
const xml = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;').replace(/"/g, '&quot;');
const wrapped = (text, letters) => {
  const rows = [''];
  text.split(/\s+/).forEach((word) => {
    const last = rows[rows.length - 1];
    if (last && last.length + word.length >= letters) rows.push(word);
    else rows[rows.length - 1] = last ? `${last} ${word}` : word;
  });
  return rows.map((row) => (row.length > letters ? `${row.slice(0, letters - 1)}…` : row));
};
// A picture with its title above it, and below it what it was measured on.
const framed = ({text, width, height}, title, note) => {
  const above = wrapped(title, Math.floor((width - 2 * EDGE) / 9.4));
  const below = note ? wrapped(note, Math.floor((width - 2 * EDGE) / 6.4)) : [];
  const top = 14 + 22 * above.length;
  const whole = top + height + (below.length ? 12 + 16 * below.length : 0) + 10;
  const row = (said, y, look) => `<text x="${EDGE}" y="${y}" ${look}>${xml(said)}</text>`;
  const head = above.map((said, i) => row(said, 26 + 22 * i, 'font-size="17" font-weight="600" fill="#1e293b"')).join('');
  const foot = below.map((said, i) => row(said, top + height + 20 + 16 * i, 'font-size="12" fill="#475569"')).join('');
  const inner = text.replace(/^\s*<svg\b/, `<svg x="0" y="${top}"`);
  const opening = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${whole}" viewBox="0 0 ${width} ${whole}" `
    + 'font-family="system-ui, \'Segoe UI\', Roboto, \'Noto Sans\', sans-serif">';
  const sheet = `<rect width="${width}" height="${whole}" fill="#ffffff"/>`;
  return {width, height: whole, text: `${opening}${sheet}${head}${inner}${foot}</svg>`.replace(ILLEGAL, '')};
};
// plotly turns what looks like an entity in somebody's words into one, which XML need not know.
const strict = (text) => text.replace(/&(?!(?:amp|lt|gt|quot|apos|#60|#62);)/g, '&amp;');
const plotted = async ({data, layout}) => {
  const height = layout.height ?? 440, width = layout.yaxis?.scaleanchor ? SQUARE : WIDE;
  const plain = {...layout, width, height, autosize: false, paper_bgcolor: '#ffffff', plot_bgcolor: '#ffffff', font: {...layout.font, color: '#1e293b'}};
  const image = await (await drawing()).toImage({data, layout: plain}, {format: 'svg', width, height});
  return {text: strict(decodeURIComponent(image.slice(image.indexOf(',') + 1))), width, height};
};
// A drawing as it came with the page; of its layers those that are in sight, and pictures that the page shows already.
const drawn = (box) => {
  const svg = box.querySelector('.mm-saved-picture').content.querySelector('svg').cloneNode(true);
  const around = box.parentElement;
  svg.querySelectorAll('[data-layer]').forEach((layer) => {
    if (around.querySelector(`[data-layer="${layer.dataset.layer}"][hidden]`)) layer.remove();
  });
  svg.querySelectorAll('image[data-shown]').forEach((image) => image.setAttribute('href', around.querySelector(image.dataset.shown).src));
  const [width, height] = ['width', 'height'].map((side) => Number(svg.getAttribute(side)));
  return {text: new XMLSerializer().serializeToString(svg), width, height};
};
const pictured = async (box) => {
  const [, way, where] = /^(\w*):?(.*)$/s.exec(box.dataset.picture ?? '');
  if (way === 'from') return document.querySelector(where).mmPicture();
  if (way === 'script') return plotted(JSON.parse(document.getElementById(where).textContent));
  if (way !== 'figure') return drawn(box);
  const answer = await fetch(where);
  if (!answer.ok) throw new Error(await answer.text());
  return plotted(await answer.json());
};
const rastered = async ({text, width, height}) => {
  const image = new Image();
  image.src = URL.createObjectURL(new Blob([text], {type: 'image/svg+xml'}));
  await image.decode();
  const canvas = Object.assign(document.createElement('canvas'), {width: SHARP * width, height: SHARP * height});
  canvas.getContext('2d').drawImage(image, 0, 0, canvas.width, canvas.height);
  URL.revokeObjectURL(image.src);
  return new Promise((done, failed) => canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error('the picture is too large'))), 'image/png'));
};
const given = (blob, name) => {
  const link = Object.assign(document.createElement('a'), {href: URL.createObjectURL(blob), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
};
const save = async (box, format) => {
  const {name, title, note} = box.dataset, said = box.querySelector('.mm-saving-said'), before = said.textContent;
  said.textContent = 'drawing…';
  try {
    const whole = framed(await pictured(box), title, note);
    given(format === 'svg' ? new Blob([whole.text], {type: 'image/svg+xml'}) : await rastered(whole), `${name}.${format}`);
    said.textContent = before;
  } catch (error) {
    said.textContent = `This picture could not be saved: ${error.message}`;
  }
};
document.addEventListener('click', (event) => {
  const button = event.target.closest?.('button[data-save]'), box = button?.closest('.mm-saving');
  if (!box) return;
  if (button.dataset.save !== 'table') { save(box, button.dataset.save); return; }
  const table = box.querySelector('.mm-saved-table');
  if (!table.childElementCount) table.append(box.querySelector('.mm-saved-rows').content.cloneNode(true));
  table.hidden = !table.hidden;
  button.setAttribute('aria-expanded', String(!table.hidden));
});
