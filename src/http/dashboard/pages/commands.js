/** Commands: one order to many nodes, with each answer as it comes. */

import {lines, may} from "../api.js";
import {badge} from "../ui/badge.js";
import {ask} from "../ui/dialog.js";
import {at, button, field, fill, h, problemBox, select} from "../ui/dom.js";
import {count} from "../ui/format.js";
import {table} from "../ui/table.js";

/** @type {[string, string][]} */
const ORDERS = [["ping", "ping: asks for an answer"], ["refresh", "refresh: tells its facts and state anew"], ["restart", "restart an instance"], ["start", "start an instance"], ["stop", "stop an instance"], ["remove", "remove an instance"]];

/** @type {Column<CommandLine>[]} */
const COLUMNS = [
	["node", "Node", "8 1", 0, r => r.node, true],
	["state", "Result", "7", 0, r => badge(r.ok ? "completed" : "failed"), r => (r.ok ? 1 : 0)],
	["took", "Took", "6", 30, r => `${r.took_ms} ms`, r => r.took_ms, true],
	["message", "Answer", "8 3", 36, r => r.message],
];

/** @param {Visit} visit */
export default function commands({main, signal}) {
	const order = select(may("operator") ? ORDERS : ORDERS.slice(0, 1), "", {onchange: () => fit()});
	const workload = h("input", {placeholder: "web", autocomplete: "off"});
	const to = select([["selector", "nodes with labels"], ["nodes", "these nodes"], ["all", "every node"]], "", {onchange: () => fit()});
	const which = h("input", {autocomplete: "off"});
	const whichField = field("Which", which);
	const workloadField = field("Workload", workload);
	const state = h("div", {role: "status"});
	const run = h("button.primary", {type: "submit"}, "Send");
	const end = button("Stop sending", () => life.abort(), {hidden: true});
	const grid = table({label: "Answers", columns: COLUMNS, key: r => r.node ?? "", href: r => at("nodes", r.node), sort: "state", none: "No answers yet."});
	let life = new AbortController();
	signal.addEventListener("abort", () => life.abort());

	function fit() {
		workloadField.hidden = ["ping", "refresh"].includes(order.value);
		workload.required = !workloadField.hidden;
		whichField.hidden = to.value === "all";
		which.required = !whichField.hidden;
		which.placeholder = to.value === "nodes" ? "pi-1, pi-2" : "zone=a,!gpu";
	}

	/** @param {Event} e */
	async function give(e) {
		e.preventDefault();
		const words = which.value.split(",").map(w => w.trim()).filter(Boolean);
		const about = workloadField.hidden ? undefined : workload.value.trim();
		if (about && !(await ask(`${order.value} ${about} on ${whichField.hidden ? "every node" : words.join(", ")}?`, "It is sent to each of them; those that are offline are left out.", "Send"))) return;
		life = new AbortController();
		run.disabled = true;
		end.hidden = false;
		/** @type {CommandLine[]} */
		const results = [];
		let total = 0;
		let timer = 0;
		const show = () => {
			timer = 0;
			grid.rows = [...results];
			fill(state, `${results.length} of ${count(total, "node")} answered, ${results.filter(r => !r.ok).length} failed`);
		};
		try {
			const request = {[to.value]: whichField.hidden || words, order: {command: order.value, workload: about}};
			for await (const line of lines("POST", "/commands", request, life.signal)) {
				if (line.node) results.push(line);
				total = line.total ?? total;
				timer ||= setTimeout(show, 400);
				if (!line.done) continue;
				clearTimeout(timer);
				show();
				fill(state, total ? `${line.ok} done, ${line.failed} failed${line.skipped ? `, ${line.skipped} not asked` : ""}` : "No node matches.");
			}
		} catch (error) {
			fill(state, life.signal.aborted ? "Stopped: what was not sent yet is not sent." : problemBox(error));
		}
		run.disabled = false;
		end.hidden = true;
	}

	fit();
	grid.rows = [];
	fill(main, h("h1", "Commands"), h("p.muted", "A command is sent once and answered once; it is not kept for nodes that are offline."),
		h("form.bar", {onsubmit: give}, field("Order", order), workloadField, field("To", to), whichField, run, end), state, grid);
}
