/**
 * What programs write for a terminal, as elements: colours and styles (SGR) are kept, every other
 * escape sequence is dropped. A colour becomes a custom property, of which the stylesheet takes the
 * hue only: what is said stays readable on a light and on a dark page.
 */

import {h, marked} from "./dom.js";

// Escape sequences: CSI, OSC and other strings up to their end, and those of two bytes.
const ESCAPE = /\u001b(?:\[([0-9;:<=>?]*)[ -/]*([@-~])|[\]PX^_][^\u0007\u001b]*(?:\u0007|\u001b\\)?|[ -/]*[0-~])?|\u009b[0-9;:?]*[ -/]*[@-~]/g;
/** Beyond this many changes of style a line is plain. */
const STYLES = 2000;
const BASE = ["#888", "#c22", "#2a2", "#b80", "#36d", "#a3a", "#0aa", "#888"];
/** @type {Record<number, string>} */
const ON = {1: "bold", 2: "dim", 3: "italic", 4: "under", 7: "inverse", 9: "struck"};
/** @type {Record<number, string[]>} */
const OFF = {22: ["bold", "dim"], 23: ["italic"], 24: ["under"], 27: ["inverse"], 29: ["struck"]};

/** Without what a terminal would not show. */
export const plain = (text = "") => (/[\u001b\u009b]/.test(text) ? text.replace(ESCAPE, "") : text);

/** One of the 256. */
function indexed(n = 0) {
	if (n < 16) return BASE[n % 8];
	const level = (v = 0) => v && 55 + 40 * v;
	if (n > 231) return `rgb(${[1, 1, 1].map(() => 8 + 10 * (n - 232))})`;
	return `rgb(${[36, 6, 1].map(of => level(Math.floor((n - 16) / of) % 6))})`;
}

/** @param {Pen} pen */
function take(pen, codes = "") {
	const all = codes.split(/[;:]/).map(Number);
	for (let i = 0; i < all.length; i += 1) {
		const code = all[i];
		if (!code) Object.assign(pen, {ink: "", paper: "", set: new Set()});
		else if (ON[code]) pen.set.add(ON[code]);
		else if (OFF[code]) for (const name of OFF[code]) pen.set.delete(name);
		else if (code === 38 || code === 48) {
			const wide = all[i + 1] === 2;
			// With colons there may be a colour space before the colour.
			const at = i + 2 + (wide && codes.includes(":") && all.length - i > 5 ? 1 : 0);
			const colour = wide ? `rgb(${[0, 1, 2].map(n => Math.min(255, all[at + n] || 0))})` : indexed(Math.min(255, all[i + 2] || 0));
			pen[code === 38 ? "ink" : "paper"] = colour;
			i = wide ? at + 2 : i + 2;
		} else if (code === 39) pen.ink = "";
		else if (code === 49) pen.paper = "";
		else if (code < 38 || (code >= 90 && code < 98)) pen.ink = BASE[code % 10] ?? "";
		else if (code < 48 || (code >= 100 && code < 108)) pen.paper = BASE[code % 10] ?? "";
	}
}

/** A line as nodes. */
export function styled(text = "") {
	if (!/[\u001b\u009b]/.test(text)) return marked(text);
	/** @type {Pen} */
	const pen = {ink: "", paper: "", set: new Set()};
	/** @type {(string | Node)[]} */
	const parts = [];
	let end = 0;
	let styles = 0;
	const put = (piece = "") => {
		if (!piece) return;
		if (!pen.ink && !pen.paper && !pen.set.size) return void parts.push(...marked(piece));
		const span = h("span", {class: [...pen.set, pen.ink && "inked", pen.paper && "papered"].filter(Boolean).join(" ")}, marked(piece));
		if (pen.ink) span.style.setProperty("--ink", pen.ink);
		if (pen.paper) span.style.setProperty("--paper", pen.paper);
		parts.push(span);
	};
	for (const {0: escape, 1: codes, 2: last, index} of text.matchAll(ESCAPE)) {
		put(text.slice(end, index));
		end = index + escape.length;
		if (last === "m" && !/[<=>?]/.test(codes) && (styles += 1) < STYLES) take(pen, codes);
	}
	put(text.slice(end));
	return parts;
}

/** The same colour for the same name, always. @param {HTMLElement} element */
export function tint(element, name = "") {
	let hash = 7;
	for (let i = 0; i < name.length; i += 1) hash = (hash * 31 + name.charCodeAt(i)) % 360_007;
	element.style.setProperty("--hue", String((hash * 47) % 360));
	return element;
}
