'use strict';
// The map: boxes for nodes, slices in them for containers, at the instant that the slider stands on.
const data = JSON.parse(document.getElementById('data').textContent);
const STATES = ['busy', 'starting', 'idle', 'leaving'];
const element = (id) => document.getElementById(id);
const canvas = document.querySelector('#canvas canvas');
const slider = element('time');
let policy = 0;
let slices = [];
let timer = null;

const instants = () => data.policies[policy].instants;

function clock(ms) {
  const seconds = Math.floor(ms / 1000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return parts.map((part) => String(part).padStart(2, '0')).join(':');
}

function layout(count, width) {
  const columns = Math.min(count, Math.max(4, Math.ceil(Math.sqrt(count * 2.4))));
  const gap = count > 200 ? 2 : 8;
  const box = (width - gap * (columns - 1)) / columns;
  return { columns, gap, box, height: Math.min(box * 1.1, 150), label: box > 34 ? 18 : 0 };
}

function draw() {
  const list = instants();
  if (list.length === 0) return;
  const instant = list[Math.min(Number(slider.value), list.length - 1)];
  element('at').textContent = clock(instant.at_ms);
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue('--' + name).trim();
  const width = canvas.clientWidth;
  const { columns, gap, box, height, label } = layout(instant.nodes.length, width);
  const rows = Math.ceil(instant.nodes.length / columns);
  const ratio = window.devicePixelRatio || 1;
  const tall = rows * (height + label + gap);
  canvas.style.height = tall + 'px';
  canvas.width = width * ratio;
  canvas.height = tall * ratio;
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  context.font = '11px system-ui, sans-serif';
  context.textAlign = 'center';
  slices = [];
  instant.nodes.forEach((cells, node) => {
    const left = (node % columns) * (box + gap);
    const top = Math.floor(node / columns) * (height + label + gap);
    context.fillStyle = color('page');
    context.fillRect(left, top, box, height);
    let bottom = top + height;
    for (let index = 0; index < cells.length; index += 3) {
      const [state, action, mb] = cells.slice(index, index + 3);
      const thick = (mb / data.node_mb) * height;
      context.fillStyle = color(STATES[state]);
      context.fillRect(left, bottom - thick, box, Math.max(thick - (thick > 3 ? 1 : 0), 0.5));
      slices.push({ left, top: bottom - thick, box, thick, text: `${data.actions[action]}, ${mb} MB, ${STATES[state]}, node ${node}` });
      bottom -= thick;
    }
    context.strokeStyle = color('edge');
    context.strokeRect(left + 0.5, top + 0.5, box - 1, height - 1);
    if (label) {
      context.fillStyle = color('faint');
      context.fillText(String(node), left + box / 2, top + height + 13);
    }
  });
}

function point(event) {
  const bounds = canvas.getBoundingClientRect();
  const [x, y] = [event.clientX - bounds.left, event.clientY - bounds.top];
  const slice = slices.find((it) => x >= it.left && x < it.left + it.box && y >= it.top && y < it.top + it.thick);
  const tip = element('tip');
  tip.hidden = !slice;
  if (slice) {
    tip.textContent = slice.text;
    tip.style.top = y + 'px';
    tip.style.left = Math.max(0, Math.min(x, bounds.width - tip.offsetWidth - 16)) + 'px';
  }
}

function choose(index) {
  const before = instants()[Number(slider.value)];
  policy = index;
  slider.max = Math.max(instants().length - 1, 0);
  if (before) {
    const after = instants().findIndex((instant) => instant.at_ms >= before.at_ms);
    slider.value = after < 0 ? slider.max : after;
  }
  element('tabs').childNodes.forEach((tab, at) => tab.setAttribute('aria-pressed', String(at === index)));
  draw();
}

function play() {
  const stop = () => {
    clearInterval(timer);
    timer = null;
    element('play').textContent = 'play';
  };
  if (timer) return stop();
  if (slider.value === slider.max) slider.value = 0;
  element('play').textContent = 'pause';
  timer = setInterval(() => {
    slider.value = Number(slider.value) + 1;
    draw();
    if (slider.value === slider.max) stop();
  }, 160);
}

data.policies.forEach(({ name }, index) => {
  const tab = document.createElement('button');
  tab.type = 'button';
  tab.textContent = name;
  tab.addEventListener('click', () => choose(index));
  element('tabs').append(tab);
});
element('theme').addEventListener('click', () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  root.dataset.theme = dark ? 'light' : 'dark';
  draw();
});
slider.addEventListener('input', draw);
element('play').addEventListener('click', play);
canvas.addEventListener('pointermove', point);
canvas.addEventListener('pointerleave', () => { element('tip').hidden = true; });
window.addEventListener('resize', draw);
if (data.policies.length > 0) {
  slider.max = Math.max(instants().length - 1, 0);
  slider.value = Math.floor(slider.max / 2);
  choose(0);
}
