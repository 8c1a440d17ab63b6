// Beside the map: search, what cells are coloured by, the legend, and marker genes.

class Side {
  constructor(cells) {
    this.cells = cells;
    this.select = element("select", {
      id: "colour-by",
      onchange: (event) => cells.colourBy({ field: Number(event.target.value) }),
    });
    cells.fields.forEach((field, number) =>
      this.select.append(element("option", { value: number }, field.name)));
    this.names = element("input", {
      type: "checkbox", checked: true, onchange: () => cells.redraw(),
    });
    this.namesLabel = element("label", { class: "check" }, this.names, "names");
    this.legend = element("div", { class: "legend" });
    this.genes = element("div", { class: "genes" });
    this.root = element("aside", { class: "side" },
      new Search(cells).root,
      element("div", { class: "row" },
        element("label", { for: "colour-by" }, "Colour by"), this.select, this.namesLabel),
      this.layouts(), this.legend, this.genes);
    this.listGenes();
  }

  // Where there are vectors of several models.
  layouts() {
    const { layouts } = this.cells.map;
    if (layouts.length < 2) return "";
    const select = element("select", {
      id: "layout", onchange: (event) => this.cells.lie(Number(event.target.value)),
    }, ...layouts.map(({ name }, place) => element("option", { value: place }, name)));
    return element("div", { class: "row" },
      element("label", { for: "layout" }, "Laid out"), select);
  }

  withNames() {
    return this.names.checked;
  }

  show() {
    const { coloured } = this.cells;
    const isGene = coloured.gene !== undefined;
    this.select.querySelector("[value=gene]")?.remove();
    if (isGene) {
      const { symbol } = this.cells.map.genes[coloured.gene];
      this.select.prepend(element("option", { value: "gene" }, `gene ${symbol}`));
    }
    this.select.value = isGene ? "gene" : coloured.field;
    this.namesLabel.hidden = this.cells.byNumber() || !this.cells.field().named;
    const kept = this.legend.contains(document.activeElement)
      ? document.activeElement.dataset : null;
    this.legend.replaceChildren(...(this.cells.byNumber() ? this.scale() : this.classes()));
    if (kept) this.focusAgain(kept);
    for (const button of this.genes.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", Number(button.dataset.gene) === coloured.gene);
    }
  }

  // The button that stands where one with the focus was drawn anew; or the first.
  focusAgain({ category, what }) {
    const buttons = [...this.legend.querySelectorAll("button")];
    const same = buttons.find(({ dataset }) =>
      dataset.category === category && dataset.what === what);
    (same ?? buttons[0])?.focus();
  }

  // A button for each class that some cell has.
  classes() {
    const { cells } = this;
    const { data, classes } = cells.field();
    const hidden = cells.hidden[cells.coloured.field];
    const counts = new Uint32Array(classes.length + 1);
    for (const code of data) counts[code]++;
    const order = [...classes.keys()].map((c) => c + 1).concat(0);
    const list = element("ul", {}, ...order.filter((c) => counts[c]).map((c) =>
      this.entry(c, c ? classes[c - 1] : "not known", counts[c], hidden.has(c))));
    const some = cells.hidden.some((set) => set.size);
    return [list, some ? this.allButton() : null].filter(Boolean);
  }

  entry(category, name, count, isHidden) {
    const { cells } = this;
    const swatch = element("i", {});
    swatch.style.background = category ? colourOf(category - 1) : unknown();
    const light = () => cells.highlight(isHidden ? -1 : category);
    const dark = () => cells.highlight(-1);
    const events = { // A finger neither hovers nor leaves.
      onpointerenter: ({ pointerType }) => pointerType === "touch" || light(),
      onpointerleave: dark,
      onfocus: ({ target }) => target.matches(":focus-visible") && light(),
      onblur: dark,
    };
    return element("li", { class: isHidden ? "off" : null },
      element("button", {
        type: "button", class: "class", "aria-pressed": String(!isHidden), title: name,
        "data-category": category, "data-what": "toggle",
        onclick: () => cells.toggle(category), ...events,
      }, swatch, element("span", {}, name), element("small", {}, whole(count))),
      element("button", {
        type: "button", class: "only", "aria-label": `only ${name}`,
        "data-category": category, "data-what": "only",
        onclick: () => cells.toggle(category, true), ...events,
      }, "only"));
  }

  allButton() {
    const onclick = () => this.cells.showAll();
    return element("button", {
      type: "button", class: "all", "data-what": "all", onclick,
    }, "Show all cells");
  }

  // How the numbers that colours stand for are spread.
  scale() {
    const { cells } = this;
    const { shades, visible, coloured } = cells;
    const isGene = coloured.gene !== undefined;
    const bins = new Uint32Array(32);
    let [some, all] = [0, 0];
    for (let i = 0; i < shades.length; i++) {
      if (!visible[i]) continue;
      all++;
      if (!shades[i]) continue;
      some++;
      bins[shades[i] - 1 >> 3]++;
    }
    const most = Math.max(1, ...bins);
    const bars = [...bins].map((count, place) => drawing("rect", {
      x: place * 8, width: 7.5, y: 42 - 42 * count / most, height: 42 * count / most,
      fill: onRamp(place / 31),
    }));
    const ramp = [...bins].map((_, place) => drawing("rect", {
      x: place * 8, width: 8.2, y: 44, height: 6, fill: onRamp(place / 31),
    }));
    const [low, high] = isGene
      ? [`> 0 in ${percent(some / Math.max(1, all))}`, short(cells.level().top)]
      : [short(cells.field().low), short(cells.field().high)];
    return [
      isGene ? this.ofGene() : null,
      drawing("svg", { viewBox: "0 0 256 50", class: "scale", "aria-hidden": "true" },
        ...bars, ...ramp),
      element("p", { class: "ends" }, element("span", {}, low), element("span", {}, high)),
      cells.hidden.some((set) => set.size) ? this.allButton() : null,
    ].filter(Boolean);
  }

  ofGene() {
    const { cells } = this;
    const { gene, modality } = cells.coloured;
    const { symbol, id, of, levels } = cells.map.genes[gene];
    const names = Object.keys(levels);
    const chosen = names.includes(modality) ? modality : names[0];
    const buttons = names.map((name) => element("button", {
      type: "button", "aria-pressed": String(name === chosen), "data-what": name,
      onclick: () => cells.colourBy({ gene, modality: name }),
    }, name.toUpperCase()));
    const about = id === symbol ? [of] : [id, of];
    return element("div", { class: "gene" },
      element("div", { class: "row" }, element("b", {}, symbol),
        element("span", { class: "switch", role: "group" }, ...buttons)),
      element("p", {}, about.filter(Boolean).join(" · ")),
      element("p", {}, cells.map.unit));
  }

  listGenes() {
    const { genes } = this.cells.map;
    if (!genes.length) return;
    const groups = new Map();
    genes.forEach(({ of }, number) => groups.set(of, [...(groups.get(of) ?? []), number]));
    this.genes.append(element("h3", {}, "Marker genes"),
      element("p", {}, this.cells.map.chosen));
    for (const [of, numbers] of groups) {
      const buttons = numbers.map((number) => element("button", {
        type: "button", "data-gene": number, "aria-pressed": "false",
        onclick: () => this.cells.colourBy({ gene: number, modality: this.modality() }),
      }, genes[number].symbol));
      this.genes.append(element("div", { class: "group" },
        of ? element("h4", {}, of) : null, element("div", { class: "chips" }, ...buttons)));
    }
  }

  modality() {
    return this.cells.coloured.modality ?? "rna";
  }
}
