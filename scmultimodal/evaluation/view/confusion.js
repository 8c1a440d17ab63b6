// Two confusion matrices side by side: the same types, each by a model of one's choice.

const CALLS = {
  light: ["#F4F6F8", "#BFD8EC", "#6BAED6", "#2B7BBA", "#08306B"],
  dark: ["#1B1F24", "#1C4265", "#2B74AC", "#6FB1DE", "#DCEEFB"],
};

class Confusion {
  constructor(root, parts) {
    this.parts = parts;
    this.part = 0;
    this.models = [0, Math.max(0, parts[0].models.findIndex((m) => m.is_baseline))];
    this.cell = null;
    this.readout = element("p", { class: "readout", role: "status" });
    this.controls = element("div", { class: "row" });
    this.sides = element("div", { class: "matrices" });
    root.append(this.controls, this.readout, this.sides);
    this.show();
    new ResizeObserver(() => {
      if (this.sides.clientWidth !== this.width) this.show();
    }).observe(this.sides);
  }

  show() {
    this.width = this.sides.clientWidth;
    const { parts, part } = this;
    this.controls.replaceChildren(...parts.map(({ name }, place) => element("button", {
      type: "button", class: "tab", "aria-pressed": String(place === part),
      onclick: () => this.turnTo(place),
    }, name)));
    this.readout.textContent = this.hint();
    this.sides.replaceChildren(...[0, 1].map((side) => this.matrix(side)));
  }

  turnTo(part) {
    const names = this.models.map((model) => this.parts[this.part].models[model].name);
    this.part = part;
    const place = (name) => this.parts[part].models.findIndex((m) => m.name === name);
    this.models = names.map((name) => Math.max(0, place(name)));
    this.cell = null;
    this.show();
  }

  hint() {
    return "Rows are true types, columns what they are called; the colour is the share "
      + "of the row. Point at a field, or move with the arrow keys.";
  }

  matrix(side) {
    const { classes, models } = this.parts[this.part];
    const model = models[this.models[side]];
    const select = element("select", {
      "aria-label": `model ${side + 1}`,
      onchange: (event) => {
        this.models[side] = Number(event.target.value);
        this.show();
      },
    }, ...models.map(({ name }, place) => element("option", {
      value: place, selected: place === this.models[side],
    }, name)));
    const right = classes.reduce((sum, _, c) => sum + model.counts[c][c], 0);
    const all = model.counts.flat().reduce((sum, count) => sum + count, 0);
    const share = all ? `, ${percent(right / all)}` : "";
    return element("figure", {},
      element("figcaption", { class: "row" }, select,
        element("span", {}, `${whole(right)} of ${whole(all)} right${share}`)),
      element("div", { class: "scroll" }, this.picture(classes, model)));
  }

  picture(classes, { counts, name }) {
    const letters = Math.min(22, Math.max(...classes.map((word) => word.length)));
    const room = 10 + 6.6 * letters;
    const free = this.sides.clientWidth / (this.sides.clientWidth > 900 ? 2 : 1) - 14;
    const size = Math.max(14, Math.min(36, Math.floor((free - room - 46) / classes.length)));
    const span = size * classes.length;
    const fields = [];
    const support = counts.map((row) => row.reduce((sum, count) => sum + count, 0));
    counts.forEach((row, from) => row.forEach((count, to) => {
      const share = count / Math.max(1, support[from]);
      const fill = onRamp(share, CALLS[theme]);
      const at = { x: room + 44 + to * size, y: room + from * size };
      fields.push(drawing("rect", {
        ...at, width: size - 1, height: size - 1, fill, "data-from": from, "data-to": to,
      }));
      if (size >= 20 && share >= 0.05) {
        fields.push(drawing("text", {
          x: at.x + (size - 1) / 2, y: at.y + size / 2 + 3.5, fill: inkOn(fill),
          class: "share",
        }, String(Math.round(100 * share))));
      }
    }));
    const words = classes.flatMap((word, place) => {
      const middle = place * size + size / 2;
      const text = clipped(word, 22);
      return [
        drawing("text", { x: room - 4, y: room + middle + 3.5, class: "side-word" },
          drawing("title", {}, word), text),
        drawing("text", { x: room + 38, y: room + middle + 3.5, class: "side-count" },
          whole(support[place])),
        drawing("text", {
          transform: `translate(${room + 44 + middle + 3.5} ${room - 6}) rotate(-90)`,
        }, drawing("title", {}, word), text),
      ];
    });
    const outline = drawing("rect", {
      class: "outline", width: size + 1, height: size + 1, visibility: "hidden",
    });
    const svg = drawing("svg", {
      width: room + 46 + span, height: room + span + 2, class: "matrix", tabindex: 0,
      role: "application", "aria-label": `Confusion matrix of ${name}`,
      onpointermove: (event) => this.point(event.target.dataset),
      onpointerdown: (event) => this.point(event.target.dataset),
      onkeydown: (event) => this.key(event),
    }, ...fields, ...words, outline);
    svg.place = { room, size };
    return svg;
  }

  key(event) {
    const moves = {
      ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0],
    };
    if (!moves[event.key]) return;
    event.preventDefault();
    const last = this.parts[this.part].classes.length - 1;
    const [from, to] = (this.cell ?? [0, 0]).map((place, axis) =>
      Math.min(last, Math.max(0, place + moves[event.key][axis])));
    this.point({ from, to });
  }

  point({ from, to }) {
    if (from === undefined) return;
    this.cell = [Number(from), Number(to)];
    const [row, column] = this.cell;
    const { classes, models } = this.parts[this.part];
    for (const svg of this.sides.querySelectorAll("svg")) {
      const { room, size } = svg.place;
      const outline = svg.querySelector(".outline");
      outline.setAttribute("x", room + 43 + column * size);
      outline.setAttribute("y", room - 1 + row * size);
      outline.setAttribute("visibility", "visible");
    }
    const said = [...new Set(this.models)].map((number) => {
      const { name, counts } = models[number];
      const all = counts[row].reduce((sum, count) => sum + count, 0);
      const count = counts[row][column];
      return element("span", {},
        element("b", {}, name), ` ${whole(count)} of ${whole(all)}, ${percent(count / Math.max(1, all))}`);
    });
    const what = row === column ? ` called ${classes[column]}, which is right`
      : ` called ${classes[column]}`;
    this.readout.replaceChildren(
      element("span", {}, element("b", {}, classes[row]), what), ...said);
  }
}
