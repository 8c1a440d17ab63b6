// Finds the point that is nearest to a place: points are sorted into squares.

class Grid {
  constructor(x, y, box) {
    this.x = x;
    this.y = y;
    this.box = box;
    this.side = Math.min(512, Math.max(1, Math.ceil(Math.sqrt(x.length / 4))));
    this.stepX = (box.right - box.left) / this.side || 1;
    this.stepY = (box.top - box.bottom) / this.side || 1;
    const squares = new Uint32Array(x.length);
    this.ends = new Uint32Array(this.side * this.side + 1);
    for (let i = 0; i < x.length; i++) {
      squares[i] = this.row(y[i]) * this.side + this.column(x[i]);
      this.ends[squares[i] + 1]++;
    }
    for (let s = 1; s < this.ends.length; s++) this.ends[s] += this.ends[s - 1];
    const next = this.ends.slice();
    this.items = new Uint32Array(x.length);
    for (let i = 0; i < x.length; i++) this.items[next[squares[i]]++] = i;
  }

  column(x) {
    return this.within((x - this.box.left) / this.stepX);
  }

  row(y) {
    return this.within((y - this.box.bottom) / this.stepY);
  }

  within(place) {
    return Math.min(this.side - 1, Math.max(0, Math.floor(place) || 0));
  }

  // Number of the point, or -1 where none that is visible lies within the radius.
  nearest(x, y, radius, visible) {
    let found = -1;
    let least = radius * radius;
    for (let row = this.row(y - radius); row <= this.row(y + radius); row++) {
      const first = row * this.side;
      const from = this.ends[first + this.column(x - radius)];
      const to = this.ends[first + this.column(x + radius) + 1];
      for (let k = from; k < to; k++) {
        const i = this.items[k];
        const away = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
        if (away <= least && visible[i]) {
          least = away;
          found = i;
        }
      }
    }
    return found;
  }
}

// The rectangle that holds all points.
function boxOf(x, y) {
  let [left, right, bottom, top] = [Infinity, -Infinity, Infinity, -Infinity];
  for (let i = 0; i < x.length; i++) {
    left = Math.min(left, x[i]);
    right = Math.max(right, x[i]);
    bottom = Math.min(bottom, y[i]);
    top = Math.max(top, y[i]);
  }
  return x.length ? { left, right, bottom, top } : { left: 0, right: 1, bottom: 0, top: 1 };
}
