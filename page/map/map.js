// A map: points come as numbers (page/plotted.py), and only what is pointed at is asked for by its place.
const PALETTE = ['#2A8BD8', '#E0701F', '#098569', '#BD6B9D', '#7E52F8', '#DC2941'];
const SIGNS = ['circle', 'diamond'];
const GREY = '#8b95a1';
const LIGHT = [[0, '#c3cedb'], [0.5, '#1f8f86'], [1, '#06302f']];
const DARK = [[0, '#3b4a5f'], [0.5, '#2aa89a'], [1, '#eafffb']];
// Without WebGL the browser draws each point by itself: no more than it can bear.
const BEARABLE = 5000;
const fetched = async (url) => {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
};
const unpacked = async (url) => {
  const bytes = await (await fetched(url)).arrayBuffer();
  const size = new DataView(bytes).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, size)));
  return {header, bytes, at: 4 + size};
};
const webgl = () => {
  const context = document.createElement('canvas').getContext('webgl');
  context?.getExtension('WEBGL_lose_context')?.loseContext();
  return Boolean(context);
};
const made = (tag, name, text) => {
  const node = document.createElement(tag);
  node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
};
const dark = () => document.body.classList.contains('dark');
const plain = (text) => text.replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;');

// --- what is drawn ---------------------------------------------------------------------------------------------------

let drawn = null;   // the map on the page: its points, its colours, its traces, its place
let lately = {url: '', points: null, view: null};

const pointsOf = async (url) => {
  if (lately.url === url) return lately.points;
  const {header, bytes, at} = await unpacked(url);
  const n = header.n;
  return {
    ...header,
    xs: new Float32Array(bytes, at, n),
    ys: new Float32Array(bytes, at + 4 * n, n),
    view: new Uint8Array(bytes, at + 8 * n, n),
  };
};
const coloursOf = async (url, n) => {
  const {header, bytes, at} = await unpacked(url);
  return header.names.length
    ? {...header, codes: new Uint16Array(bytes, at, n)}
    : {...header, values: new Float32Array(bytes, at, n)};
};
// The places of the points of each group; of numbers those without one, then the others with the highest on top.
const groups = (n, colours, step) => {
  const places = [];
  for (let i = 0; i < n; i += step) places.push(i);
  if (colours.codes) {
    const found = colours.names.map(() => []);
    places.forEach((i) => found[colours.codes[i]].push(i));
    return found.map((held) => Uint32Array.from(held));
  }
  const known = places.filter((i) => !Number.isNaN(colours.values[i]));
  known.sort((a, b) => colours.values[a] - colours.values[b]);
  return [places.filter((i) => Number.isNaN(colours.values[i])), known].map((held) => Uint32Array.from(held));
};
const look = (colours, group) => {
  if (colours.codes) {
    const grey = group >= colours.names.length - colours.greys;
    return grey
      ? {color: GREY, symbol: 'circle'}
      : {color: PALETTE[group % 6], symbol: SIGNS[Math.floor(group / 6) % 2]};
  }
  return group ? null : {color: GREY, symbol: 'circle'};
};
const traces = (points, colours, held, type, scale) => held.map((places, group) => {
  const many = points.n > 20000 ? 3 : points.n > 4000 ? 4.5 : points.n > 800 ? 6.5 : 8.5;
  const fixed = look(colours, group);
  const numbers = fixed ? {} : {
    color: Float32Array.from(places, (i) => colours.values[i]), colorscale: scale,
    cmin: colours.low, cmax: colours.high > colours.low ? colours.high : colours.low + 1, showscale: false,
  };
  return {
    type, mode: 'markers', hoverinfo: 'none', showlegend: false,
    name: colours.codes ? plain(colours.names[group]) : group ? plain(colours.title) : 'no score',
    x: Float32Array.from(places, (i) => points.xs[i]),
    y: Float32Array.from(places, (i) => points.ys[i]),
    marker: {size: many, opacity: points.n > 4000 ? 0.7 : 0.85, line: {width: 0}, ...fixed, ...numbers},
    unselected: {marker: {opacity: 0.08}},
  };
});
const layoutOf = (points, view) => ({
  autosize: true, hovermode: 'closest', showlegend: false, dragmode: view?.dragmode ?? false,
  paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)', margin: {l: 56, r: 12, t: 10, b: 46},
  font: {family: 'system-ui, sans-serif', size: 12, color: '#1e293b'}, hoverdistance: 12,
  xaxis: {title: {text: points.x}, zeroline: false, gridcolor: 'rgba(128,128,128,0.2)', ...(view && {range: view.x})},
  yaxis: {title: {text: points.y}, zeroline: false, gridcolor: 'rgba(128,128,128,0.2)', ...(view && {range: view.y}),
    ...(points.square && {scaleanchor: 'x'})},
});

// --- around it -------------------------------------------------------------------------------------------------------

const legend = (place, colours, held, plot, plotly) => {
  const box = made('div', 'mm-map-legend');
  box.append(made('strong', '', colours.title));
  if (!colours.codes) {
    const bar = made('span', 'mm-map-bar');
    const stops = (dark() ? DARK : LIGHT).map(([at, colour]) => `${colour} ${100 * at}%`);
    bar.style.background = `linear-gradient(90deg, ${stops.join(', ')})`;
    const said = (value) => (Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(3));
    box.append(made('span', '', said(colours.low)), bar, made('span', '', said(colours.high)));
    if (held[0].length) box.append(made('span', 'mm-hint', `${held[0].length.toLocaleString('en')} without one in grey`));
  } else {
    colours.names.forEach((name, group) => {
      const button = made('button', 'mm-map-name');
      const {color, symbol} = look(colours, group);
      const sign = made('i', symbol);
      sign.style.background = color;
      button.type = 'button';
      button.title = 'Show or hide these points';
      button.setAttribute('aria-pressed', 'true');
      button.append(sign, made('span', '', name), made('span', 'mm-hint', held[group].length.toLocaleString('en')));
      button.onclick = () => {
        const shown = button.getAttribute('aria-pressed') !== 'true';
        button.setAttribute('aria-pressed', String(shown));
        plotly.restyle(plot, {visible: shown}, [group]);
      };
      box.append(button);
    });
  }
  place.append(box);
};
const WAYS = [[false, 'Move', 'Drag to move, turn the wheel or pinch to zoom'], ['zoom', 'Zoom', 'Drag a rectangle to zoom into it'],
  ['lasso', 'Lasso', 'Draw around points to choose them'], ['select', 'Box', 'Drag a rectangle to choose its points']];
const tools = (bar, plot, plotly) => {
  const button = (text, title, act) => {
    const made_ = made('button', 'mm-map-tool', text);
    made_.type = 'button';
    made_.title = title;
    made_.onclick = act;
    bar.append(made_);
    return made_;
  };
  const ways = WAYS.map(([mode, text, title]) => {
    const way = button(text, title, () => {
      plotly.relayout(plot, {dragmode: mode});
      ways.forEach((other) => other.setAttribute('aria-pressed', String(other === way)));
    });
    way.setAttribute('aria-pressed', String(plot.layout.dragmode === mode));
    return way;
  });
  button('Whole map', 'Show every point again', () => plotly.relayout(plot, {'xaxis.autorange': true, 'yaxis.autorange': true}));
};

// --- moving ----------------------------------------------------------------------------------------------------------

// While it moves, what is drawn already is shifted and scaled as a picture, which costs nothing however many points
// there are and whatever draws them; it is drawn anew when it rests.
// A mouse or one finger moves it, two fingers move and zoom it whatever else one finger does here.
const moving = (plot, plotly, tip, drawing, signal) => {
  const still = {scale: 1, x: 0, y: 0};
  let at = {...still};
  let waiting = 0;
  let cost = 100;
  let held = null;
  const down = new Map();
  const shift = () => {
    const {xaxis, yaxis, width, height} = plot._fullLayout;
    const inside = [yaxis._offset, width - xaxis._offset - xaxis._length, height - yaxis._offset - yaxis._length, xaxis._offset];
    const layer = plot.querySelector('.gl-container');
    layer.style.clipPath = `inset(${inside.map((v) => `${v}px`).join(' ')})`;
    layer.style.height = `${height}px`;
    layer.querySelectorAll('canvas').forEach((canvas) => {
      canvas.style.transformOrigin = '0 0';
      canvas.style.transform = `translate(${at.x}px, ${at.y}px) scale(${at.scale})`;
    });
    plot.classList.add('mm-moving');
    tip.hidden = true;
  };
  const rest = async () => {
    clearTimeout(waiting);
    const {xaxis, yaxis} = plot._fullLayout;
    const range = (axis, moved) => [0, axis._length].map((v) => axis.p2d((axis._offset + v - moved) / at.scale - axis._offset));
    const y = range(yaxis, at.y);
    const update = {'xaxis.range': range(xaxis, at.x), 'yaxis.range': [y[1], y[0]]};
    at = {...still};
    const began = performance.now();
    await plotly.relayout(plot, update);
    requestAnimationFrame(() => requestAnimationFrame(() => { cost = performance.now() - began; }));
    plot.querySelectorAll('.gl-container canvas').forEach((canvas) => { canvas.style.transform = ''; });
    plot.querySelector('.gl-container').style.clipPath = '';
    plot.classList.remove('mm-moving');
  };
  const place = (event) => {
    const box = plot.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const within = (scale) => Math.max(0.05, Math.min(60, scale));
  const zoomed = (from, x, y, factor) => ({scale: from.scale * factor, x: x - factor * (x - from.x), y: y - factor * (y - from.y)});
  plot.addEventListener('wheel', (event) => {
    if (!event.target.closest('.nsewdrag')) return;
    event.preventDefault();
    const factor = Math.exp(-Math.max(-120, Math.min(120, event.deltaY)) * 0.002);
    at = zoomed(at, ...place(event), within(at.scale * factor) / at.scale);
    shift();
    clearTimeout(waiting);
    // The dearer drawing is, the surer it must be that the wheel rests.
    waiting = setTimeout(rest, Math.min(1000, 160 + cost));
  }, {passive: false});
  // The middle of what is held, and how far apart it is: nothing for one pointer.
  const grip = () => {
    const [a, b = a] = [...down.values()];
    return {x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, apart: Math.hypot(a[0] - b[0], a[1] - b[1])};
  };
  const hold = (far) => {
    const moves = down.size === 2 || (down.size === 1 && plot.layout.dragmode === false);
    held = moves ? {from: grip(), at: {...at}, far: far || down.size === 2} : null;
  };
  plot.addEventListener('pointerdown', (event) => {
    if (event.button || down.size > 1 || drawing() || !event.target.closest('.nsewdrag')) return;
    if (event.pointerType === 'mouse') down.clear();
    down.set(event.pointerId, place(event));
    hold(held?.far);
    if (held) clearTimeout(waiting);
  }, {capture: true, signal});
  addEventListener('pointermove', (event) => {
    if (!down.has(event.pointerId)) return;
    down.set(event.pointerId, place(event));
    if (!held) return;
    const now = grip();
    const {from} = held;
    held.far ||= Math.hypot(now.x - from.x, now.y - from.y) > 4;
    if (!held.far) return;
    const factor = from.apart > 1 ? within(held.at.scale * now.apart / from.apart) / held.at.scale : 1;
    const grown = zoomed(held.at, from.x, from.y, factor);
    at = {...grown, x: grown.x + now.x - from.x, y: grown.y + now.y - from.y};
    shift();
  }, {signal});
  const lift = (event) => {
    if (!down.delete(event.pointerId)) return;
    const far = held?.far;
    if (down.size) hold(far);
    else held = null;
    if (!down.size && (far || plot.classList.contains('mm-moving'))) rest();
  };
  addEventListener('pointerup', lift, {signal});
  addEventListener('pointercancel', lift, {signal});
};
// Of fingers, plotly hears only of one that draws a lasso or a rectangle, from where it has begun to draw: a second
// one comes a moment after the first, and by then a lasso would have begun. A tap reaches it as the browser's click.
const fingers = (plot, signal) => {
  let first = null;
  let drawing = false;
  const tell = (kind, target, touch) => target.dispatchEvent(
    new TouchEvent(kind, {bubbles: true, cancelable: true, view: window, touches: [touch], targetTouches: [touch], changedTouches: [touch]}));
  const begins = (event) => {
    const touch = event.changedTouches[0];
    if (event.touches.length === 1) first = plot.layout.dragmode ? touch : null;
    else if (!drawing) first = null;
  };
  const moves = (event) => {
    const touch = first && [...event.changedTouches].find((one) => one.identifier === first.identifier);
    if (!touch) return;
    if (!drawing && Math.hypot(touch.clientX - first.clientX, touch.clientY - first.clientY) > 4) {
      drawing = true;
      tell('touchstart', event.target, first);
    }
    if (drawing) tell('touchmove', event.target, touch);
  };
  const ends = (event) => {
    const touch = first && [...event.changedTouches].find((one) => one.identifier === first.identifier);
    if (touch && drawing) tell('touchend', event.target, touch);
    if (touch || !event.touches.length) { first = null; drawing = false; }
  };
  const hear = (act) => (event) => {
    if (!event.isTrusted || !plot.contains(event.target) || !event.target.closest('.nsewdrag')) return;
    event.stopPropagation();
    if (event.type === 'touchmove' && event.cancelable) event.preventDefault();
    act(event);
  };
  Object.entries({touchstart: begins, touchmove: moves, touchend: ends, touchcancel: ends}).forEach(([kind, act]) =>
    addEventListener(kind, hear(act), {capture: true, passive: false, signal}));
  return () => drawing;
};

// --- pointing and choosing -------------------------------------------------------------------------------------------

const told = new Map();
const about = (key, place) => {
  const url = `map/about/${key}/${place}`;
  if (!told.has(url)) told.set(url, fetched(url).then((answer) => answer.json()).catch((error) => ({title: error.message, what: '', thumb: ''})));
  return told.get(url);
};
const placeOf = ({curveNumber, pointNumber}) => drawn.held[curveNumber][pointNumber];
const said = (place) => {
  const {points, colours} = drawn;
  const value = colours.codes ? colours.names[colours.codes[place]] : colours.values[place];
  const shown = typeof value === 'string' ? value : Number.isNaN(value) ? 'none' : value.toPrecision(4);
  const vector = points.views.length > 1 ? ` · vector of ${points.views[points.view[place]]}` : '';
  return `${colours.title}: ${shown}${vector}`;
};
const pointing = (root, plot, key, tip) => {
  let now = -1;
  plot.on('plotly_hover', async ({points, event}) => {
    const place = placeOf(points[0]);
    const box = root.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    tip.style.left = x > box.width / 2 ? `${x - 12}px` : `${x + 12}px`;
    tip.style.top = `${y}px`;
    tip.style.transform = `translate(${x > box.width / 2 ? '-100%' : '0'}, ${y > box.height / 2 ? '-100%' : '0'})`;
    if (place === now || plot.classList.contains('mm-moving')) return;
    now = place;
    // Only where the mouse rests: a sweep over thousands of points asks for none of them.
    await new Promise((go) => setTimeout(go, 60));
    if (now !== place) return;
    const item = await about(key, place);
    if (now !== place) return;
    tip.replaceChildren();
    if (item.thumb) Object.assign(tip.appendChild(made('img', '')), {src: item.thumb, alt: ''});
    tip.append(made('strong', '', item.title), made('span', '', item.what), made('span', '', said(place)));
    tip.hidden = false;
  });
  const away = () => { now = -1; tip.hidden = true; };
  plot.on('plotly_unhover', away);
  plot.addEventListener('mouseleave', away);
  plot.on('plotly_click', ({points}) => trigger('select', {do: 'item', key, place: placeOf(points[0])}));
  plot.on('plotly_selected', (event) => {
    const bits = new Uint8Array(Math.ceil(drawn.points.n / 8));
    (event?.points ?? []).forEach((point) => { const place = placeOf(point); bits[place >> 3] |= 1 << (place & 7); });
    let text = '';
    bits.forEach((byte) => { text += String.fromCharCode(byte); });
    trigger('select', {do: 'choose', key, bits: btoa(text)});
  });
};
const draw = async (root) => {
  const {points: key, colours: coloured, label} = root.dataset;
  try {
    const url = `map/points/${key}`;
    const [plotly, points] = await Promise.all([drawing(), pointsOf(url)]);
    const colours = await coloursOf(`map/colours/${coloured}`, points.n);
    if (!root.isConnected) return;
    if (drawn) {
      drawn.gone.abort();
      plotly.purge(drawn.plot);
    }
    const type = webgl() ? 'scattergl' : 'scatter';
    const step = type === 'scatter' ? Math.ceil(points.n / BEARABLE) : 1;
    const held = groups(points.n, colours, step);
    const view = lately.url === url ? lately.view : null;
    root.replaceChildren();
    const bar = root.appendChild(made('div', 'mm-map-tools'));
    const plot = made('div', 'mm-map-plot');
    plot.setAttribute('role', 'img');
    plot.setAttribute('aria-label', label);
    const gone = new AbortController();
    drawn = {points, colours, held, plot, type, gone};
    legend(root, colours, held, plot, plotly);
    root.append(plot);
    if (step > 1) root.append(made('p', 'mm-hint', `This browser has no WebGL: one of ${step} points is drawn.`));
    const tip = root.appendChild(made('div', 'mm-map-tip'));
    tip.hidden = true;
    const layout = layoutOf(points, view);
    const options = {responsive: true, displayModeBar: false, scrollZoom: false, doubleClick: 'reset', plotGlPixelRatio: devicePixelRatio, showSendToCloud: false, plotlyServerURL: ''};
    await plotly.newPlot(plot, traces(points, colours, held, type, dark() ? DARK : LIGHT), layout, options);
    tools(bar, plot, plotly);
    root.mmPicture = pictured;
    lately = {url, points, view: null};
    const remember = () => {
      const {xaxis, yaxis, dragmode} = plot.layout;
      lately = {url, points, view: {x: [...xaxis.range], y: [...yaxis.range], dragmode}};
    };
    plot.on('plotly_relayout', remember);
    moving(plot, plotly, tip, fingers(plot, gone.signal), gone.signal);
    pointing(root, plot, key, tip);
    root.dataset.drawn = String(held.reduce((sum, places) => sum + places.length, 0));
  } catch (error) {
    root.replaceChildren(made('p', 'mm-hint', `This map could not be drawn: ${error.message}`));
  }
};
// "Choose none" is a button outside of here.
element.addEventListener('mm-none', () => {
  if (!drawn?.plot.isConnected) return;
  window.Plotly.update(drawn.plot, {selectedpoints: [null]}, {selections: []});
});
const seen = new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting).forEach((e) => {
  seen.unobserve(e.target);
  draw(e.target);
}));
const watchful = () => element.querySelectorAll('.mm-map:not([data-watched])').forEach((root) => {
  root.dataset.watched = 'yes';
  seen.observe(root);
});
// The value is on the page a little after it has changed.
new MutationObserver(watchful).observe(element, {childList: true, subtree: true});
watchful();
