// The search field and its list of matches, a combobox in the sense of ARIA: what is typed filters,
// the arrow keys move, Enter goes there and, pressed again, to the next.

const listedMatches = 200;

class Search {
  /** @param actions { go(box), changed(query, boxes): boxes is null without a query } */
  constructor(model, actions) {
    Object.assign(this, { model, actions, matches: [], active: -1, query: "" });
    this.input = byId("search");
    this.list = byId("matches");
    this.count = byId("match-count");
    this.input.addEventListener("input", () => this.run(this.input.value, true));
    this.input.addEventListener("focus", () => this.open(this.query !== ""));
    this.input.addEventListener("keydown", (event) => this.key(event));
    document.addEventListener("pointerdown", (event) => {
      if (!byId("search-field").contains(event.target)) this.open(false);
    });
  }

  /** Filters. @param open whether the list shows */
  run(query, open) {
    this.query = query.trim();
    if (this.input.value.trim() !== this.query) this.input.value = query;
    const { words, matches } = matcher(query);
    this.matches = words.length ? this.model.boxes.filter((box) => matches(box.text)) : [];
    this.active = -1;
    this.count.textContent = words.length
      ? `${grouped(this.matches.length)} of ${grouped(this.model.boxes.length)}` : "";
    this.show(words);
    this.open(open && words.length > 0);
    this.actions.changed(this.query, words.length ? this.matches : null);
  }

  show(words) {
    const items = this.matches.slice(0, listedMatches).map((box, index) =>
      h("li", { role: "option", id: `match-${index}`, "aria-selected": "false",
        // Before the field loses the focus and the list with it.
        onpointerdown: (event) => {
          event.preventDefault();
          this.go(index);
          this.open(false);
        } },
      swatch(box.family), h("span", { class: "opcode" }, box.opcode),
      nameText(this.reason(box, words)), h("span", { class: "shape" }, box.shape)));
    const rest = this.matches.length - items.length;
    if (rest > 0) items.push(h("li", { class: "note" }, `and ${grouped(rest)} more`));
    if (this.matches.length === 0 && words.length) {
      items.push(h("li", { class: "note" }, "No operator, name or shape has this."));
    }
    replace(this.list, items);
  }

  /** The name that made a box match, where its scope does not show it. */
  reason(box, words) {
    const { fold } = matcher("");
    const names = [
      box.scope, ...box.origins,
      ...[...box.results, ...box.operands.filter((operand) => operand?.parameter)]
        .map((value) => value.name ?? ""),
    ];
    const hit = names.find((name) => words.some((word) => fold(name).includes(word)));
    return tail(hit ?? box.scope, 60);
  }

  open(shown) {
    this.list.hidden = !shown;
    this.input.setAttribute("aria-expanded", String(shown));
    if (!shown) this.input.removeAttribute("aria-activedescendant");
  }

  key(event) {
    const last = this.matches.length - 1;
    if (event.key === "Escape") {
      event.stopPropagation();
      if (this.list.hidden && this.query) this.run("", false);
      else if (this.list.hidden) this.input.blur();
      this.open(false);
    } else if (event.key === "Enter" && last >= 0) {
      event.preventDefault();
      this.go(event.shiftKey ? (this.active <= 0 ? last : this.active - 1)
        : (this.active + 1) % (last + 1));
    } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && last >= 0) {
      event.preventDefault();
      this.open(true);
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.go((this.active + step + last + 1) % (last + 1));
    } else {
      return;
    }
  }

  go(index) {
    this.list.querySelector("[aria-selected='true']")?.setAttribute("aria-selected", "false");
    this.active = index;
    const item = byId(`match-${index}`);
    item?.setAttribute("aria-selected", "true");
    item?.scrollIntoView({ block: "nearest" });
    if (item) this.input.setAttribute("aria-activedescendant", item.id);
    this.count.textContent = `${grouped(index + 1)} of ${grouped(this.matches.length)}`;
    this.actions.go(this.matches[index]);
  }
}
