// Sums along the bases of a track, and rows of the genes under them.

const BLOCK = 32; // Bases of which maximum and sum are kept.
const LEVELS = 250; // A byte of a track; above it nothing is known.

// Maximum, sum and number of the known bases of each block.
function blocksOf(bytes) {
  const count = Math.ceil(bytes.length / BLOCK);
  const blocks = {
    most: new Uint8Array(count), sum: new Uint16Array(count), known: new Uint8Array(count),
  };
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] > LEVELS) continue;
    const block = i / BLOCK | 0;
    if (bytes[i] > blocks.most[block]) blocks.most[block] = bytes[i];
    blocks.sum[block] += bytes[i];
    blocks.known[block]++;
  }
  return blocks;
}

// Mean and maximum of the known bases from one to before another.
function over(bytes, { most, sum, known }, from, to) {
  let [highest, total, count] = [0, 0, 0];
  const add = (i) => {
    if (bytes[i] > LEVELS) return;
    if (bytes[i] > highest) highest = bytes[i];
    total += bytes[i];
    count++;
  };
  let i = from;
  for (; i < to && i % BLOCK; i++) add(i);
  for (; i + BLOCK <= to; i += BLOCK) {
    const block = i / BLOCK;
    if (most[block] > highest) highest = most[block];
    total += sum[block];
    count += known[block];
  }
  for (; i < to; i++) add(i);
  return { mean: count ? total / count : 0, most: highest };
}

// The genes in view, in rows in which neither they nor their names touch.
function rowsOf(genes, from, to, width) {
  const letter = 7 * (to - from) / Math.max(1, width);
  const rows = [];
  for (const gene of genes) {
    if (gene.end <= from || gene.start >= to) continue;
    const first = Math.max(gene.start, from);
    const last = Math.max(gene.end, first + letter * (gene.symbol.length + 3));
    let row = rows.find((genesOfRow) => genesOfRow.last < first);
    if (!row) rows.push(row = []);
    row.push(gene);
    row.last = last;
  }
  return rows;
}
