// Copies what stands beside a button; where the browser keeps the clipboard to itself the text is selected instead.
element.addEventListener('click', async (event) => {
  const button = event.target.closest('[data-copy]');
  if (!button) return;
  const place = element.querySelector(`[data-copied="${button.dataset.copy}"]`);
  const text = button.dataset.copy === 'link' ? location.href : place.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = 'copied';
  } catch {
    if (button.dataset.copy === 'link') place.textContent = text;
    getSelection().selectAllChildren(place);
    button.textContent = 'selected: press Ctrl+C';
  }
});
