/**
 * Making elements. Text only ever becomes a text node or an attribute, never markup, and what a
 * reader would not see (control and bidi marks) becomes a labelled glyph: all that the API says
 * goes through here.
 */

// What changes the text around it or hides itself; not the joiners that emoji need.
const UNSEEN =
	/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

const glyph = (mark = "") => `⟨U+${(mark.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, "0")}⟩`;

/** Text in which nothing is hidden. */
export const clean = (text = "") => text.replace(UNSEEN, glyph);

/** Text as nodes, in which each hidden mark stands out. */
export function marked(text = "") {
	/** @type {(string | Node)[]} */
	const parts = [];
	let end = 0;
	for (const {0: mark, index} of text.matchAll(UNSEEN)) {
		parts.push(text.slice(end, index), h("span.mark", mark));
		end = index + mark.length;
	}
	return end ? [...parts, text.slice(end)] : [text];
}

/**
 * An element: `h("a.button", {href}, "text")`. A property that is true is an attribute without a
 * value; one that is false or null is left out.
 * @template {string} S @param {S} what @param {(Props | Child)[]} rest @returns {ElementOf<S>}
 */
export function h(what, ...rest) {
	const [tag, ...classes] = what.split(".");
	const element = document.createElement(tag);
	element.classList.add(...classes);
	const [first] = rest;
	if (first && typeof first === "object" && !(first instanceof Node) && !Array.isArray(first)) {
		rest.shift();
		for (const [key, value] of Object.entries(first)) {
			if (value === null || value === undefined || value === false) continue;
			if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
			else if (key === "class") element.classList.add(...value.split(" ").filter(Boolean));
			else if (key === "value") /** @type {HTMLInputElement} */ (element).value = value;
			else element.setAttribute(key, value === true ? "" : clean(String(value)));
		}
	}
	add(element, /** @type {Child[]} */ (rest));
	return /** @type {ElementOf<S>} */ (element);
}

/** @param {Element} to @param {Child[]} children */
export function add(to, children) {
	for (const child of children) {
		if (child === null || child === undefined || child === false || child === true) continue;
		if (Array.isArray(child)) add(to, child);
		else to.append(child instanceof Node ? child : clean(String(child)));
	}
}

/** @param {Element} into @param {Child[]} children */
export function fill(into, ...children) {
	into.replaceChildren();
	add(into, children);
}

/** @param {Element | null} e */
const keyOf = e => e?.getAttribute("data-focus") ?? e?.getAttribute("href") ?? e?.getAttribute("aria-label") ?? e?.textContent;
/** @param {Element} e */
const controls = e => [...e.querySelectorAll("a, button, input, select, summary, [tabindex]")];

/** Focuses what took the place of a control that is gone: of the same name, else where it was. @param {Element} into @param {Element} old */
export function refocus(into, old, place = -1) {
	const all = controls(into);
	const again = all.find(e => keyOf(e) === keyOf(old)) ?? all[Math.min(place, all.length - 1)];
	if (again instanceof HTMLElement) again.focus({preventScroll: true});
}

/** Like {@link fill}, with the focus kept. @param {Element} into @param {Child[]} children */
export function refill(into, ...children) {
	const old = document.activeElement;
	const place = old && into.contains(old) ? controls(into).indexOf(old) : -1;
	fill(into, ...children);
	if (old && place >= 0) refocus(into, old, place);
}

/** @param {HTMLElement} control @param {string} [hint] */
export const field = (name = "", control, hint) => h("label.field", h("span.field-name", name), control, hint && h("span.hint", hint));

/** @param {(e: any) => void} onclick @param {Props | string} [props] or its class */
export const button = (text = "", onclick, props) => h("button", {type: "button", onclick, ...(typeof props === "string" ? {class: props} : props)}, text);

/** @param {(string | number)[][]} all @param {unknown} chosen @param {Props} [props] */
export const select = (all, chosen, props) =>
	h("select", {...props}, all.map(([value, text]) => h("option", {value, selected: String(value) === String(chosen)}, text)));

/** @param {Child[]} children */
export const section = (title = "", ...children) => h("section.part", {"aria-label": title}, h("h2", title), children);

/** @param {[string, Child][]} pairs */
export const facts = pairs =>
	h("dl.facts", pairs.filter(([, v]) => v !== null && v !== undefined && v !== "" && !(Array.isArray(v) && !v.length)).map(([k, v]) => h("div", h("dt", k), h("dd", v))));

/** @param {string[]} titles @param {Child[][]} rows */
export const grid = (titles, rows) => h("div.scroll", h("table", h("thead", h("tr", titles.map(t => h("th", {scope: "col"}, t)))),
	h("tbody", rows.map(([first, ...cells]) => h("tr", h("th", {scope: "row"}, first), cells.map((c, i) => h("td", {"data-title": titles[i + 1]}, c)))))));

/** The way up from a page about one. */
export const crumbs = (page = "", title = "") => h("nav.crumbs", {"aria-label": "Above"}, h("a", {href: `#/${page}`}, title));

/** @param {string | null | undefined} name */
export const at = (page = "", name) => `#/${page}/${encodeURIComponent(name ?? "")}`;

/** @param {string | null | undefined} name @param {Child} [text] */
export const nodeLink = (name, text) => name && h("a", {href: at("nodes", name)}, text ?? name);

/** @param {string | null | undefined} name @param {Child} [text] */
export const workloadLink = (name, text) => name && h("a", {href: at("workloads", name)}, text ?? name);

/** A reason, in which the way to further ones is a link. */
export const reason = (text = "") => text.split(/`fleetctl workload why (\S+)`/).map((part, i) => (i % 2 ? h("a", {href: `${at("workloads", part)}?part=why`}, "Why there") : part));

/** @param {unknown} error @param {(problem: ManifestProblem) => void} [jump] */
export function problemBox(error, jump) {
	/** @type {ManifestProblem[]} */
	const problems = (error instanceof Object && "problems" in error && Array.isArray(error.problems) && error.problems) || [];
	return h("div.problem", {role: "alert"}, h("p", error instanceof Error ? error.message : String(error)), problems.map(p => {
		const place = `${p.file}:${p.line}:${p.column}`;
		return h("div.mistake", h("p", h("b", "error: "), p.message, " ", jump ? button(place, () => jump(p), "link") : place),
			p.snippet && h("pre.code", p.snippet), p.hint && h("p.hint", `help: ${p.hint}`));
	}));
}
