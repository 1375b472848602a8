// A recipe's chips, and the menu that adds a stage with its arguments.
element.addEventListener('change', ({target}) => {
  if (!target.matches('[data-stage]')) return;
  element.querySelectorAll('[data-for]').forEach((fields) => { fields.hidden = fields.dataset.for !== target.value; });
});
const add = (fields) => {
  const given = [...fields.querySelectorAll('[data-argument]')];
  const wrong = given.find((field) => !field.reportValidity());
  if (wrong) return;
  trigger('stage', {do: 'add', stage: [fields.dataset.for, ...given.map((field) => field.value)].join(':')});
  const menu = element.querySelector('[data-stage]');
  menu.value = '';
  fields.hidden = true;
};
element.addEventListener('click', ({target}) => {
  const out = target.closest('[data-out]');
  if (out) trigger('stage', {do: 'remove', place: Number(out.dataset.out)});
  const button = target.closest('[data-add]');
  if (button) add(button.closest('[data-for]'));
});
element.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && event.target.matches('input[data-argument]')) add(event.target.closest('[data-for]'));
});
