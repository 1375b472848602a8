
// --- saving ----------------------------------------------------------------------------------------------------------

// A map as it is saved: axes and legend are plotly's, the points are circles (and diamonds) of our own: plotly's would be
// five times as large, and the page would stand still while it makes thousands of them.
const SHEET = {width: 1200, height: 900};
const shaded = (stops, share) => {
  const after = Math.max(1, stops.findIndex(([at]) => at >= share));
  const [[low, first], [high, last]] = [stops[after - 1], stops[after]];
  const t = (share - low) / (high - low);
  const part = (at) => [first, last].map((colour) => parseInt(colour.slice(at, at + 2), 16));
  return `#${[1, 3, 5].map(part).map(([a, b]) => Math.round(a + t * (b - a)).toString(16).padStart(2, '0')).join('')}`;
};
const framing = async (plotly, data, layout) => {
  const away = made('div', '');
  Object.assign(away.style, {position: 'absolute', left: '-9999px', width: `${SHEET.width}px`, height: `${SHEET.height}px`});
  document.body.append(away);
  try {
    await plotly.newPlot(away, data, layout, {staticPlot: true});
    const {xaxis, yaxis} = away._fullLayout;
    const image = await plotly.toImage(away, {format: 'svg', ...SHEET});
    return {xaxis, yaxis, text: decodeURIComponent(image.slice(image.indexOf(',') + 1))};
  } finally {
    plotly.purge(away);
    away.remove();
  }
};
const marked = (places, group, points, colours, {xaxis, yaxis}, {size, opacity}) => {
  const fixed = look(colours, group), r = size / 2;
  const span = colours.high > colours.low ? colours.high - colours.low : 1;
  const marks = Array.from(places, (place) => {
    const x = xaxis.d2p(points.xs[place]), y = yaxis.d2p(points.ys[place]);
    if (!(x >= 0 && x <= xaxis._length && y >= 0 && y <= yaxis._length)) return '';
    const [cx, cy] = [xaxis._offset + x, yaxis._offset + y].map((v) => v.toFixed(1));
    if (fixed?.symbol === 'diamond') return `<path d="M${cx} ${cy}m0 ${-r}l${r} ${r}l${-r} ${r}l${-r} ${-r}z"/>`;
    const fill = fixed ? '' : ` fill="${shaded(LIGHT, (colours.values[place] - colours.low) / span)}"`;
    return `<circle cx="${cx}" cy="${cy}" r="${r}"${fill}/>`;
  });
  return `<g class="mm-points" fill="${fixed?.color ?? GREY}" fill-opacity="${opacity}">${marks.join('')}</g>`;
};
const pictured = async () => {
  const plotly = await drawing();
  const {points, colours, held, plot} = drawn;
  const named = Boolean(colours.codes), seen = held.map((_, group) => plot.data[group].visible !== false);
  const looks = traces(points, colours, held.map(() => []), 'scatter', LIGHT);
  const scale = {color: [colours.low], showscale: true, colorbar: {title: {text: plain(colours.title)}}};
  const data = looks.map((trace, group) => ({
    ...trace, x: [null], y: [null], visible: seen[group], showlegend: named,
    marker: {...trace.marker, ...(!named && group && scale)},
  }));
  const view = {x: plot.layout.xaxis.range, y: plot.layout.yaxis.range};
  const layout = {...layoutOf(points, view), ...SHEET, autosize: false, paper_bgcolor: '#ffffff', plot_bgcolor: '#ffffff',
    showlegend: named, legend: {itemsizing: 'constant', title: {text: plain(colours.title)}}};
  const frame = await framing(plotly, data, layout);
  // Every point, however few of them a browser without WebGL has drawn.
  const marks = groups(points.n, colours, 1).map((places, group) =>
    (seen[group] ? marked(places, group, points, colours, frame, looks[group].marker) : ''));
  return {...SHEET, text: frame.text.replace(/<\/svg>\s*$/, () => `${marks.join('')}</svg>`)};
};
