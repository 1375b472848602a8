// What somebody who sees little, uses keys or a thumb would stumble over; each finding a sentence that names the place.
({rings}) => {
  const pixel = Object.assign(document.createElement('canvas'), {width: 1, height: 1}).getContext('2d', {willReadFrequently: true});
  const kept = new Map();
  const rgba = (colour) => {
    if (!kept.has(colour)) {
      pixel.clearRect(0, 0, 1, 1);
      pixel.fillStyle = colour;
      pixel.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = pixel.getImageData(0, 0, 1, 1).data;
      kept.set(colour, [r, g, b, a / 255]);
    }
    return kept.get(colour);
  };
  const over = ([r, g, b, a], under) => {
    const whole = a + under[3] * (1 - a);
    if (!whole) return [0, 0, 0, 0];
    return [...[r, g, b].map((c, i) => (c * a + under[i] * under[3] * (1 - a)) / whole), whole];
  };
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((n) => n / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  // A colour as it is seen on what lies behind it, up to the page; and what lies behind it alone.
  const seen = (element, colour) => {
    let [front, behind] = [rgba(colour), [0, 0, 0, 0]];
    for (let at = element; at; at = at.parentElement) {
      const {backgroundColor, opacity} = getComputedStyle(at);
      [front, behind] = [front, behind].map((one) => over(one, rgba(backgroundColor)));
      [front, behind] = [front, behind].map(([r, g, b, a]) => [r, g, b, a * Number(opacity)]);
    }
    return [front, behind].map((one) => over(one, [255, 255, 255, 1]));
  };
  const shown = (element) => {
    if (!element.checkVisibility({opacityProperty: true, visibilityProperty: true})) return false;
    const box = element.getBoundingClientRect();
    return box.width > 2 && box.height > 2 && !getComputedStyle(element).clip.startsWith('rect(0');
  };
  const named = (element) => {
    const path = [];
    for (let at = element; at && path.length < 4; at = at.parentElement) {
      const names = [...at.classList].filter((one) => !one.startsWith('svelte')).slice(0, 3);
      path.unshift(at.tagName.toLowerCase() + (at.id ? `#${at.id}` : '') + names.map((one) => `.${one}`).join(''));
      if (at.id) break;
    }
    return path.join(' > ');
  };
  const hex = (colour) => `#${colour.slice(0, 3).map((c) => Math.round(c).toString(16).padStart(2, '0')).join('')}`;
  const idle = (element) => element.closest(':disabled, [aria-disabled="true"], [inert]');
  const found = {text: [], pictures: [], borders: [], focus: [], alts: [], targets: [], width: [], ids: []};

  // --- text against what is behind it ---
  const pictures = [...document.querySelectorAll('img, canvas, video')].filter(shown).map((one) => [one, one.getBoundingClientRect()]);
  const read = (element, colour, text, large) => {
    const [front, behind] = seen(element, colour);
    const least = large ? 3 : 4.5;
    const has = ratio(front, behind);
    if (has < least) found.text.push(`${named(element)} “${text.trim().slice(0, 30)}”: ${hex(front)} on ${hex(behind)} is ${has.toFixed(2)}, wants ${least}`);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const range = document.createRange();
  let texts = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode;
    const element = node.parentElement;
    if (!/[^\s·•|]/.test(node.data) || element.closest('script, style, noscript, option, title, .sr-only') || !shown(element) || idle(element)) continue;
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (box.width < 2 || box.height < 2) continue;
    texts += 1;
    const style = getComputedStyle(element);
    const size = parseFloat(style.fontSize);
    read(element, element.namespaceURI.endsWith('svg') ? style.fill : style.color, node.data, size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700));
    for (const [picture, place] of pictures) {
      const wide = Math.min(box.right, place.right) - Math.max(box.left, place.left);
      const high = Math.min(box.bottom, place.bottom) - Math.max(box.top, place.top);
      if (wide < 3 || high < 3 || element.namespaceURI.endsWith('svg')) continue;
      let own = element;
      while (!own.contains(picture) && rgba(getComputedStyle(own).backgroundColor)[3] < 0.75) own = own.parentElement;
      if (own.contains(picture)) found.pictures.push(`${named(element)} “${node.data.trim().slice(0, 30)}” stands on ${named(picture)}`);
    }
  }

  // --- fields: what is written in them, and where they end ---
  const fields = [...document.querySelectorAll('input, textarea, select')].filter((one) => shown(one) && !idle(one));
  const worded = (one) => !['checkbox', 'radio', 'range', 'file', 'color'].includes(one.type);
  fields.filter(worded).forEach((one) => {
    if (one.value) read(one, getComputedStyle(one).color, one.value);
    else if (one.placeholder) read(one, getComputedStyle(one, '::placeholder').color, one.placeholder);
  });
  fields.filter((one) => !['range', 'file'].includes(one.type)).forEach((one) => {
    let edge = one;
    for (let up = 0; up < 5 && edge; up += 1, edge = edge.parentElement) {
      const style = getComputedStyle(edge);
      const sides = ['Top', 'Bottom', 'Left', 'Right'].filter((one) => parseFloat(style[`border${one}Width`]) && rgba(style[`border${one}Color`])[3]);
      const lines = [style.backgroundColor, ...sides.map((one) => style[`border${one}Color`])];
      if (lines.some((colour) => ratio(...seen(edge.parentElement, colour)) >= 3)) return;
    }
    found.borders.push(`${named(one)} (${one.getAttribute('aria-label') || one.name || one.type}): no edge of 3 to 1 around it`);
  });

  // --- a focused thing looks focused; one of each kind is looked at ---
  const marks = (element) => [element, element.nextElementSibling, element.parentElement, element.parentElement?.parentElement,
    element.closest('label, .wrap, .block')].filter(Boolean).map((one) => [one, {...['outlineStyle', 'outlineWidth', 'outlineColor', 'boxShadow', 'borderTopColor', 'borderTopWidth',
    'backgroundColor', 'textDecorationLine'].reduce((all, key) => ({...all, [key]: getComputedStyle(one)[key]}), {})}]);
  const colours = (text) => text.match(/(?:rgba?|color)\([^)]*\)/g) ?? [];
  const before = document.activeElement;
  const kinds = new Set();
  document.querySelectorAll('button, a[href], input, textarea, select, summary, [tabindex="0"]').forEach((one) => {
    const kind = `${one.tagName} ${one.type ?? ''} ${one.className} ${one.parentElement.className}`;
    if (!rings || kinds.has(kind) || !shown(one) || idle(one) || one.type === 'file') return;
    kinds.add(kind);
    one.blur();
    const calm = marks(one);
    one.focus({focusVisible: true, preventScroll: true});
    if (document.activeElement !== one) return;
    const seenRing = marks(one).some(([place, now], i) => {
      const was = calm[i][1];
      const changed = (key) => now[key] !== was[key];
      const edge = (colour) => ratio(...seen(place.parentElement, colour)) >= 3 || ratio(...seen(place, colour)) >= 3;
      if (changed('textDecorationLine') && now.textDecorationLine !== 'none') return true;
      if (now.outlineStyle !== 'none' && parseFloat(now.outlineWidth) >= 1 && ['outlineStyle', 'outlineWidth', 'outlineColor'].some(changed) && edge(now.outlineColor)) return true;
      if (changed('boxShadow') && colours(now.boxShadow).some(edge)) return true;
      if (changed('borderTopColor') && parseFloat(now.borderTopWidth) && edge(now.borderTopColor)) return true;
      return changed('backgroundColor') && ratio(seen(place, now.backgroundColor)[0], seen(place.parentElement, was.backgroundColor)[0]) >= 3;
    });
    if (!seenRing) found.focus.push(`${named(one)} “${one.textContent.trim().slice(0, 30)}”: focus cannot be seen`);
    one.blur();
  });
  before?.focus?.({preventScroll: true});

  // --- pictures, thumbs, width ---
  const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);
  found.ids = ids.filter((id, i) => id && ids.indexOf(id) !== i);
  document.querySelectorAll('img').forEach((one) => {
    if (!one.hasAttribute('alt')) found.alts.push(`${named(one)}: no alt`);
    else if (!one.alt) {
      // Decoration: what it shows is said by the words of the thing that it stands in.
      const around = one.closest('button, a, figure, [role="img"], .mm-item, .mm-piece, .mm-map-tip');
      if (!around?.ariaLabel && !around?.textContent.trim()) found.alts.push(`${named(one)}: an empty alt, and no words beside it`);
    }
  });
  const targets = [...document.querySelectorAll('button, a[href], input, textarea, select, summary, [role="button"], [role="tab"], [role="option"]')]
    .filter((one) => shown(one) && !idle(one) && one.type !== 'file' && getComputedStyle(one).pointerEvents !== 'none');
  targets.forEach((one) => {
    // A label around a field is a part of it; a link within a sentence is as high as its line.
    const box = (one.closest('label') ?? one).getBoundingClientRect();
    const own = one.getBoundingClientRect();
    const [wide, high] = [Math.max(box.width, own.width), Math.max(box.height, own.height)];
    const inline = one.tagName === 'A' && getComputedStyle(one).display === 'inline';
    if (!inline && (wide < 23.9 || high < 23.9)) found.targets.push(`${named(one)} “${(one.textContent || one.ariaLabel || '').trim().slice(0, 24)}” is ${wide.toFixed(0)} x ${high.toFixed(0)} px`);
  });
  const page = document.documentElement;
  if (page.scrollWidth > innerWidth) {
    const out = [...document.body.querySelectorAll('*')].filter((one) => shown(one) && one.getBoundingClientRect().right > innerWidth + 1).slice(0, 3);
    found.width.push(`${page.scrollWidth} px of ${innerWidth}: ${out.map(named).join(', ')}`);
  }
  return {...Object.fromEntries(Object.entries(found).map(([key, all]) => [key, [...new Set(all)]])), texts};
}
