// Plots come when they come near the window; all of them at once would keep the browser busy for seconds.
const drawing = () => (window.mmDrawing ??= new Promise((done, failed) => {
  const script = document.createElement('script');
  script.src = 'script/plotly.js';
  script.onload = () => done(window.Plotly);
  script.onerror = () => { window.mmDrawing = undefined; failed(new Error('the drawing script did not come')); };
  document.head.append(script);
}));
const config = {
  responsive: true,
  displaylogo: false,
  modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
  // plotly would offer to upload the plot to a server of its makers.
  showSendToCloud: false,
  plotlyServerURL: '',
};
const draw = async (place) => {
  try {
    const [plotly, answer] = await Promise.all([drawing(), fetch(place.dataset.figure)]);
    if (!answer.ok) throw new Error(await answer.text());
    const figure = await answer.json();
    if (!place.isConnected) return;
    place.replaceChildren();
    await plotly.newPlot(place, figure.data, figure.layout, config);
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
