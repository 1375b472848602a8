// Why this result: one layer of a heat map at a time, and a clip's moments.
const of = (selector) => element.querySelector(selector);
// An answer that comes when another item is looked at already is not for it.
const fits = () => {
  const answer = of('.mm-why'), shown = document.querySelector('#detail .mm-detail');
  if (answer && shown && shown.dataset.about !== answer.dataset.about) answer.hidden = true;
};
new MutationObserver(fits).observe(element, {childList: true, subtree: true});
element.addEventListener('click', (event) => {
  const show = event.target.closest('[data-show]');
  if (show) {
    const box = show.closest('.mm-finding-why');
    box.querySelectorAll('[data-show]').forEach((other) => other.setAttribute('aria-pressed', String(other === show)));
    box.querySelectorAll('[data-layer]').forEach((layer) => { layer.hidden = layer.dataset.layer !== show.dataset.show; });
    return;
  }
  const moment = event.target.closest('[data-seek]');
  const video = document.querySelector('#detail video');
  if (moment && video) video.currentTime = Number(moment.dataset.seek);
});
