// Drag, pinch, wheel and keys become calls of `pan(dx, dy)` and `zoom(times, x, y)`;
// places are CSS pixels within the element.

function listen(target, { pan, zoom, reset, hover, leave, tap }) {
  const held = new Map();
  let moved = 0;

  const place = (event) => {
    const box = target.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };

  target.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    target.setPointerCapture(event.pointerId);
    held.set(event.pointerId, place(event));
    if (held.size === 1) moved = 0;
  });

  target.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = held.get(event.pointerId);
    if (!before) {
      hover(now.x, now.y);
      return;
    }
    moved += Math.hypot(now.x - before.x, now.y - before.y);
    if (held.size === 1) pan(now.x - before.x, now.y - before.y);
    else if (held.size === 2) pinch(event.pointerId, before, now);
    held.set(event.pointerId, now);
  });

  function pinch(id, before, now) {
    const [, other] = [...held].find(([key]) => key !== id);
    const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y);
    pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    const [x, y] = [(now.x + other.x) / 2, (now.y + other.y) / 2];
    zoom(apart(now) / Math.max(1, apart(before)), x, y);
  }

  target.addEventListener("pointerup", (event) => {
    const last = held.size === 1 && held.has(event.pointerId);
    held.delete(event.pointerId);
    const now = place(event);
    if (last && moved < 5) tap(now.x, now.y, event.pointerType);
  });
  target.addEventListener("pointercancel", (event) => held.delete(event.pointerId));
  target.addEventListener("pointerleave", ({ pointerType }) => {
    // A finger leaves after every tap: what it tapped stays.
    if (pointerType !== "touch" && !held.size) leave();
  });

  target.addEventListener("wheel", (event) => {
    event.preventDefault();
    const now = place(event);
    const lines = event.deltaMode === 1 ? 16 : 1;
    if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      pan(-event.deltaX * lines, 0);
    } else {
      zoom(Math.exp(-0.002 * lines * event.deltaY), now.x, now.y);
    }
  }, { passive: false });

  target.addEventListener("dblclick", (event) => {
    const now = place(event);
    zoom(event.shiftKey ? 1 / 2 : 2, now.x, now.y);
  });

  target.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const box = target.getBoundingClientRect();
    const [x, y] = [box.width / 2, box.height / 2];
    const step = event.shiftKey ? 160 : 40;
    const keys = {
      ArrowLeft: () => pan(step, 0),
      ArrowRight: () => pan(-step, 0),
      ArrowUp: () => pan(0, step),
      ArrowDown: () => pan(0, -step),
      "+": () => zoom(1.4, x, y),
      "=": () => zoom(1.4, x, y),
      "-": () => zoom(1 / 1.4, x, y),
      0: reset,
      Escape: leave,
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
    if (event.key !== "Escape") hover(x, y, true);
  });
}

function zoomButtons({ zoomBy, reset }) {
  const button = (sign, label, onclick) =>
    element("button", { type: "button", title: label, "aria-label": label, onclick }, sign);
  return element("div", { class: "zoom" },
    button("+", "Zoom in", () => zoomBy(1.6)),
    button("−", "Zoom out", () => zoomBy(1 / 1.6)),
    button("⤢", "Show everything", reset));
}
