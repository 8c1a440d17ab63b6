// Puts the page together: tabs, themes, and what each tab shows.

const facts = JSON.parse(document.getElementById("facts").textContent);
const views = {};

const builders = {
  cells: async (mount) => {
    views.cells = new Cells(mount, facts.cells);
    await views.cells.open();
  },
  genome: async (mount) => {
    views.genome = new Locus(mount, facts.loci);
    await views.genome.open();
  },
  confusion: (mount) => {
    views.confusion = new Confusion(mount, facts.confusions);
  },
  curves: (mount) => {
    views.curves = new Curves(mount, facts.curves);
  },
};

const tabs = [...document.querySelectorAll("[role=tab]")];

// A tab is built when it is first seen: what is not looked at costs nothing.
async function turnTo(name) {
  const tab = tabs.find((one) => one.dataset.panel === name) ?? tabs[0];
  for (const one of tabs) {
    const isChosen = one === tab;
    one.setAttribute("aria-selected", String(isChosen));
    one.tabIndex = isChosen ? 0 : -1;
    document.getElementById(one.dataset.panel).hidden = !isChosen;
  }
  tab.scrollIntoView({ block: "nearest", inline: "nearest" });
  document.body.dataset.panel = tab.dataset.panel;
  const mount = document.querySelector(`#${tab.dataset.panel} .mount`);
  if (!mount || mount.dataset.built) return;
  mount.dataset.built = "building";
  mount.inert = true;
  try {
    await builders[tab.dataset.panel](mount);
    mount.dataset.built = "whole";
  } catch (error) {
    mount.replaceChildren(element("p", { class: "note" },
      `This part could not be drawn (${error.message}). The page needs a browser of `
      + "2023 or later."));
    throw error;
  } finally {
    mount.inert = false;
  }
}

tabs.forEach((tab, place) => {
  tab.addEventListener("click", () => {
    history.replaceState(null, "", `#${tab.dataset.panel}`);
    turnTo(tab.dataset.panel);
  });
  tab.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by) return;
    const next = tabs[(place + by + tabs.length) % tabs.length];
    next.focus();
    next.click();
  });
});

const prefersDark = matchMedia("(prefers-color-scheme: dark)");

function setTheme(name) {
  theme = name;
  document.documentElement.dataset.theme = name;
  views.cells?.retheme();
  views.genome?.redraw();
  views.confusion?.show();
  document.dispatchEvent(new Event("theme"));
}

document.getElementById("theme").addEventListener("click", () =>
  setTheme(theme === "dark" ? "light" : "dark"));
prefersDark.addEventListener("change", () => setTheme(prefersDark.matches ? "dark" : "light"));
setTheme(prefersDark.matches ? "dark" : "light");

for (const table of document.querySelectorAll("table")) makeSortable(table);
window.view = views;
window.addEventListener("hashchange", () => turnTo(location.hash.slice(1)));
turnTo(location.hash.slice(1));
