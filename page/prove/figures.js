// Plots come when they come near the window; all of them at once would keep the browser busy for seconds.
const config = {
  responsive: true,
  displaylogo: false,
  modeBarButtonsToRemove: ['toImage', 'select2d', 'lasso2d', 'autoScale2d'],
  // plotly would offer to upload the plot to a server of its makers.
  showSendToCloud: false,
  plotlyServerURL: '',
};
// Where there is little room the legend has more lines, so that the plot needs more height; long names of axes break
// into more lines; and the width that is kept free for buttons belongs to the plot.
const broken = (title) => {
  const rows = [''];
  title.text.split(/<br>| /).forEach((word) => {
    const last = rows[rows.length - 1];
    if (last && last.length + word.length > 28) rows.push(word);
    else rows[rows.length - 1] = last ? `${last} ${word}` : word;
  });
  return {...title, text: rows.join('<br>')};
};
const lines = ({data, layout}, room) => {
  if (!layout.showlegend) return 0;
  const entries = [...data.filter((t) => t.showlegend !== false), ...(layout.shapes ?? [])];
  const named = entries.map((t) => 50 + 7.5 * t.name.length);
  if (named.reduce((a, b) => a + b, 0) <= room) return 1;
  return Math.ceil(named.length / Math.max(1, Math.floor(room / Math.max(...named))));
};
const fitted = (figure, width) => {
  if (width >= 480) return [figure.layout, config];
  const {xaxis, yaxis, margin} = figure.layout;
  const height = (yaxis.scaleanchor ? width + 60 : 340) + 24 * lines(figure, width - 60);
  const axes = {xaxis: {...xaxis, title: broken(xaxis.title)}, yaxis: {...yaxis, title: broken(yaxis.title)}};
  return [{...figure.layout, ...axes, height, margin: {...margin, l: 40, r: 10}}, {...config, displayModeBar: false}];
};
const draw = async (place) => {
  try {
    const [plotly, answer] = await Promise.all([drawing(), fetch(place.dataset.figure)]);
    if (!answer.ok) throw new Error(await answer.text());
    const figure = await answer.json();
    if (!place.isConnected) return;
    place.replaceChildren();
    const [layout, options] = fitted(figure, place.clientWidth);
    place.style.minHeight = `${layout.height}px`;
    await plotly.newPlot(place, figure.data, layout, options);
    place.dataset.drawn = 'yes';
  } catch (error) {
    place.textContent = `This plot could not be drawn: ${error.message}`;
  }
};
const seen = new IntersectionObserver((entries) => entries.filter((e) => e.isIntersecting).forEach((e) => {
  seen.unobserve(e.target);
  draw(e.target);
}), {rootMargin: '400px'});
const look = () => element.querySelectorAll('.mm-plot:not([data-watched])').forEach((place) => {
  place.dataset.watched = 'yes';
  seen.observe(place);
});
// The value is on the page a little after it has changed.
new MutationObserver(look).observe(element, {childList: true, subtree: true});
look();
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-try]');
  if (button) trigger('select', {...button.dataset});
});
