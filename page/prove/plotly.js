// What draws plots, fetched once and only where something is drawn.
const drawing = () => (window.mmDrawing ??= new Promise((done, failed) => {
  const script = document.createElement('script');
  script.src = 'script/plotly.js';
  script.onload = () => done(window.Plotly);
  script.onerror = () => { window.mmDrawing = undefined; failed(new Error('the drawing script did not come')); };
  document.head.append(script);
}));
