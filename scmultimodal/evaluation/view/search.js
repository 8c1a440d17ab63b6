// One field that finds genes, classes and cells.

const MOST_FOUND = 12;

class Search {
  constructor(cells) {
    this.cells = cells;
    this.found = [];
    this.input = element("input", {
      type: "search", placeholder: "Find a gene, type or cell", role: "combobox",
      "aria-label": "Find a gene, type or cell", "aria-expanded": "false",
      "aria-controls": "found", autocomplete: "off", spellcheck: "false",
      oninput: () => this.look(), onfocus: () => this.look(),
      onkeydown: (event) => this.key(event), onblur: () => this.close(),
    });
    this.list = element("ul", { id: "found", role: "listbox", hidden: true });
    this.root = element("div", { class: "search" }, this.input, this.list);
  }

  look() {
    const wanted = this.input.value.trim().toLowerCase();
    this.found = wanted ? this.matches(wanted) : [];
    this.chosen = 0;
    this.list.replaceChildren(...this.found.map(({ kind, name }, place) =>
      element("li", {
        role: "option", id: `found-${place}`, "aria-selected": String(!place),
        // A click would come after the field has lost its focus.
        onpointerdown: (event) => {
          event.preventDefault();
          this.take(place);
        },
      }, element("span", {}, name), element("small", {}, kind))));
    if (wanted && !this.found.length) {
      this.list.append(element("li", { class: "none" }, "nothing of that name"));
    }
    this.list.hidden = !wanted;
    this.input.setAttribute("aria-expanded", String(!this.list.hidden));
    this.point();
  }

  matches(wanted) {
    const { map, fields, ids } = this.cells;
    const found = [];
    const add = (kind, name, text, go) => {
      const at = text.toLowerCase().indexOf(wanted);
      if (at >= 0) found.push({ kind, name, go, rank: (at ? 1 : 0) + (text.length / 1e4) });
    };
    map.genes.forEach(({ symbol, id, of }, gene) => add(
      of ? `marker of ${of}` : "gene", symbol,
      id.toLowerCase().startsWith(wanted) ? id : symbol, () => this.toGene(gene)));
    fields.forEach(({ name, classes }, field) => classes?.forEach((word, place) =>
      add(name, word, word, () => this.toClass(field, place + 1))));
    found.sort((a, b) => a.rank - b.rank);
    found.length = Math.min(found.length, MOST_FOUND);
    for (let i = 0; i < (ids?.length ?? 0) && found.length < MOST_FOUND; i++) {
      if (ids[i].toLowerCase().includes(wanted)) {
        found.push({ kind: "cell", name: ids[i], go: () => this.toCell(i) });
      }
    }
    return found;
  }

  toGene(gene) {
    this.cells.colourBy({ gene, modality: this.cells.side.modality() });
  }

  async toClass(field, category) {
    await this.cells.colourBy({ field });
    const { data } = this.cells.fields[field];
    this.cells.hidden[field].delete(category);
    this.cells.hide();
    this.cells.highlight(category);
    const members = [...data.keys()].filter((i) => data[i] === category);
    if (members.length) this.cells.lookAt(members);
  }

  toCell(i) {
    if (!this.cells.visible[i]) this.cells.showAll();
    this.cells.lookAt([i]);
    this.cells.pin(i);
  }

  key(event) {
    const keys = {
      ArrowDown: () => this.move(1),
      ArrowUp: () => this.move(-1),
      Enter: () => this.take(this.chosen),
      Escape: () => this.close(),
    };
    if (!keys[event.key]) return;
    event.preventDefault();
    keys[event.key]();
  }

  move(by) {
    if (this.list.hidden) {
      this.look();
      return;
    }
    const count = this.found.length;
    if (count) this.chosen = (this.chosen + by + count) % count;
    this.point();
  }

  point() {
    [...this.list.children].forEach((item, place) => {
      item.setAttribute("aria-selected", String(place === this.chosen));
      if (place === this.chosen) item.scrollIntoView({ block: "nearest" });
    });
    this.input.setAttribute("aria-activedescendant",
      this.found.length ? `found-${this.chosen}` : "");
  }

  take(place) {
    if (!this.found[place]) return;
    this.input.value = this.found[place].name;
    this.found[place].go();
    this.close();
  }

  close() {
    this.found = [];
    this.list.hidden = true;
    this.input.setAttribute("aria-expanded", "false");
    this.point();
  }
}
