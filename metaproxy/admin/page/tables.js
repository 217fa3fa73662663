// Fills tables anew every few seconds without taking the focus away from a button in them.

// A row is {key, cells}; a cell is a text, or {text, className}, or {button, act}, or {meter, text}. Columns
// whose head has the class "number" are set flush right.
export function fill(table, rows, { none }) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const width = heads.length;
  const numbers = heads.map((head) => head.classList.contains("number"));
  if (!rows.length) {
    const cell = Object.assign(document.createElement("td"), { colSpan: width, className: "none", textContent: none });
    body.replaceChildren(document.createElement("tr"));
    body.rows[0].append(cell);
    return;
  }
  const known = new Map([...body.rows].map((row) => [row.dataset.key, row]));
  const wanted = rows.map(({ key, cells }) => update(known.get(key) ?? newRow(key, cells), cells, numbers));
  const focused = document.activeElement;
  if (wanted.length !== body.rows.length || wanted.some((row, i) => row !== body.rows[i])) {
    body.replaceChildren(...wanted);
    if (focused !== document.activeElement && body.contains(focused)) focused.focus();
  }
}

function newRow(key, cells) {
  const row = document.createElement("tr");
  row.dataset.key = key;
  for (const cell of cells) {
    const made = row.insertCell();
    if (cell.button) made.append(button(cell));
    if (cell.meter !== undefined) made.append(document.createElement("meter"), document.createElement("span"));
  }
  return row;
}

function update(row, cells, numbers) {
  cells.forEach((cell, i) => {
    const shown = row.cells[i];
    if (cell.button) return;
    if (cell.meter !== undefined) {
      showShare(shown, cell);
      return;
    }
    const { text, className: own = "" } = typeof cell === "string" ? { text: cell } : cell;
    const className = numbers[i] ? `number ${own}`.trim() : own;
    if (shown.textContent !== text) shown.textContent = text;
    if (shown.className !== className) shown.className = className;
  });
  return row;
}

function showShare(shown, { meter: share, text }) {
  const [meter, words] = shown.children;
  Object.assign(meter, { value: share, textContent: text, title: text });
  words.textContent = text;
}

function button({ button: label, describes, act }) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: label });
  made.setAttribute("aria-label", describes);
  made.addEventListener("click", act);
  return made;
}
