// The names of classes on the map, where most of their cells are.

const MOST_NAMED = 60;

function drawNames(context, cells) {
  const field = cells.field();
  field.middles ??= middlesOf(field, cells);
  const hidden = cells.hidden[cells.coloured.field];
  const taken = [];
  context.font = "600 12px system-ui, sans-serif";
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  for (const { category, x, y } of field.middles) {
    if (hidden.has(category)) continue;
    const muted = cells.highlighted >= 0 && category !== cells.highlighted;
    if (muted) continue;
    const text = clipped(field.classes[category - 1], 24);
    const [left, top] = [x * cells.scale + cells.left, cells.top - y * cells.scale];
    const half = context.measureText(text).width / 2 + 3;
    const box = [left - half, top - 8, left + half, top + 8];
    if (taken.some((other) => overlap(box, other))) continue;
    taken.push(box);
    context.lineWidth = 3.5;
    context.strokeStyle = ground();
    context.strokeText(text, left, top);
    context.fillStyle = inkOn(ground());
    context.fillText(text, left, top);
  }
}

// Where most cells of a class are; the largest class comes first, and has its place.
function middlesOf({ classes, data }, { x, y, box }) {
  if (classes.length > MOST_NAMED) return [];
  const members = Array.from(classes, () => []);
  for (let i = 0; i < data.length; i++) if (data[i]) members[data[i] - 1].push(i);
  return members
    .map((cells, place) => ({ category: place + 1, cells }))
    .filter(({ cells }) => cells.length)
    .sort((a, b) => b.cells.length - a.cells.length)
    .map(({ category, cells }) => ({ category, ...densest(cells, x, y, box) }));
}

// The mean place of the cells in and around the fullest of coarse squares.
function densest(cells, x, y, box) {
  const side = 20;
  const square = (value, low, high) =>
    1 + Math.min(side - 1, Math.floor(side * (value - low) / (high - low || 1)));
  const columns = cells.map((i) => square(x[i], box.left, box.right));
  const rows = cells.map((i) => square(y[i], box.bottom, box.top));
  const around = new Uint32Array((side + 2) ** 2);
  const steps = [-1, 0, 1];
  cells.forEach((_, k) => steps.forEach((down) => steps.forEach((right) => {
    around[(rows[k] + down) * (side + 2) + columns[k] + right]++;
  })));
  const fullest = around.indexOf(around.reduce((a, b) => Math.max(a, b)));
  const [row, column] = [Math.floor(fullest / (side + 2)), fullest % (side + 2)];
  const near = cells.filter((_, k) =>
    Math.abs(rows[k] - row) < 2 && Math.abs(columns[k] - column) < 2);
  const mean = (values) => near.reduce((sum, i) => sum + values[i], 0) / near.length;
  return { x: mean(x), y: mean(y) };
}

function overlap(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

function clipped(text, most) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}
