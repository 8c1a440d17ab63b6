// Elements, and numbers as they are written. Text is always set as text.

const SVG = "http://www.w3.org/2000/svg";

function element(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

function drawing(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null));
  return made;
}

const whole = (number) => Math.round(number).toLocaleString("en-US");
const percent = (share) =>
  `${(100 * share).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;

function short(value) {
  if (value === null || Number.isNaN(value)) return "–";
  if (Number.isInteger(value)) return whole(value);
  const size = Math.abs(value);
  if (size >= 1000) return whole(value);
  return size >= 0.001 ? String(+value.toPrecision(3)) : value.toExponential(1);
}

// Round numbers between two ends, some five of them.
function ticks(low, high, count = 5) {
  const rough = (high - low) / Math.max(1, count);
  if (!(rough > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((times) => times * power >= rough) * power;
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high * (1 + 1e-9); n++) {
    found.push(n * step || 0); // Not -0.
  }
  return found;
}

// One call in a frame, however often it is asked for.
function everyFrame(draw) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      draw();
    });
  };
}

// Sizes a canvas to its box; the factor is device pixels for a CSS pixel.
function fitCanvas(canvas) {
  const factor = Math.min(2, window.devicePixelRatio || 1);
  const box = canvas.getBoundingClientRect();
  const [width, height] = [box.width, box.height].map((n) => Math.round(n * factor));
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  return { width: box.width, height: box.height, factor };
}
