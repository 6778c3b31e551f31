/** Instances in a table, on the pages of their node and of their workload. */

import {command, may} from "../api.js";
import {badge} from "../ui/badge.js";
import {at, button, h, reason} from "../ui/dom.js";
import {ask, attempt} from "../ui/dialog.js";
import {ago} from "../ui/format.js";
import {table} from "../ui/table.js";

const SAYS = {restart: "It ends and starts again at once; other instances are left alone.", stop: "It stays stopped there until it is started, or its node gets a new assignment."};

/** @param {"node" | "workload"} first what a line begins with @param {(i: InstanceView) => void} [onlogs] */
export function instanceTable(label = "", first, onlogs) {
	/** @type {Column<InstanceView>[]} */
	const columns = [
		first === "node" ? ["node", "Node", "6 1", 0, i => i.node ?? ((i.count ?? 1) > 1 ? `${i.count} wait` : "waits"), true]
			: ["workload", "Workload", "6 1", 0, i => i.workload, true],
		["state", "State", "7.5", 0, i => badge(i.state, i.reason), i => i.state],
		["version", "Version", "6 1", 36, i => (i.up_to_date || !i.node ? i.version : `${i.version} (old)`), true],
		["restarts", "Restarts", "5", 48, i => i.restarts, true, true],
		["since", "Since", "5", 44, i => ago(i.since_ms), i => -i.since_ms],
		["runtime", "Runtime", "5", 62, i => i.runtime, true],
		["reason", "Reason", "8 2", 58, i => reason(i.reason || i.last_error || i.warnings.join("; ")), i => i.reason],
		["do", "Actions", "11.6", 32, i => h("span.row-actions", actions(i))],
		["more", "", "2.4", -32, i => button("⋯", () => ask(`${i.workload} on ${i.node ?? "no node"}`, [h("p", reason(i.reason || i.state)), h("div.actions", actions(i))], null), {"aria-label": `More of ${i.workload} on ${i.node}`})],
	];

	/** @param {InstanceView} i */
	function actions(i) {
		const stopped = i.state === "stopped";
		const act = (text = "", /** @type {() => void} */ work) => button(text, () => {
			document.querySelector("dialog")?.close();
			work();
		}, {"aria-label": `${text}: ${i.workload} on ${i.node}`});
		const order = (text = "", /** @type {"restart" | "stop" | "start"} */ verb) => act(text, async () => {
			const agreed = verb === "start" || await ask(`${text} ${i.workload} on ${i.node}?`, SAYS[verb], text);
			if (agreed) attempt(command(i.node, {command: verb, workload: i.workload}), `${i.workload} on ${i.node}: ${verb} done`);
		});
		return i.node ? [onlogs && act("Logs", () => onlogs(i)), may("operator") && [!stopped && order("Restart", "restart"), stopped ? order("Start", "start") : order("Stop", "stop")]] : "";
	}

	return table({label, columns, key: i => `${i.workload}@${i.node ?? ""}`, href: i => (first === "node" ? (i.node ? at("nodes", i.node) : `${at("workloads", i.workload)}?part=why`) : at("workloads", i.workload)), none: first === "node" ? "No instance: it is stopped, or no node can take it (Why there)." : "Nothing is placed here."});
}
