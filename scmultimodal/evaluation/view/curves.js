// Learning curves: a panel for each metric, values where one points.

const PANEL = { height: 230, left: 52, right: 26, top: 10, bottom: 26 };

class Curves {
  constructor(root, groups) {
    this.hidden = new Set();
    for (const group of groups) root.append(this.group(group));
  }

  group({ name, metrics, trainings }) {
    const panels = element("div", { class: "panels" });
    let width = 460;
    const show = () => panels.replaceChildren(
      ...metrics.map((metric) => this.panel(metric, trainings, width)));
    // As wide as their column: letters have one size on every screen.
    new ResizeObserver(() => {
      const wanted = panels.firstElementChild?.clientWidth;
      if (!wanted || wanted === width) return;
      width = wanted;
      show();
    }).observe(panels);
    const legend = element("div", { class: "chips wide" }, ...trainings.map(
      (training, place) => {
        const swatch = element("i", {});
        swatch.style.background = colourOf(place);
        return element("button", {
          type: "button", "aria-pressed": "true",
          onclick: (event) => {
            training.hidden = !training.hidden;
            event.currentTarget.setAttribute("aria-pressed", String(!training.hidden));
            show();
          },
        }, swatch, training.name);
      }));
    document.addEventListener("theme", () => {
      show();
      [...legend.querySelectorAll("i")].forEach((swatch, place) => {
        swatch.style.background = colourOf(place);
      });
    });
    show();
    return element("section", { class: "curves" }, element("h3", {}, name), legend, panels);
  }

  panel(metric, trainings, width) {
    const shown = trainings.flatMap((training, place) => training.hidden ? []
      : training.series.filter((series) => series.metric === metric.name)
        .map((series) => ({ ...series, name: training.name, colour: colourOf(place) })));
    const readout = element("p", { class: "readout", role: "status" });
    const title = element("h4", {}, metric.title);
    if (!shown.length) return element("figure", {}, title, readout);
    if (!shown.some(({ values }) => values.some((value) => value !== null))) {
      readout.textContent = "no finite value";
      return element("figure", {}, title, readout);
    }
    const frame = axesOf(shown, width);
    const cross = drawing("line", {
      class: "cross", y1: PANEL.top, y2: PANEL.height - PANEL.bottom, visibility: "hidden",
    });
    const dots = drawing("g", {});
    const svg = drawing("svg", {
      viewBox: `0 0 ${width} ${PANEL.height}`, tabindex: 0, role: "application",
      "aria-label": `${metric.title} by step; arrow keys move`,
    }, ...axisMarks(frame), ...shown.flatMap((series) => line(series, frame, metric)),
    cross, dots);
    const steps = [...new Set(shown.flatMap((series) => series.steps))].sort((a, b) => a - b);
    let at = -1;
    const point = (step) => {
      const x = frame.x(step);
      for (const end of ["x1", "x2"]) cross.setAttribute(end, x);
      cross.setAttribute("visibility", "visible");
      const said = [];
      dots.replaceChildren();
      for (const series of shown) {
        const place = series.steps.indexOf(step);
        if (place < 0 || series.values[place] === null) continue;
        dots.append(drawing("circle", {
          cx: x, cy: frame.y(series.values[place]), r: 3, fill: series.colour,
        }));
        const swatch = element("i", {});
        swatch.style.background = series.colour;
        said.push(element("span", {}, swatch,
          `${series.name}, ${series.split} ${short(series.values[place])}`));
      }
      readout.replaceChildren(element("b", {}, `step ${whole(step)}`), ...said);
    };
    const pointed = (event) => {
      const box = svg.getBoundingClientRect();
      const wanted = frame.step((event.clientX - box.left) / box.width * width);
      at = nearestOf(steps, wanted);
      point(steps[at]);
    };
    svg.addEventListener("pointermove", pointed);
    svg.addEventListener("pointerdown", pointed);
    svg.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!by) return;
      event.preventDefault();
      at = Math.min(steps.length - 1, Math.max(0, at + by));
      point(steps[at]);
    });
    return element("figure", {}, title, svg, readout);
  }
}

function axesOf(shown, width) {
  const values = shown.flatMap((series) => series.values).filter((v) => v !== null);
  const steps = shown.flatMap((series) => series.steps);
  const [first, last] = [Math.min(0, ...steps.slice(0, 1)), Math.max(1, maxOf(steps))];
  let [low, high] = [minOf(values), maxOf(values)];
  const room = 0.06 * (high - low) || Math.abs(high) * 0.1 || 1;
  [low, high] = [low - room, high + room];
  const { height, left, right, top, bottom } = PANEL;
  return {
    width, first, last, low, high,
    x: (step) => left + (width - left - right) * (step - first) / (last - first),
    y: (value) => height - bottom - (height - top - bottom) * (value - low) / (high - low),
    step: (x) => first + (x - left) / (width - left - right) * (last - first),
  };
}

const minOf = (values) => values.reduce((a, b) => Math.min(a, b), Infinity);
const maxOf = (values) => values.reduce((a, b) => Math.max(a, b), -Infinity);

function axisMarks({ x, y, width, first, last, low, high }) {
  const { height, left, right, bottom } = PANEL;
  const across = ticks(low, high, 4).flatMap((value) => [
    drawing("line", { class: "rule", x1: left, x2: width - right, y1: y(value), y2: y(value) }),
    drawing("text", { class: "y", x: left - 6, y: y(value) + 3.5 }, short(value)),
  ]);
  const along = ticks(first, last, Math.min(5, width / 90)).map((step) =>
    drawing("text", { class: "x", x: x(step), y: height - bottom + 16 }, whole(step)));
  return [...across, ...along];
}

// Training is thin, validation thick with a dot on its best.
function line({ steps, values, split, colour }, { x, y }, { lower_is_better }) {
  const known = steps.map((step, i) => [step, values[i]]).filter(([, v]) => v !== null);
  if (!known.length) return [];
  const path = known.map(([step, value], i) =>
    `${i ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const isTrain = split === "train";
  const curve = drawing("path", { d: path, class: isTrain ? "thin" : "thick", stroke: colour });
  if (isTrain) return [curve];
  const better = (a, b) => (lower_is_better ? b[1] < a[1] : b[1] > a[1]);
  const best = known.reduce((a, b) => (better(a, b) ? b : a));
  return [curve, drawing("circle", { cx: x(best[0]), cy: y(best[1]), r: 3.5, fill: colour })];
}

function nearestOf(sorted, wanted) {
  return sorted.reduce((best, value, i) =>
    (Math.abs(value - wanted) < Math.abs(sorted[best] - wanted) ? i : best), 0);
}
