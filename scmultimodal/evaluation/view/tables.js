// A click on the head of a column sorts a table by it; a further one turns the order.

function makeSortable(table) {
  [...table.querySelectorAll("thead th")].forEach((head, column) => {
    const button = element("button", {
      type: "button", class: "sort", onclick: () => sortBy(table, head, column),
    }, ...head.childNodes);
    head.append(button);
  });
}

function sortBy(table, head, column) {
  const isNumber = head.classList.contains("number");
  const first = isNumber ? "descending" : "ascending";
  const other = isNumber ? "ascending" : "descending";
  const order = head.getAttribute("aria-sort") === first ? other : first;
  for (const one of table.querySelectorAll("th")) one.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", order);
  const value = (row) => {
    const text = row.cells[column].textContent;
    return isNumber ? Number(text.replaceAll(",", "")) : text;
  };
  const known = (row) => !Number.isNaN(value(row));
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    if (known(a) !== known(b)) return known(a) ? -1 : 1;
    const [x, y] = [value(a), value(b)];
    const sign = isNumber ? x - y : x.localeCompare(y);
    return (order === "ascending" ? sign : -sign) || 0;
  });
  table.tBodies[0].append(...rows);
}
