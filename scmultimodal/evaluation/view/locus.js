// Tracks along a stretch of a genome, with the genes under them.

const TRACK = { height: 34, gap: 7, left: 168, right: 14, truth: 4 };
const NARROW = { height: 30, gap: 22, left: 4, right: 4, truth: 4 }; // Names above.
const AXIS = 24;
const GENE_ROW = 26;

class Locus {
  constructor(root, loci) {
    this.loci = loci;
    this.track = TRACK;
    this.redraw = everyFrame(() => this.draw());
    this.build(root);
  }

  build(root) {
    this.select = element("select", {
      id: "locus", onchange: (event) => this.open(Number(event.target.value)),
    }, ...this.loci.map(({ name }, place) => element("option", { value: place }, name)));
    this.place = element("input", {
      type: "text", "aria-label": "Place or gene", size: 28, spellcheck: "false",
      onkeydown: (event) => event.key === "Enter" && this.go(this.place.value),
    });
    this.readout = element("p", { class: "readout", role: "status" });
    this.canvas = element("canvas", {
      class: "tracks", tabindex: 0, role: "application",
      "aria-label": "Tracks. Arrow keys move, + and - zoom, 0 shows all. The values in "
        + "the middle are told.",
    });
    this.box = element("div", { class: "locus" }, this.canvas);
    root.append(
      element("div", { class: "row" },
        element("label", { for: "locus" }, "Stretch"), this.select,
        element("label", {}, "Place or gene ", this.place),
        zoomButtons({
          zoomBy: (times) => this.zoom(times, (this.track.left + this.width) / 2),
          reset: () => this.reset(),
        })),
      this.readout, this.box);
    listen(this.canvas, {
      pan: (dx) => this.pan(dx),
      zoom: (times, x) => this.zoom(times, x),
      reset: () => this.reset(),
      hover: (x, y, middle) => this.point(middle ? (this.track.left + this.width) / 2 : x),
      leave: () => this.point(-1),
      tap: (x) => this.point(x),
    });
  }

  async open(number = 0) {
    const wanted = this.wanted = this.loci[number];
    this.select.value = number;
    await Promise.all(wanted.tracks.map(async (track) => {
      track.bytes ??= await readArray(track.values);
      track.blocks ??= blocksOf(track.bytes);
      if (track.truth) track.labels ??= await readArray(track.truth);
    }));
    if (this.wanted !== wanted) return; // Another was asked for meanwhile.
    this.locus = wanted; // Whole: what is drawn while it is read is the one before.
    this.cursor = -1;
    this.observer ??= new ResizeObserver(() => this.resize());
    this.observer.observe(this.box);
    this.reset();
  }

  reset() {
    this.from = this.locus.start;
    this.to = this.locus.end;
    this.resize();
  }

  resize() {
    const { tracks, genes } = this.locus;
    this.track = this.box.clientWidth < 560 ? NARROW : TRACK;
    this.rows = rowsOf(genes, this.from, this.to, this.box.clientWidth - this.track.left);
    const row = this.track.height + this.track.gap;
    const height = tracks.length * row + AXIS + this.rows.length * GENE_ROW + 6;
    this.canvas.style.height = `${height}px`;
    Object.assign(this, fitCanvas(this.canvas));
    this.redraw();
  }

  // Where one is, in bases.

  perPixel() {
    return (this.to - this.from) / (this.width - this.track.left - this.track.right);
  }

  base(x) {
    return this.from + (x - this.track.left) * this.perPixel();
  }

  x(base) {
    return this.track.left + (base - this.from) / this.perPixel();
  }

  pan(dx) {
    this.look(this.from - dx * this.perPixel(), this.to - this.from);
  }

  zoom(times, x) {
    const { start, end } = this.locus;
    const size = Math.min(end - start, Math.max(Math.min(40, end - start),
      (this.to - this.from) / times));
    const share = (x - this.track.left) / (this.width - this.track.left - this.track.right);
    this.look(this.base(x) - share * size, size);
  }

  look(from, size) {
    const { start, end } = this.locus;
    this.from = Math.min(Math.max(from, start), end - size);
    this.to = this.from + size;
    this.resize();
  }

  go(text) {
    const wanted = text.trim().toLowerCase();
    const gene = this.locus.genes.find(({ symbol }) => symbol.toLowerCase() === wanted);
    const [from, to] = gene ? [gene.start, gene.end] : this.basesOf(wanted);
    const { start, end } = this.locus;
    if (!(from <= to && from < end && to >= start)) {
      this.readout.textContent = `There is no ${text} here.`;
      return;
    }
    const size = Math.min(end - start, Math.max(60, 1.2 * (to - from)));
    this.look((from + to) / 2 - size / 2, size);
  }

  // "chr2:1,000-2,000", "1000-2000" or "1000"; nothing of another chromosome.
  basesOf(wanted) {
    const found = wanted.match(/^(?:(.+):)?([\d,]+)(?:-([\d,]+))?$/);
    if (!found) return [];
    const [, chrom = this.locus.chrom, low, high = low] = found;
    if (chrom.toLowerCase() !== this.locus.chrom.toLowerCase()) return [];
    return [low, high].map((word) => Number(word.replaceAll(",", "")));
  }

  point(x) {
    this.cursor = x >= this.track.left && x <= this.width - this.track.right ? x : -1;
    this.redraw();
  }

  // Drawing.

  draw() {
    if (!this.width || !this.locus) return;
    const start = performance.now();
    const context = this.canvas.getContext("2d");
    context.setTransform(this.factor, 0, 0, this.factor, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    const style = getComputedStyle(this.canvas);
    this.ink = style.color;
    this.faint = style.getPropertyValue("--faint");
    this.locus.tracks.forEach((track, number) => this.drawTrack(context, track, number));
    const top = this.locus.tracks.length * (this.track.height + this.track.gap);
    this.drawAxis(context, top);
    this.drawGenes(context, top + AXIS);
    this.tell(context, top);
    this.drawTook = performance.now() - start;
    if (document.activeElement !== this.place) this.place.value = this.where();
  }

  where() {
    const [from, to] = [Math.floor(this.from), Math.ceil(this.to)];
    return `${this.locus.chrom}:${whole(from)}-${whole(to)}`;
  }

  // Mean of the bases of a column, dark, before their maximum, light.
  drawTrack(context, { name, bytes, blocks, labels }, number) {
    const { ink, faint } = this;
    const isNarrow = this.track === NARROW;
    const top = number * (this.track.height + this.track.gap) + isNarrow * this.track.gap;
    const room = this.track.height - (labels ? this.track.truth + 2 : 0);
    const colour = colourOf(number);
    context.fillStyle = ink;
    context.font = "12px system-ui, sans-serif";
    context.textAlign = isNarrow ? "left" : "right";
    context.textBaseline = "middle";
    const [x, y] = isNarrow ? [this.track.left, top - 9] : [this.track.left - 10, top + room / 2];
    context.fillText(clipped(name.replaceAll("_", " "), 26), x, y);
    context.fillStyle = faint;
    context.fillRect(this.track.left, top + room, this.width - this.track.left - this.track.right, 0.5);
    const low = this.locus.start;
    for (let x = this.track.left; x < this.width - this.track.right; x++) {
      const from = Math.floor(this.base(x)) - low;
      const to = Math.max(from + 1, Math.floor(this.base(x + 1)) - low);
      const { mean, most } = over(bytes, blocks, from, Math.min(to, bytes.length));
      if (most > 0) {
        context.globalAlpha = 0.3;
        context.fillStyle = colour;
        context.fillRect(x, top + room * (1 - most / LEVELS), 1, room * most / LEVELS);
        context.globalAlpha = 1;
        context.fillRect(x, top + room * (1 - mean / LEVELS), 1, room * mean / LEVELS);
      }
      if (labels) this.drawTruth(context, labels, from, to, x, top + room + 2, colour);
    }
  }

  drawTruth(context, labels, from, to, x, y, colour) {
    let label = 0;
    for (let i = from; i < Math.min(to, labels.length) && label !== 1; i++) {
      if (labels[i]) label = labels[i];
    }
    if (!label) return;
    context.fillStyle = label === 1 ? colour : this.faint;
    const height = label === 1 ? this.track.truth : 1;
    context.fillRect(x, y + (this.track.truth - height) / 2, 1, height);
  }

  drawAxis(context, top) {
    const { ink, faint } = this;
    context.textBaseline = "top";
    context.textAlign = "center";
    const count = Math.max(2, (this.width - this.track.left) / 130);
    for (const base of ticks(this.from, this.to, count)) {
      const x = this.x(base);
      const half = context.measureText(whole(base)).width / 2;
      context.fillStyle = faint;
      context.fillRect(x, top, 1, 5);
      context.fillStyle = ink;
      const middle = Math.min(Math.max(x, half), this.width - half);
      context.fillText(whole(base), middle, top + 7);
    }
  }

  drawGenes(context, top) {
    const { ink } = this;
    context.save();
    context.fillStyle = ink;
    if (this.locus.genes.length && this.track === TRACK) {
      context.textAlign = "right";
      context.fillText("genes", this.track.left - 10, top + 4);
    }
    context.beginPath();
    context.rect(this.track.left, top - 2, this.width - this.track.left - this.track.right, this.height);
    context.clip();
    context.textAlign = "left";
    context.font = "11px system-ui, sans-serif";
    this.rows.forEach((row, number) => row.forEach((gene) =>
      this.drawGene(context, gene, top + number * GENE_ROW)));
    context.restore();
  }

  drawGene(context, { symbol, strand, start, end, boxes }, top) {
    const middle = top + 18;
    const [left, right] = [this.x(start), this.x(end)];
    context.fillRect(left, middle - 0.5, Math.max(1, right - left), 1);
    const heights = { exon: 5, CDS: 9 };
    for (const [feature, height] of Object.entries(heights)) {
      for (const [low, high] of boxes[feature] ?? []) {
        const width = Math.max(1, this.x(high) - this.x(low));
        context.fillRect(this.x(low), middle - height / 2, width, height);
      }
    }
    const arrow = strand === "+" ? "→" : "←";
    context.fillText(`${symbol} ${arrow}`, Math.max(left, this.track.left + 2), top);
  }

  // What the tracks say under the cursor.
  tell(context, bottom) {
    if (this.cursor < 0) {
      this.readout.textContent = this.locus.note;
      return;
    }
    const base = Math.floor(this.base(this.cursor));
    const at = base - this.locus.start;
    context.fillStyle = this.ink;
    context.globalAlpha = 0.5;
    context.fillRect(Math.round(this.cursor), 0, 1, bottom);
    context.globalAlpha = 1;
    const said = this.locus.tracks.map(({ name, bytes, low, high }, number) => {
      const byte = bytes[at];
      const value = byte > LEVELS || byte === undefined ? NaN
        : low + byte / LEVELS * (high - low);
      const swatch = element("i", {});
      swatch.style.background = colourOf(number);
      const text = Number.isNaN(value) ? "–" : value.toFixed(2);
      return element("span", {}, swatch, `${name.replaceAll("_", " ")} ${text}`);
    });
    this.readout.replaceChildren(
      element("b", {}, `${this.locus.chrom}:${whole(base)}`), ...said);
  }
}
