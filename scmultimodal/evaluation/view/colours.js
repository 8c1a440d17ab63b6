// Colours of the two themes. Categories have the house's palette, numbers a ramp whose
// lightness alone tells the order.

const RAMPS = {
  light: ["#F5D6AC", "#EE9F73", "#D95B72", "#983080", "#4B1A6B", "#170B33"],
  dark: ["#4A2A6E", "#8B3484", "#CB4A78", "#F08150", "#FABE5F", "#FCF6C4"],
};
const GREYS = {
  // ground, what is not highlighted, zero, not known
  light: ["#FFFFFF", "#E6E8EB", "#DADDE1", "#B9BEC5"],
  dark: ["#121417", "#23272C", "#2E333A", "#565D66"],
};
const UNKNOWN = 3;

let theme = "light";

const ground = () => GREYS[theme][0];
const faded = () => GREYS[theme][1];
const zero = () => GREYS[theme][2];
const unknown = () => GREYS[theme][UNKNOWN];

function colourOf(category) {
  const palette = facts.palettes[theme];
  return palette[category % palette.length];
}

function channels(colour) {
  return [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
}

// A share of 0 to 1 on a ramp, as #rrggbb.
function onRamp(share, stops = RAMPS[theme]) {
  const at = Math.min(1, Math.max(0, share)) * (stops.length - 1);
  const low = Math.min(stops.length - 2, Math.floor(at));
  const [a, b] = [channels(stops[low]), channels(stops[low + 1])];
  const mixed = a.map((value, i) => Math.round(value + (b[i] - value) * (at - low)));
  return `#${mixed.map((value) => value.toString(16).padStart(2, "0")).join("")}`;
}

// As the pixels of an ImageData are on a little-endian machine.
function packed(colour) {
  const [red, green, blue] = channels(colour);
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

// Black or white, whichever is told from the colour better: 4.5 to 1 at least.
function inkOn(colour) {
  const [red, green, blue] = channels(colour).map((value) =>
    (value > 10 ? ((value / 255 + 0.055) / 1.055) ** 2.4 : value / 255 / 12.92));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000000" : "#FFFFFF";
}
