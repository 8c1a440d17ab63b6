// Draws discs into pixels: the same on every machine, with a graphics card or without.

const STEPS = 4; // A disc stands at quarters of a pixel.

class Points {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.radius = 0;
  }

  // Places are x * scale + left and y * -scale + top, in pixels of the canvas.
  draw({ x, y, order, count, colours, scale, left, top, radius, background }) {
    this.size();
    this.shape(radius);
    const { pixels, stride, margin, solid, edge, cover } = this;
    const right = this.canvas.width + 2 * margin - this.reach - 1;
    const bottom = this.canvas.height + 2 * margin - this.reach - 1;
    const near = this.reach;
    pixels.fill(background);
    for (let k = 0; k < count; k++) {
      const i = order[k];
      const px = x[i] * scale + left + margin;
      const py = top - y[i] * scale + margin;
      if (!(px >= near && py >= near && px < right && py < bottom)) continue;
      const column = px | 0;
      const row = py | 0;
      const kind = ((py - row) * STEPS | 0) * STEPS + ((px - column) * STEPS | 0);
      const base = row * stride + column;
      const colour = colours[i];
      const inside = solid[kind];
      for (let j = 0; j < inside.length; j++) pixels[base + inside[j]] = colour;
      const rim = edge[kind];
      const share = cover[kind];
      for (let j = 0; j < rim.length; j++) {
        const at = base + rim[j];
        pixels[at] = mix(colour, pixels[at], share[j]);
      }
    }
    this.context.putImageData(this.image, -margin, -margin);
  }

  // Pixels of the canvas, and a margin that discs at its rim reach into.
  size() {
    const margin = 24;
    const width = this.canvas.width + 2 * margin;
    const height = this.canvas.height + 2 * margin;
    if (this.image?.width === width && this.image?.height === height) return;
    this.image = new ImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.margin = margin;
    this.stride = width;
    this.radius = 0;
  }

  // Which pixels a disc covers, for each place within a pixel that it may stand at.
  shape(radius) {
    if (radius === this.radius) return;
    this.radius = radius;
    this.reach = Math.ceil(radius) + 1;
    this.solid = [];
    this.edge = [];
    this.cover = [];
    for (let row = 0; row < STEPS; row++) {
      for (let column = 0; column < STEPS; column++) {
        this.addShape(radius, (column + 0.5) / STEPS, (row + 0.5) / STEPS);
      }
    }
  }

  addShape(radius, atX, atY) {
    const [solid, edge, cover] = [[], [], []];
    for (let dy = -this.reach; dy <= this.reach; dy++) {
      for (let dx = -this.reach; dx <= this.reach; dx++) {
        const away = Math.hypot(dx + 0.5 - atX, dy + 0.5 - atY);
        const share = Math.round(256 * Math.min(1, Math.max(0, radius - away + 0.5)));
        const place = dy * this.stride + dx;
        if (share === 256) solid.push(place);
        else if (share > 0) {
          edge.push(place);
          cover.push(share);
        }
      }
    }
    this.solid.push(Int32Array.from(solid));
    this.edge.push(Int32Array.from(edge));
    this.cover.push(Int32Array.from(cover));
  }
}

// `share` of 256 of one colour over another.
function mix(over, under, share) {
  const rest = 256 - share;
  const redBlue =
    (Math.imul(over & 0xff00ff, share) + Math.imul(under & 0xff00ff, rest)) >>> 8;
  const green =
    (Math.imul((over >>> 8) & 0xff, share) + Math.imul((under >>> 8) & 0xff, rest)) >>> 8;
  return (0xff000000 | (redBlue & 0xff00ff) | (green << 8)) >>> 0;
}
