// Gives each cell its colour, and the order in which they are drawn.

function paintNumbers(cells) {
  const ramp = Uint32Array.from({ length: 256 }, (_, byte) => packed(shadeOf(byte)));
  if (cells.coloured.gene === undefined) ramp[0] = packed(unknown());
  const { shades, shuffled, visible, colours } = cells;
  const ends = new Uint32Array(257);
  cells.count = 0;
  for (let i = 0; i < shades.length; i++) {
    colours[i] = ramp[shades[i]];
    if (visible[i]) {
      ends[shades[i] + 1]++;
      cells.count++;
    }
  }
  for (let byte = 1; byte < 257; byte++) ends[byte] += ends[byte - 1];
  for (const i of shuffled) if (visible[i]) cells.order[ends[shades[i]]++] = i;
}

function paintClasses(cells) {
  const { data, classes } = cells.field();
  const { shuffled, visible, colours, highlighted } = cells;
  const paints = Uint32Array.from({ length: classes.length + 1 }, (_, c) =>
    packed(highlighted >= 0 && c !== highlighted ? faded()
      : c ? colourOf(c - 1) : unknown()));
  for (let i = 0; i < data.length; i++) colours[i] = paints[data[i]];
  cells.count = 0;
  for (const above of highlighted >= 0 ? [false, true] : [null]) {
    for (const i of shuffled) {
      if (!visible[i]) continue;
      if (above === null || above === (data[i] === highlighted)) cells.order[cells.count++] = i;
    }
  }
}

// An order in which no class covers another, the same each time.
function shuffle(count) {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  let state = 2463534242;
  for (let i = count - 1; i > 0; i--) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    const j = (state >>> 0) % (i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

// Numbers as 1 to 255, beyond the ends as the ends, and 0 where there is none.
function toShades({ data, low, high }) {
  const by = high > low ? 254 / (high - low) : 0;
  return Uint8Array.from(data, (value) => Number.isNaN(value) ? 0
    : 1 + Math.min(254, Math.max(0, Math.round((value - low) * by))));
}

function shadeOf(byte) {
  return byte ? onRamp((byte - 1) / 254) : zero();
}
