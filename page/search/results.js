// Results: a click opens one, arrows go from one to the next, / goes to the words, Esc closes what is open.
let query = null;
// The results whose like are unfolded: they stay so when more come.
const unfolded = new Set();
const unfold = (button) => {
  const on = unfolded.has(button.dataset.alike);
  button.setAttribute('aria-expanded', String(on));
  element.querySelectorAll(`[data-of="${button.dataset.alike}"]`).forEach((one) => { one.hidden = !on; });
};
// The button that folds or unfolds all is drawn anew when it was pressed, and keeps the focus.
let pressed = false;
watch('value', () => {
  const found = element.querySelector('[data-query]');
  const fresh = found?.dataset.query ?? null;
  // Stacked on a narrow screen, ranked results stand far below the button that asked for them.
  const about = document.getElementById('summary') || element;
  if (fresh !== query && innerWidth < 700 && element.querySelector('.mm-rank')) about.scrollIntoView({block: 'start'});
  if (fresh !== query) unfolded.clear();
  query = fresh;
  element.querySelectorAll('[data-alike]').forEach(unfold);
  if (pressed) element.querySelector('[data-fold]')?.focus({preventScroll: true});
  pressed = false;
});
const cards = () => [...element.querySelectorAll('[data-item]')].filter((card) => card.getClientRects().length);
element.addEventListener('click', (event) => {
  const link = event.target.closest('[data-go]');
  if (link) { trigger('link', {link: link.dataset.go}); return; }
  const more = event.target.closest('[data-more]');
  if (more) {
    more.disabled = true;
    trigger('more', {k: Number(more.dataset.more), fold: more.closest('[data-folded]').dataset.folded === '1'});
    return;
  }
  const fold = event.target.closest('[data-fold]');
  if (fold) {
    fold.disabled = pressed = true;
    trigger('more', {k: Number(fold.dataset.k), fold: fold.dataset.fold === '1'});
    return;
  }
  const alike = event.target.closest('[data-alike]');
  if (alike) {
    if (!unfolded.delete(alike.dataset.alike)) unfolded.add(alike.dataset.alike);
    unfold(alike);
    return;
  }
  const card = event.target.closest('[data-item]');
  if (!card) return;
  element.querySelectorAll('.mm-chosen').forEach((other) => other.classList.remove('mm-chosen'));
  card.classList.add('mm-chosen');
  // What is pressed until the panel shows this one is not meant for what it showed before.
  document.querySelector('#detail .mm-detail')?.setAttribute('inert', '');
  trigger('select', {item: card.dataset.item});
});
const whileHere = (target, name, act) => {
  const listen = (event) => { if (element.isConnected) act(event); else target.removeEventListener(name, listen); };
  target.addEventListener(name, listen);
};
// More comes by itself when somebody who reads on comes to the end.
whileHere(window, 'scroll', () => {
  const more = element.querySelector('[data-more]:not(:disabled)');
  if (more && more.getClientRects().length && more.getBoundingClientRect().top < innerHeight + 200) more.click();
});
const beside = (list, at, key) => {
  if (key === 'ArrowLeft') return list[at - 1];
  if (key === 'ArrowRight') return list[at + 1];
  const here = list[at].getBoundingClientRect();
  const rows = list.map((card) => [card, card.getBoundingClientRect()]);
  const after = rows.filter(([, box]) => (key === 'ArrowDown' ? box.top > here.top + 4 : box.top < here.top - 4));
  if (!after.length) return undefined;
  const top = key === 'ArrowDown' ? Math.min(...after.map(([, b]) => b.top)) : Math.max(...after.map(([, b]) => b.top));
  const row = after.filter(([, box]) => Math.abs(box.top - top) < 4);
  return row.reduce((best, one) => (Math.abs(one[1].left - here.left) < Math.abs(best[1].left - here.left) ? one : best))[0];
};
const writes = (target) => target.closest?.('input, textarea, select, [contenteditable], [role="slider"], video, .mm-side, dialog');
whileHere(document, 'keydown', (event) => {
  if (!element.getClientRects().length || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const {key, target} = event;
  if (key === 'Escape') {
    const close = document.querySelector('#detail-close');
    if (close?.getClientRects().length) {
      close.click();
      (element.querySelector('.mm-chosen') ?? cards()[0])?.focus();
    } else if (writes(target)) target.blur();
    return;
  }
  if (writes(target)) return;
  if (key === '/') {
    event.preventDefault();
    const words = document.querySelector('#words textarea, #words input');
    words.focus();
    words.scrollIntoView({block: 'nearest'});
    return;
  }
  if (!key.startsWith('Arrow') || (target !== document.body && !element.contains(target))) return;
  const list = cards();
  if (!list.length) return;
  // From the button that unfolds, as from the result that it belongs to.
  const at = list.indexOf(document.activeElement.closest('.mm-listed')?.querySelector('[data-item]'));
  // Arrows scroll the page as ever until a result was gone to by → or ←.
  if (at < 0 && (key === 'ArrowUp' || key === 'ArrowDown') && scrollY > 0) return;
  const next = at < 0 ? list[0] : beside(list, at, key);
  if (!next) return;
  event.preventDefault();
  next.focus();
  next.scrollIntoView({block: 'nearest'});
});
