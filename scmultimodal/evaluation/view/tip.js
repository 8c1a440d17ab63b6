// What is said of a cell that one points at.

function describe(cells, i) {
  const { gene } = cells.coloured;
  const shown = cells.fields.filter((field, number) =>
    field.told || (gene === undefined && number === cells.coloured.field));
  const rows = shown.map((field) => [field.name, valueOf(cells, field, i)]);
  if (gene !== undefined) {
    const value = cells.shades[i] / 255 * cells.level().top;
    rows.unshift([cells.map.genes[gene].symbol, short(value)]);
  }
  const list = rows.flatMap(([name, value]) =>
    [element("dt", {}, name), element("dd", {}, value)]);
  return [element("b", {}, cells.ids[i]), element("dl", {}, ...list)];
}

// Of a type that was predicted, with how sure it is.
function valueOf(cells, { kind, data, classes, sure, low, high }, i) {
  if (kind === "number") {
    return low === 0 && high === 1 && data[i] >= 0 ? percent(data[i]) : short(data[i]);
  }
  if (!data[i]) return "–";
  const word = classes[data[i] - 1];
  const confidence = sure && cells.fields.find(({ name }) => name === sure).data[i];
  return confidence >= 0 && sure ? `${word}, ${percent(confidence)}` : word;
}

function drawRing(context, x, y, radius) {
  context.beginPath();
  context.arc(x, y, radius, 0, 7);
  context.lineWidth = 3.5;
  context.strokeStyle = ground();
  context.stroke();
  context.lineWidth = 1.75;
  context.strokeStyle = inkOn(ground());
  context.stroke();
}
