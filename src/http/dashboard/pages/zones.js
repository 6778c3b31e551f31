/** Where nodes stand: a card for each value of a label, a cell for each node, the worst first. */

import {labelOf} from "../nodes.js";
import {dot, nodeState, toneOf} from "../ui/badge.js";
import {at, h} from "../ui/dom.js";
import {count} from "../ui/format.js";

/** Cells of a card; what is beyond is counted. */
const CELLS = 60;
const RANK = ["bad", "warn", "busy", "idle", "good"];

/** @param {NodeView[]} nodes */
export function zones(nodes, label = "") {
	/** @type {Map<string, NodeView[]>} */
	const groups = new Map();
	for (const node of nodes) {
		const value = labelOf(node, label) ?? "";
		if (!groups.get(value)?.push(node)) groups.set(value, [node]);
	}
	const sorted = [...groups].sort(([a], [b]) => (a === "" ? 1 : b === "" ? -1 : a.localeCompare(b, undefined, {numeric: true})));
	return h("div.zones", {role: "group", "aria-label": `Nodes by ${label}`}, sorted.slice(0, 60).map(([value, group]) => card(label, value, group)));
}

/** @param {NodeView[]} group */
function card(label = "", value = "", group) {
	const ranked = group.map(node => ({node, tone: toneOf(nodeState(node))})).sort((a, b) => RANK.indexOf(a.tone) - RANK.indexOf(b.tone));
	const well = ranked.filter(r => r.tone === "good").length;
	const filter = value ? `${label}=${value}` : `!${label}`;
	return h("section.zone", {"aria-label": filter},
		h("h3", h("a", {href: `#/nodes?${new URLSearchParams({label: filter, map: label})}`}, value || `no ${label}`)),
		h("p.muted", `${well < group.length ? `${well} of ` : ""}${count(group.length, "node")} online`),
		h("div.cells", ranked.slice(0, CELLS).map(({node, tone}) => {
			const says = `${node.name}: ${nodeState(node)}`;
			return h("a.cell-dot", {href: at("nodes", node.name), title: says, "aria-label": says}, dot(tone));
		}), ranked.length > CELLS && h("span.muted", `+${ranked.length - CELLS}`)));
}
