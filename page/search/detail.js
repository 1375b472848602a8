// The panel of one item: what is pressed in it goes to Python as one `act` (or `why`) with the item's id.
const of = (selector) => element.querySelector(selector);
const rounded = (number, digits) => String(Number(number.toFixed(digits)));

// --- pictures that grow, and a page's picture that is moved in its window ---
const grow = (step) => {
  const room = of('.mm-room'), picture = room?.querySelector('img');
  if (!picture) return;
  const levels = [1, 1.5, 2, 3, 4];
  const before = Number(room.dataset.zoom || 1);
  const after = levels[Math.min(levels.length - 1, Math.max(0, levels.indexOf(before) + step))];
  // What is in the middle of the window stays there.
  const x = (room.scrollLeft + room.clientWidth / 2) / room.scrollWidth;
  const y = (room.scrollTop + room.clientHeight / 2) / room.scrollHeight;
  room.dataset.zoom = after;
  room.classList.toggle('mm-grown', after > 1);
  picture.style.width = after > 1 ? `${100 * after}%` : '';
  room.scrollLeft = x * room.scrollWidth - room.clientWidth / 2;
  room.scrollTop = y * room.scrollHeight - room.clientHeight / 2;
  const said = of('.mm-zoomed');
  if (said) said.textContent = `${Math.round(100 * after)} %`;
};

// --- a video and the bar of its whole length ---
const length = () => Number(of('.mm-film')?.dataset.seconds || 0);
const seek = (seconds) => {
  const video = of('video');
  if (!video) return;
  const go = () => { video.currentTime = seconds; };
  // The address that it came with ends with its clip, where the browser would stop it once more.
  const [plain, clip] = video.src.split('#');
  if (!clip) return go();
  video.addEventListener('loadedmetadata', go, {once: true});
  video.src = plain;
};
// The moment that is shown. Before the film has come that is where its clip begins; and a film that has played to its
// end shows its last frame, which was shown a little before.
const moment = (video) => {
  const end = Math.min(video?.duration || Infinity, length() || Infinity) - 0.02;
  const shown = video?.readyState ? video.currentTime : Number(of('.mm-this')?.dataset.seek ?? 0);
  return `t=${rounded(Math.max(0, Math.min(shown, end)), 2)}`;
};
const follow = (event) => {
  const now = of('.mm-head-now');
  if (event.target.tagName === 'VIDEO' && now && length())
    now.style.left = `${Math.min(100, 100 * event.target.currentTime / length())}%`;
};
['timeupdate', 'seeked', 'loadedmetadata'].forEach((name) => element.addEventListener(name, follow, true));

// --- a region of what is shown ---
// The box in which the pixels are: a picture may be narrower or lower than the room that it has.
const pixels = (shown) => {
  const box = shown.getBoundingClientRect();
  const wide = shown.naturalWidth || shown.videoWidth, high = shown.naturalHeight || shown.videoHeight;
  if (!wide || !high) return box;
  const scale = Math.min(box.width / wide, box.height / high);
  const width = wide * scale, height = high * scale;
  return {left: box.left + (box.width - width) / 2, top: box.top + (box.height - height) / 2, width, height};
};
const within = (value) => Math.min(100, Math.max(0, value));
let drawn = null;
const choosing = (on) => {
  of('.mm-stage')?.classList.toggle('mm-choosing', on);
  const told = of('.mm-told');
  if (told) told.textContent = on ? 'Drag a rectangle over what you are looking for. Esc to leave it.' : '';
  of('[data-do="choose"]')?.setAttribute('aria-pressed', on);
  if (on) of('video')?.pause();
  of('.mm-frame')?.remove();
  drawn = null;
};
const rectangle = (event) => {
  const box = pixels(of('.mm-stage .mm-large'));
  const at = {x: within(100 * (event.clientX - box.left) / box.width), y: within(100 * (event.clientY - box.top) / box.height)};
  const from = drawn.from ?? at;
  return {from, x: Math.min(from.x, at.x), y: Math.min(from.y, at.y), width: Math.abs(at.x - from.x), height: Math.abs(at.y - from.y)};
};
const outline = () => {
  const stage = of('.mm-stage').getBoundingClientRect(), box = pixels(of('.mm-stage .mm-large'));
  const frame = of('.mm-frame') ?? of('.mm-stage').appendChild(Object.assign(document.createElement('span'), {className: 'mm-frame'}));
  frame.style.left = `${box.left - stage.left + drawn.x * box.width / 100}px`;
  frame.style.top = `${box.top - stage.top + drawn.y * box.height / 100}px`;
  frame.style.width = `${drawn.width * box.width / 100}px`;
  frame.style.height = `${drawn.height * box.height / 100}px`;
};
const glass = (event) => event.target.closest?.('.mm-glass');
element.addEventListener('pointerdown', (event) => {
  if (!glass(event)) return;
  event.preventDefault();
  try { event.target.setPointerCapture(event.pointerId); } catch { /* a pointer that is gone already */ }
  drawn = {};
  drawn = rectangle(event);
});
element.addEventListener('pointermove', (event) => {
  if (!drawn || !glass(event)) return;
  drawn = rectangle(event);
  outline();
});
element.addEventListener('pointercancel', () => choosing(false));
element.addEventListener('pointerup', (event) => {
  if (!drawn || !glass(event)) return;
  const {x, y, width, height} = rectangle(event);
  if (width < 2 || height < 2) { drawn = null; return; }  // a click, or a slip
  const numbers = [x, y, Math.min(width, 100 - x), Math.min(height, 100 - y)].map((n) => rounded(n, 2)).join(',');
  const video = of('video'), region = `xywh=percent:${numbers}`;
  const fragment = video ? `${moment(video)}&${region}` : region;
  trigger('act', {do: 'region', item: of('.mm-detail').dataset.about, fragment, keep: keeps});
  choosing(false);
});
element.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape' || !of('.mm-choosing')) return;
  event.stopPropagation();
  choosing(false);
});

// --- what is pressed ---
// Whether the parts that are there stay: as it was chosen, until it is chosen otherwise.
let keeps = false;
element.addEventListener('change', ({target}) => { if (target.matches('[data-keep]')) keeps = target.checked; });
watch('value', () => { const box = of('[data-keep]'); if (box) box.checked = keeps; });
element.addEventListener('click', (event) => {
  const clip = event.target.closest('[data-seek]'), bar = event.target.closest('.mm-film');
  if (clip) return seek(Number(clip.dataset.seek));
  if (bar) {
    const box = bar.getBoundingClientRect();
    return seek(length() * Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)));
  }
  const button = event.target.closest('[data-do]');
  if (!button) return;
  const {do: what, item} = button.dataset;
  if (what === 'grow') return grow(Number(button.dataset.step));
  if (what === 'choose') return choosing(!of('.mm-choosing'));
  if (what === 'moment') return trigger('act', {do: 'region', item, fragment: moment(of('video')), keep: keeps});
  if (what === 'why') return trigger('why', {item});
  trigger('act', {do: what, item, fragment: '', keep: keeps && what === 'query'});
});
