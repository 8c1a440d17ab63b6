// The map of cells: what is shown of them, and how one moves about.

const NEAR = 12; // Pixels within which a cell is found.

class Cells {
  constructor(root, map) {
    this.map = map;
    this.fields = map.fields;
    this.hidden = map.fields.map(() => new Set());
    this.coloured = { field: 0 };
    this.isOpen = false;
    this.highlighted = -1;
    this.found = -1;
    this.pinned = false;
    this.redraw = everyFrame(() => this.draw());
    this.build(root);
  }

  async open() {
    this.ids = await readArray(this.map.ids);
    await Promise.all(this.fields.map(async (field) => {
      field.data = await readArray(field.codes ?? field.values);
    }));
    this.shuffled = shuffle(this.map.count);
    this.order = new Uint32Array(this.map.count);
    this.visible = new Uint8Array(this.map.count).fill(1);
    this.colours = new Uint32Array(this.map.count);
    await this.lie(0);
    await this.colourBy({ field: 0 });
    this.isOpen = true;
    new ResizeObserver(() => this.resized()).observe(this.stage);
  }

  // Takes the places of a layout.
  async lie(number) {
    const wanted = this.wanted = this.map.layouts[number];
    const [x, y] = await Promise.all([wanted.x, wanted.y].map(readArray));
    if (this.wanted !== wanted) return; // Another was asked for meanwhile.
    Object.assign(this, { layout: wanted, x, y });
    this.box = boxOf(this.x, this.y);
    this.grid = new Grid(this.x, this.y, this.box);
    for (const field of this.fields) delete field.middles;
    this.pin(-1);
    this.fit();
  }

  build(root) {
    this.canvas = element("canvas", { class: "plane" });
    this.overlay = element("canvas", {
      class: "plane over",
      tabindex: 0,
      role: "application",
      "aria-label": "Map of cells. Arrow keys move, + and - zoom, 0 shows all. "
        + "The cell next to the middle is described.",
    });
    this.points = new Points(this.canvas);
    this.tip = element("div", { class: "tip", role: "status", hidden: true });
    this.status = element("p", { class: "status" });
    this.stage = element("div", { class: "stage" }, this.canvas, this.overlay,
      zoomButtons({
        zoomBy: (times) => this.zoom(times, this.width / 2, this.height / 2),
        reset: () => this.fit(),
      }), this.status, this.tip);
    this.side = new Side(this);
    root.append(this.stage, this.side.root);
    listen(this.overlay, {
      pan: (dx, dy) => this.pan(dx, dy),
      zoom: (times, x, y) => this.zoom(times, x, y),
      reset: () => this.fit(),
      hover: (x, y, middle) => this.hover(x, y, middle),
      leave: () => this.pin(-1),
      tap: (x, y, kind) => this.tap(x, y, kind),
    });
  }

  // Where things are.

  resized() {
    const { width, height, factor } = fitCanvas(this.canvas);
    if (!width || !height) return;
    fitCanvas(this.overlay);
    const wasFit = this.isFit;
    Object.assign(this, { width, height, factor });
    if (wasFit) this.fit();
    else this.draw();
  }

  fit() {
    const { width, height, factor } = fitCanvas(this.canvas);
    if (!width || !height || !this.box) return;
    fitCanvas(this.overlay);
    Object.assign(this, { width, height, factor });
    const { left, right, bottom, top } = this.box;
    const across = Math.max(right - left, 1e-9);
    const up = Math.max(top - bottom, 1e-9);
    this.scale = this.whole = 0.92 * Math.min(width / across, height / up);
    this.left = width / 2 - this.scale * (left + right) / 2;
    this.top = height / 2 + this.scale * (bottom + top) / 2;
    this.isFit = true;
    this.redraw();
  }

  screen(i) {
    return [this.x[i] * this.scale + this.left, this.top - this.y[i] * this.scale];
  }

  pan(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.moved();
  }

  zoom(times, x, y) {
    const to = Math.min(this.whole * 400, Math.max(this.whole / 2, this.scale * times));
    const by = to / this.scale;
    this.left = x + (this.left - x) * by;
    this.top = y + (this.top - y) * by;
    this.scale = to;
    this.moved();
  }

  moved() {
    this.isFit = false;
    if (!this.pinned) this.find(-1);
    this.redraw();
  }

  // Brings some cells into view.
  lookAt(cells) {
    const box = boxOf(cells.map((i) => this.x[i]), cells.map((i) => this.y[i]));
    const scale = 0.6 * Math.min(this.width / Math.max(box.right - box.left, 1e-9),
      this.height / Math.max(box.top - box.bottom, 1e-9));
    this.scale = Math.min(scale, this.whole * 12);
    this.left = this.width / 2 - this.scale * (box.left + box.right) / 2;
    this.top = this.height / 2 + this.scale * (box.bottom + box.top) / 2;
    this.isFit = false;
    this.redraw();
  }

  radius() {
    const room = Math.sqrt(this.width * this.height / Math.max(1, this.map.count));
    const small = Math.min(4, Math.max(0.9, 0.3 * room));
    return Math.min(7, small * (this.scale / this.whole) ** 0.4) * this.factor;
  }

  // What is shown.

  async colourBy(wanted) {
    this.wantedColours = wanted;
    const shades = await this.shadesOf(wanted);
    if (this.wantedColours !== wanted) return; // Another was asked for meanwhile.
    Object.assign(this, { coloured: wanted, shades, highlighted: -1 });
    this.recolour();
    this.side.show();
    this.tell();
  }

  field() {
    return this.fields[this.coloured.field];
  }

  level({ gene, modality } = this.coloured) {
    const { levels } = this.map.genes[gene];
    return levels[modality] ?? Object.values(levels)[0];
  }

  // A byte for each cell; of classes none.
  shadesOf(wanted) {
    if (wanted.gene !== undefined) return readArray(this.level(wanted).bytes);
    const field = this.fields[wanted.field];
    return field.kind === "number" ? toShades(field) : null;
  }

  byNumber() {
    return this.coloured.gene !== undefined || this.field().kind === "number";
  }

  toggle(category, only = false) {
    const hidden = this.hidden[this.coloured.field];
    const all = [...this.field().classes.keys()].map((c) => c + 1).concat(0);
    if (only) {
      const alone = !hidden.has(category) && hidden.size === all.length - 1;
      hidden.clear();
      if (!alone) all.filter((c) => c !== category).forEach((c) => hidden.add(c));
    } else if (!hidden.delete(category)) hidden.add(category);
    this.highlighted = -1;
    this.hide();
  }

  showAll() {
    this.hidden.forEach((hidden) => hidden.clear());
    this.hide();
  }

  hide() {
    this.visible.fill(1);
    this.hidden.forEach((hidden, number) => {
      if (!hidden.size) return;
      const { data } = this.fields[number];
      for (let i = 0; i < data.length; i++) if (hidden.has(data[i])) this.visible[i] = 0;
    });
    if (this.found >= 0 && !this.visible[this.found]) this.pin(-1);
    this.recolour();
    this.side.show();
  }

  highlight(category) {
    if (category === this.highlighted) return;
    this.highlighted = category;
    this.recolour();
  }

  retheme() {
    if (!this.isOpen) return;
    this.recolour();
    this.side.show();
  }

  recolour() {
    if (this.byNumber()) paintNumbers(this);
    else paintClasses(this);
    this.redraw();
  }

  // Drawing.

  draw() {
    if (!this.width || !this.isOpen) return;
    const start = performance.now();
    const { factor } = this;
    this.points.draw({
      x: this.x, y: this.y, order: this.order, count: this.count, colours: this.colours,
      scale: this.scale * factor, left: this.left * factor, top: this.top * factor,
      radius: this.radius(), background: packed(ground()),
    });
    this.drawOver();
    this.drawTook = performance.now() - start;
    const shown = this.count === this.map.count ? "" : `${whole(this.count)} of `;
    const parts = [`${shown}${whole(this.map.count)} cells`,
      `${this.layout.how} of the ${this.layout.name}`, this.map.note];
    this.status.textContent = parts.filter(Boolean).join(" · ");
  }

  drawOver() {
    const context = this.overlay.getContext("2d");
    context.setTransform(this.factor, 0, 0, this.factor, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    if (!this.byNumber() && this.field().named && this.side.withNames()) {
      drawNames(context, this);
    }
    if (this.found < 0) return;
    const [x, y] = this.screen(this.found);
    drawRing(context, x, y, this.radius() / this.factor + 3);
    this.placeTip(x, y);
  }

  // A cell by itself.

  hover(x, y, middle = false) {
    if (this.pinned && !middle) return;
    this.pinned = false;
    const reach = (middle ? 60 : NEAR) / this.scale;
    const [dataX, dataY] = [(x - this.left) / this.scale, (this.top - y) / this.scale];
    this.find(this.grid.nearest(dataX, dataY, reach, this.visible));
  }

  tap(x, y, kind) {
    const before = this.found;
    const wasPinned = this.pinned;
    this.pinned = false;
    this.hover(x, y, kind !== "mouse");
    this.pinned = this.found >= 0 && !(wasPinned && before === this.found);
    if (!this.pinned && kind !== "mouse") this.find(-1);
  }

  pin(i) {
    this.pinned = i >= 0;
    this.find(i);
  }

  find(i) {
    if (i === this.found) return;
    this.found = i;
    this.tell();
    this.redraw();
  }

  tell() {
    this.tip.hidden = this.found < 0;
    if (this.found >= 0) this.tip.replaceChildren(...describe(this, this.found));
  }

  placeTip(x, y) {
    const box = this.tip.getBoundingClientRect();
    const right = x + 16 + box.width > this.width;
    const left = Math.max(4, right ? x - 16 - box.width : x + 16);
    const top = Math.min(Math.max(4, y - box.height / 2), this.height - box.height - 4);
    this.tip.style.transform = `translate(${left}px, ${Math.max(4, top)}px)`;
  }
}
