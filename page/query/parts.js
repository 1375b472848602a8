// The row of parts: sliders, crosses, marks, crops; the page's address; pictures that are pasted or dropped anywhere.
const partOf = (target) => target.closest('[data-part]');
const number = (target) => Number(partOf(target).dataset.part);
// By its key a part is found again where another search has moved it before this is heard. What changes the key itself
// leaves it empty until the row is drawn anew: the number counts until then.
const which = (target) => ({part: number(target), key: partOf(target).dataset.key});
const send = (target, said) => {
  trigger('part', {...which(target), ...said});
  if (said.do === 'words' || said.do === 'crop') partOf(target).dataset.key = '';
};
const said = (weight) => (weight === 0 ? 'not at all' : `${weight > 0 ? 'towards' : 'away'} ${Math.abs(weight)}`);
let open = -1;
// A weight that is still being changed, by keys or by hand, is sent when it has come to rest.
const REST = 350;
let resting = null;

const show = (place) => {
  open = place;
  element.querySelectorAll('[data-part]').forEach((part) => {
    const here = Number(part.dataset.part) === place;
    const pop = part.querySelector('.mm-pop');
    if (pop) pop.hidden = !here;
    part.querySelector('[data-do="open"]')?.setAttribute('aria-expanded', String(here));
  });
  const pop = element.querySelector('.mm-pop:not([hidden])');
  if (pop) pop.style.marginLeft = `${Math.min(0, innerWidth - 12 - (pop.getBoundingClientRect().left - parseFloat(pop.style.marginLeft || 0)) - pop.offsetWidth)}px`;
};

element.addEventListener('input', (event) => {
  if (event.target.dataset.do !== 'weight') return;
  event.target.nextElementSibling.textContent = said(Number(event.target.value));
});
element.addEventListener('change', (event) => {
  const {target} = event;
  if (target.dataset.do === 'weight') {
    clearTimeout(resting?.timer);
    const part = which(target), weight = Number(target.value);
    const timer = setTimeout(() => { resting = null; trigger('part', {...part, do: 'weight', weight}); }, REST);
    resting = {...part, weight, timer};
  }
  if (target.dataset.do === 'words') send(target, {do: 'words', words: target.value});
  if (target.dataset.do === 'region') send(target, {do: 'crop', region: target.value});
});
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-do]');
  if (!button) return;
  const {do: act, mark} = button.dataset;
  if (act === 'everywhere') trigger('part', {do: 'everywhere'});
  if (act === 'remove') { show(-1); send(button, {do: 'remove'}); }
  if (act === 'mark') send(button, {do: 'mark', mark});
  if (act === 'whole') send(button, {do: 'crop', region: ''});
  if (act === 'open') show(open === number(button) ? -1 : number(button));
  if (act === 'shut') show(-1);
});

// A rectangle is dragged, in percent of the picture, so that its size on the screen does not matter.
let drag = null;
const percent = (event, area) => {
  const box = area.getBoundingClientRect();
  const within = (value, size) => Math.min(100, Math.max(0, (100 * value) / size));
  return [within(event.clientX - box.left, box.width), within(event.clientY - box.top, box.height)];
};
const rectangle = (event) => {
  const [x, y] = percent(event, drag.area);
  const left = Math.min(x, drag.x), top = Math.min(y, drag.y);
  return [left, top, Math.abs(x - drag.x), Math.abs(y - drag.y)];
};
element.addEventListener('pointerdown', (event) => {
  const area = event.target.closest('.mm-crop');
  if (!area) return;
  event.preventDefault();
  const [x, y] = percent(event, area);
  drag = {area, x, y};
  area.setPointerCapture(event.pointerId);
});
element.addEventListener('pointermove', (event) => {
  if (!drag) return;
  const [left, top, width, height] = rectangle(event);
  const box = drag.area.querySelector('.mm-crop-box');
  box.hidden = false;
  Object.assign(box.style, {left: `${left}%`, top: `${top}%`, width: `${width}%`, height: `${height}%`});
});
element.addEventListener('pointerup', (event) => {
  if (!drag) return;
  const numbers = rectangle(event).map((n) => Math.round(n * 10) / 10);
  const {area} = drag;
  drag = null;
  // A click without a drag is no region.
  if (numbers[2] >= 2 && numbers[3] >= 2) send(area, {do: 'crop', region: numbers.join(', ')});
});

// The address follows the search, and the other way round.
const themed = () => new URLSearchParams(location.search).get('__theme');
// After a step through the history the address is ahead of the row, until the row of that very step comes.
let returning = true, steps = 0, pending = 0;
const follow = () => {
  const row = element.querySelector('.mm-pieces');
  if (!row || (pending && Number(row.dataset.step) !== pending)) return;
  pending = 0;
  if (row.dataset.link === undefined) return;
  const theme = themed();
  const query = [row.dataset.link, theme ? `__theme=${encodeURIComponent(theme)}` : ''].filter(Boolean).join('&');
  const wanted = `${location.pathname}${query ? `?${query}` : ''}`;
  if (wanted !== `${location.pathname}${location.search}`) {
    if (returning) history.replaceState(null, '', wanted);
    else history.pushState(null, '', wanted);
  }
  returning = false;
  if (row.dataset.said) window.dispatchEvent(new CustomEvent('mm-asked', {detail: {...row.dataset}}));
};
// What had the focus before the row was drawn anew has it again, and a weight that is not sent yet is kept.
let held = null;
element.addEventListener('focusin', ({target}) => {
  held = target.dataset.do && partOf(target) ? {part: number(target), do: target.dataset.do} : null;
});

const control = (part, name) => element.querySelector(`[data-part="${part}"] [data-do="${name}"]`);
watch('value', () => {
  if (open >= 0) show(open);
  const slider = resting
    && element.querySelector(`${resting.key ? `[data-key="${resting.key}"]` : `[data-part="${resting.part}"]`} [data-do="weight"]`);
  if (slider) { slider.value = resting.weight; slider.nextElementSibling.textContent = said(resting.weight); }
  if (held && document.activeElement === document.body) control(held.part, held.do)?.focus();
  follow();
});
const whileHere = (target, name, act) => {
  const listen = (event) => { if (element.isConnected) act(event); else target.removeEventListener(name, listen); };
  target.addEventListener(name, listen);
};
whileHere(document, 'pointerdown', ({target}) => { if (!element.contains(target)) held = null; });
// Words are taken out of their box in the moment that they are sent: what is typed from then on is the next words, even
// while these are looked for.
const taken = () => {
  const box = document.querySelector('#words textarea, #words input');
  const words = box.value;
  box.value = '';
  box.dispatchEvent(new Event('input', {bubbles: true}));
  return words;
};
whileHere(document, 'click', ({target}) => {
  if (target.closest?.('#search')) trigger('words', {words: taken()});
  if (!target.closest?.('#clear')) return;
  clearTimeout(resting?.timer);
  resting = null;
  taken();
  trigger('fresh', {});
});
whileHere(document, 'keydown', (event) => {
  if (event.key !== 'Enter' || event.shiftKey || !event.target.closest?.('#words')) return;
  // An Enter that ends the writing of a Chinese or Japanese word: Safari says so by its code alone.
  if (event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  if (!event.repeat) trigger('words', {words: taken()});
});
whileHere(window, 'popstate', () => {
  pending = steps += 1;
  returning = true;
  trigger('link', {link: location.search, step: steps});
});

// A picture that is pasted, or dropped anywhere, takes the way of one that is chosen from the disk.
const give = (files) => {
  const picture = [...(files ?? [])].find((file) => file.type.startsWith('image/'));
  const input = document.querySelector('#picture input[type="file"]');
  if (!picture || !input || !element.getClientRects().length) return false;
  const held = new DataTransfer();
  held.items.add(picture);
  input.files = held.files;
  input.dispatchEvent(new Event('change', {bubbles: true}));
  return true;
};
whileHere(document, 'paste', (event) => { if (give(event.clipboardData?.files)) event.preventDefault(); });
whileHere(document, 'dragover', (event) => {
  if ([...(event.dataTransfer?.types ?? [])].includes('Files') && element.getClientRects().length) event.preventDefault();
});
whileHere(document, 'drop', (event) => {
  const files = [...(event.dataTransfer?.files ?? [])];
  if (!files.length || !element.getClientRects().length) return;
  // Left alone, a browser would open the file in place of the page.
  event.preventDefault();
  if (!event.target.closest?.('#picture') && !give(files)) trigger('part', {do: 'refused', name: files[0].name});
});
whileHere(document, 'keydown', (event) => {
  if (event.key === 'Escape' && open >= 0) { show(-1); event.preventDefault(); event.stopImmediatePropagation(); }
});
