/** Changes: field by field as plans and histories tell them, and texts line by line. */

import {grid, h} from "./dom.js";

/** @param {unknown} value @param {"ins" | "del"} tag */
function shown(value, tag) {
	if (value === null || value === undefined) return "–";
	const text = typeof value === "string" ? value : JSON.stringify(value);
	return h(tag, text.length > 400 ? `${text.slice(0, 400)}…` : text);
}

/** @param {FieldChange[]} fields */
export const fieldChanges = fields => grid(["Field", "Before", "After"], fields.map(f => [f.field, shown(f.from, "del"), shown(f.to, "ins")]));

/** A diff as it comes, each line by its first sign. */
export const diffText = (text = "") => h("pre.code", text.split("\n").slice(0, 2000).map(line => h(line[0] === "+" ? "ins" : line[0] === "-" ? "del" : "span", `${line}\n`)));
