/** Parts of a page of which one is shown; which one is in the address. */

import {fill, h} from "./dom.js";

/** @param {Visit} visit @param {Tab[]} all */
export function tabs({query, signal, remember}, all) {
	const panel = h("div", {role: "tabpanel", id: "panel", tabindex: 0});
	let alive = new AbortController();
	signal.addEventListener("abort", () => alive.abort());
	const heads = all.map(([id, title]) => h("button.tab", {type: "button", role: "tab", id: `tab-${id}`, "aria-controls": "panel", onclick: () => open(id)}, title));
	const list = h("div.tabs", {role: "tablist", "aria-label": "Parts of this page", onkeydown: e => {
		const step = e.key === "ArrowRight" ? 1 : e.key === "ArrowLeft" ? -1 : 0;
		if (!step) return;
		const to = (heads.indexOf(e.target) + step + all.length) % all.length;
		open(all[to][0]);
		heads[to].focus();
	}}, heads);

	/** @param {string} [extra] what the part is to be narrowed to */
	function open(id = "", extra) {
		const tab = all.find(t => t[0] === id) ?? all[0];
		alive.abort();
		alive = new AbortController();
		heads.forEach((head, i) => {
			head.setAttribute("aria-selected", String(all[i] === tab));
			head.tabIndex = all[i] === tab ? 0 : -1;
		});
		panel.setAttribute("aria-labelledby", `tab-${tab[0]}`);
		fill(panel);
		remember({part: tab === all[0] ? null : tab[0]});
		tab[2](panel, alive.signal, extra);
	}

	// What is shown may need what its page makes after this.
	queueMicrotask(() => signal.aborted || open(query.get("part") ?? ""));
	return {element: h("div", list, panel), open};
}
