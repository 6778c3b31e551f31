/**
 * `<fleet-table>`: a table of which only the rows in sight are in the document, so that ten thousand
 * cost what fifty do. It scrolls with the page. One row is in the tab order (the arrow keys, Home,
 * End and Page keys move to others); Enter or a click follows the row's link.
 */

import {fill, h} from "./dom.js";

/** Rows that are drawn above and below what is in sight. */
const SPARE = 8;

/** @type {Map<string, string>} made once: comparing is then only that */
const naturals = new Map();

/** Numbers in names order as numbers: pi-2 before pi-10. */
function natural(text = "") {
	let made = naturals.get(text);
	if (made === undefined) {
		made = text.toLowerCase().replace(/\d+/g, n => n.padStart(12, "0"));
		if (naturals.size > 50_000) naturals.clear();
		naturals.set(text, made);
	}
	return made;
}

const rem = () => parseFloat(getComputedStyle(document.documentElement).fontSize);

/** @template T */
export class FleetTable extends HTMLElement {
	/** @type {TableSpec<T>} */
	spec = {label: "", columns: [], key: () => ""};
	/** @type {T[]} */
	items = [];
	/** @type {T[]} */
	order = [];
	sort = {id: "", down: false};
	active = "";
	first = 0;
	last = 0;
	frame = 0;
	rowHeight = 30;
	head = h("div.row.head", {role: "row", "aria-rowindex": 1});
	body = h("div.rows", {role: "presentation"});
	none = h("p.empty", {hidden: true});
	life = new AbortController();

	/** @param {TableSpec<T>} spec */
	setup(spec) {
		this.spec = spec;
		fill(this.none, spec.none ?? "Nothing here.");
		const sort = spec.sort ?? spec.columns[0][0];
		this.sort = {id: sort.replace(/^-/, ""), down: sort.startsWith("-")};
		this.setAttribute("role", "grid");
		this.setAttribute("aria-label", spec.label);
		this.replaceChildren(this.head, this.body, this.none);
		return this;
	}

	connectedCallback() {
		this.life = new AbortController();
		const {signal} = this.life;
		const redraw = () => (this.frame ||= requestAnimationFrame(() => this.draw()));
		document.addEventListener("scroll", redraw, {signal, passive: true});
		const sized = new ResizeObserver(all => (all.some(e => e.target === this) ? this.fit() : redraw()));
		sized.observe(this);
		// What is above may grow or shrink and move it.
		sized.observe(document.body);
		signal.addEventListener("abort", () => sized.disconnect());
		this.addEventListener("keydown", e => this.key(e), {signal});
		this.addEventListener("click", e => this.clicked(e), {signal});
		this.addEventListener("focusin", e => this.activate(/** @type {Element} */ (e.target).closest(".rows .row")), {signal});
	}

	disconnectedCallback() {
		this.life.abort();
	}

	/** @param {T[]} items */
	set rows(items) {
		this.items = items;
		this.arrange();
	}

	/** Orders them anew and draws. */
	arrange() {
		const {columns, key} = this.spec;
		const column = columns.find(c => c[0] === this.sort.id && c[5]);
		this.order = this.items;
		if (column) {
			const by = column[5] === true ? column[4] : column[5];
			const keyed = this.items.map(row => {
				const value = by?.(row) ?? null;
				return {row, value: typeof value === "string" ? natural(value) : value, name: natural(key(row))};
			});
			const way = this.sort.down ? -1 : 1;
			keyed.sort((a, b) => {
				if (a.value === b.value) return a.name < b.name ? -1 : 1;
				// What is not known is last, whichever way.
				if (a.value === null || b.value === null) return a.value === null ? 1 : -1;
				return a.value < b.value ? -way : way;
			});
			this.order = keyed.map(k => k.row);
		}
		this.setAttribute("aria-rowcount", String(this.order.length + 1));
		this.none.hidden = this.order.length > 0;
		this.fit();
	}

	/** The columns that there is room for. */
	shown() {
		const room = this.clientWidth / rem();
		return this.spec.columns.filter(([, , , from]) => (from < 0 ? room < -from : from <= room));
	}

	fit() {
		const columns = this.shown();
		this.style.setProperty("--tracks", columns.map(([, , width]) => {
			const [least, share] = width.split(" ");
			return share ? `minmax(${least}rem, ${share}fr)` : `${least}rem`;
		}).join(" "));
		this.rowHeight = Math.round(2.15 * rem());
		this.style.setProperty("--row", `${this.rowHeight}px`);
		this.body.style.height = `${this.order.length * this.rowHeight}px`;
		const had = this.head.contains(document.activeElement) && document.activeElement?.textContent;
		this.head.replaceChildren(...columns.map(([id, title, , , , by, numeric]) => {
			const state = id !== this.sort.id ? "none" : this.sort.down ? "descending" : "ascending";
			const name = by ? h("button.sort", {type: "button", onclick: () => this.orderBy(id)}, title) : title;
			return h("div.cell", {role: "columnheader", "aria-sort": by && state, class: numeric ? "numeric" : ""}, name);
		}));
		if (had) [...this.head.querySelectorAll("button")].find(b => b.textContent === had)?.focus();
		this.draw(true);
	}

	orderBy(id = "") {
		this.sort = {id, down: this.sort.id === id && !this.sort.down};
		this.spec.onsort?.(`${this.sort.down ? "-" : ""}${id}`);
		this.arrange();
	}

	/** @param {boolean} [anew] also what is drawn already */
	draw(anew) {
		cancelAnimationFrame(this.frame);
		this.frame = 0;
		if (!this.isConnected) return;
		const {body, rowHeight, order} = this;
		const top = body.getBoundingClientRect().top;
		const first = Math.max(0, Math.min(order.length, Math.floor(-top / rowHeight)) - SPARE);
		const last = Math.max(first, Math.min(order.length, Math.ceil((innerHeight - top) / rowHeight) + SPARE));
		if (!anew && first === this.first && last === this.last) return;
		const focused = document.activeElement;
		const held = body.contains(focused) ? {key: focused?.closest(".row")?.getAttribute("data-key"), text: focused?.matches(".row") ? null : focused?.textContent} : null;
		const columns = this.shown();
		const rows = [];
		for (let i = first; i < last; i += 1) {
			const old = !anew && i >= this.first && i < this.last && body.children[i - this.first];
			rows.push(old || this.drawRow(order[i], i, columns));
		}
		this.first = first;
		this.last = last;
		body.replaceChildren(...rows);
		if (!rows.some(r => r.getAttribute("tabindex") === "0")) rows[0]?.setAttribute("tabindex", "0");
		const row = held && rows.find(r => r.getAttribute("data-key") === held.key);
		const again = (held?.text && [...(row?.querySelectorAll("a, button") ?? [])].find(e => e.textContent === held.text)) || row;
		if (again instanceof HTMLElement) again.focus({preventScroll: true});
	}

	/** @param {T} item @param {Column<T>[]} columns */
	drawRow(item, i = 0, columns) {
		const key = this.spec.key(item);
		const row = h("div.row", {role: "row", "aria-rowindex": i + 2, "data-key": key, tabindex: key === this.active ? 0 : -1},
			columns.map(([, , , , cell, , numeric], n) => {
				const href = !n && this.spec.href?.(item);
				const shown = h("div.cell", {role: n ? "gridcell" : "rowheader", class: numeric ? "numeric" : ""}, href ? h("a", {href, tabindex: -1}, cell(item)) : cell(item));
				if ((shown.textContent?.length ?? 0) > 12) shown.title = shown.textContent ?? "";
				return shown;
			}));
		row.style.top = `${i * this.rowHeight}px`;
		return row;
	}

	/** @param {MouseEvent} event */
	clicked(event) {
		const target = /** @type {Element} */ (event.target);
		if (!target.closest("a, button") && !getSelection()?.toString()) target.closest(".rows .row")?.querySelector("a")?.click();
	}

	/** @param {Element | null | undefined} row */
	activate(row) {
		if (!row) return;
		this.active = row.getAttribute("data-key") ?? "";
		for (const other of this.body.children) other.setAttribute("tabindex", other === row ? "0" : "-1");
	}

	/** @param {KeyboardEvent} event */
	key(event) {
		const row = /** @type {Element} */ (event.target).closest(".rows .row");
		if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
		if (event.key === "Enter" && event.target === row) row.querySelector("a")?.click();
		const i = Number(row.getAttribute("aria-rowindex")) - 2;
		const page = Math.max(1, Math.floor(innerHeight / this.rowHeight) - 4);
		/** @type {Record<string, number>} */
		const to = {ArrowDown: i + 1, ArrowUp: i - 1, PageDown: i + page, PageUp: i - page, Home: 0, End: Infinity};
		if (!(event.key in to)) return;
		event.preventDefault();
		this.go(Math.max(0, Math.min(this.order.length - 1, to[event.key])));
	}

	/** Brings a row into sight and the focus to it. */
	go(i = 0) {
		const top = this.body.getBoundingClientRect().top + i * this.rowHeight;
		const above = top - this.head.getBoundingClientRect().bottom;
		const below = top + this.rowHeight + 4 - innerHeight;
		scrollBy({top: above < 0 ? above : Math.max(0, below), behavior: "instant"});
		this.draw();
		const row = this.body.children[i - this.first];
		this.activate(row);
		if (row instanceof HTMLElement) row.focus({preventScroll: true});
	}
}

customElements.define("fleet-table", FleetTable);

/** @template T @param {TableSpec<T>} spec @returns {FleetTable<T>} */
export const table = spec => new FleetTable().setup(spec);
