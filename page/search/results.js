// Results: a click opens one, arrows go from one to the next, / goes to the words, Esc closes what is open.
let query = null;
watch('value', () => {
  const found = element.querySelector('[data-query]');
  const fresh = found?.dataset.query ?? null;
  // Stacked on a narrow screen, ranked results stand far below the button that asked for them.
  const about = document.getElementById('summary') || element;
  if (fresh !== query && innerWidth < 700 && element.querySelector('.mm-rank')) about.scrollIntoView({block: 'start'});
  query = fresh;
});
const cards = () => [...element.querySelectorAll('[data-item]')].filter((card) => card.getClientRects().length);
element.addEventListener('click', (event) => {
  const link = event.target.closest('[data-go]');
  if (link) { trigger('link', {link: link.dataset.go}); return; }
  const more = event.target.closest('[data-more]');
  if (more) { more.disabled = true; trigger('more', {k: Number(more.dataset.more)}); return; }
  const alike = event.target.closest('[data-alike]');
  if (alike) {
    const shut = alike.getAttribute('aria-expanded') !== 'true';
    alike.setAttribute('aria-expanded', String(shut));
    element.querySelectorAll(`[data-of="${alike.dataset.alike}"]`).forEach((one) => { one.hidden = !shut; });
    return;
  }
  const card = event.target.closest('[data-item]');
  if (!card) return;
  element.querySelectorAll('.mm-chosen').forEach((other) => other.classList.remove('mm-chosen'));
  card.classList.add('mm-chosen');
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
  const at = list.indexOf(document.activeElement);
  // Arrows scroll the page as ever until a result was gone to by → or ←.
  if (at < 0 && (key === 'ArrowUp' || key === 'ArrowDown') && scrollY > 0) return;
  const next = at < 0 ? list[0] : beside(list, at, key);
  if (!next) return;
  event.preventDefault();
  next.focus();
  next.scrollIntoView({block: 'nearest'});
});
