/** A plan: what an apply adds, changes and takes away, and where each instance goes and why. */

import {fieldChanges} from "../ui/diff.js";
import {h} from "../ui/dom.js";
import {count} from "../ui/format.js";

/** Nodes that are listed. */
const TAKEN = 50;
const PASSED = 12;

/** @param {Plan} plan */
export function planView({added, changed, removed = [], unchanged}) {
	const parts = Object.entries({added, changed, removed, unchanged}).filter(([, list]) => list.length).map(([what, list]) => `${list.length} ${what}`);
	return h("div.plan", h("b", parts.join(", ") || "Nothing changes"), added.map(w => planned(w, "added", "+")), changed.map(w => planned(w, "changed", "~")),
		removed.map(name => h("div.planned.removed", h("h3", `− ${name}`, h("span.muted", " is removed; its instances end")))),
		unchanged.length > 0 && h("p.muted", `Unchanged: ${unchanged.join(", ")}`));
}

/** @param {PlannedWorkload} w */
function planned(w, kind = "", sign = "") {
	const says = kind === "added" ? "new" : w.replaces ? "changed; its instances are replaced" : "changed in place";
	const passed = w.nodes.filter(n => !n.placed);
	return h("div.planned", {class: kind}, h("h3", `${sign} ${w.workload}`, h("span.muted", ` ${w.version}, ${says}`)),
		w.rollout && h("p.note", w.rollout), w.missing > 0 && h("p.problem", `No node can take ${count(w.missing, "instance")}.`),
		kind === "changed" && w.fields.length > 0 && fieldChanges(w.fields), where(w.nodes.filter(n => n.placed), TAKEN),
		passed.length > 0 && h("details", {open: w.missing > 0}, h("summary", `${count(passed.length, "node")} passed over`), where(passed, PASSED)));
}

/** @param {PlannedWorkload["nodes"]} nodes */
const where = (nodes, most = 0) => h("ul.where", nodes.slice(0, most).map(n => h("li", h("b", n.node), n.reason && `: ${n.reason}`)), nodes.length > most && h("li", `and ${nodes.length - most} more`));
