// Past queries, kept by this browser alone: nothing of them is on the server.
const KEY = 'mm-queries', KEPT = 30, SHOWN = 5;
const read = () => { try { return JSON.parse(localStorage.getItem(KEY)) ?? []; } catch { return []; } };
const write = (list) => { try { localStorage.setItem(KEY, JSON.stringify(list)); } catch { /* private windows keep nothing */ } };
const words = () => document.querySelector('#words textarea, #words input');
const made = (text, name, act) => {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = name;
  button.textContent = text;
  button.addEventListener('click', act);
  return button;
};
const draw = () => {
  const typed = (words()?.value ?? '').trim().toLowerCase();
  const found = read().filter(({said}) => said.toLowerCase().includes(typed)).slice(0, SHOWN);
  const row = document.createElement('div');
  row.className = 'mm-past';
  if (found.length) {
    const label = document.createElement('span');
    label.className = 'mm-hint';
    label.textContent = 'Asked before:';
    row.append(label, ...found.map(({said, link}) => made(said, 'mm-pill', () => trigger('link', {link}))));
    row.append(made('forget these', 'mm-plain-link', () => { write([]); draw(); }));
  }
  element.replaceChildren(row);
};
const whileHere = (target, name, act) => {
  const listen = (event) => { if (element.isConnected) act(event); else target.removeEventListener(name, listen); };
  target.addEventListener(name, listen);
};
whileHere(window, 'mm-asked', ({detail: {link, said}}) => {
  // What the address cannot hold cannot be asked again.
  if (/(^|&)(uploads|beyond)=/.test(link)) return;
  write([{link, said}, ...read().filter((one) => one.link !== link && one.said !== said)].slice(0, KEPT));
  draw();
});
whileHere(document, 'input', ({target}) => { if (target.closest?.('#words')) draw(); });
draw();
