// Why this result: one layer of a heat map at a time, a clip's moments, and the map as a picture.
const of = (selector) => element.querySelector(selector);
// An answer that comes when another item is looked at already is not for it.
const fits = () => {
  const answer = of('.mm-why'), shown = document.querySelector('#detail .mm-detail');
  if (answer && shown && shown.dataset.about !== answer.dataset.about) answer.hidden = true;
};
new MutationObserver(fits).observe(element, {childList: true, subtree: true});
const save = async (box) => {
  const heat = box.querySelector('.mm-heat'), picture = heat.querySelector('img');
  await picture.decode();
  const canvas = Object.assign(document.createElement('canvas'), {width: picture.naturalWidth, height: picture.naturalHeight});
  const pen = canvas.getContext('2d'), room = heat.getBoundingClientRect();
  pen.filter = 'grayscale(1)';
  pen.drawImage(picture, 0, 0);
  pen.filter = 'none';
  heat.querySelectorAll('.mm-cells:not([hidden]) i').forEach((cell) => {
    const own = cell.getBoundingClientRect(), scale = canvas.width / room.width;
    pen.fillStyle = getComputedStyle(cell).backgroundColor;
    pen.globalAlpha = Number(getComputedStyle(cell).opacity);
    pen.fillRect((own.left - room.left) * scale, (own.top - room.top) * scale, own.width * scale, own.height * scale);
  });
  const link = Object.assign(document.createElement('a'), {download: `${box.dataset.name}.png`, href: canvas.toDataURL('image/png')});
  link.click();
};
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
  if (moment && video) { video.currentTime = Number(moment.dataset.seek); return; }
  if (event.target.closest('[data-save]')) save(event.target.closest('.mm-finding-why'));
});
