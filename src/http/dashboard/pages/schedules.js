/** Schedules: what runs next and what ran last, of all workloads that do not run for ever. */

import {all, get} from "../api.js";
import {badge} from "../ui/badge.js";
import {at, h} from "../ui/dom.js";
import {ago} from "../ui/format.js";
import {listPage} from "./list.js";
import {mode} from "./workload.js";

/** @param {InstanceView} i */
function last(i) {
	if (i.state === "running") return ["runs for ", ago(i.since_ms)];
	if (typeof i.exit_code !== "number") return i.runs ? [ago(i.since_ms), " ago"] : "not yet";
	return [badge(i.exit_code ? "failed" : "completed", `exit code ${i.exit_code}`), " ", ago(i.since_ms), " ago"];
}

/** @type {Column<Scheduled>[]} */
const COLUMNS = [
	["workload", "Workload", "7 1", 0, i => i.workload, true],
	["node", "Node", "5 0.8", 26, i => i.node ?? "waits", true],
	["next", "Next run", "7", 0, i => ago(i.next_run_ms), i => i.next_run_ms],
	["state", "State", "8", 36, i => badge(i.state, i.reason), i => i.state],
	["last", "Last run", "12", 46, last, i => -i.since_ms],
	["runs", "Runs", "4.5", 60, i => i.runs ?? "–", i => i.runs, true],
	["when", "Schedule", "9 1", 52, i => i.when, true],
];

/** @param {Visit} visit */
export default visit => listPage(visit, {
	label: "Schedules", columns: COLUMNS, sort: "next", key: i => `${i.workload}@${i.node}`, href: i => at("workloads", i.workload),
	above: h("p.muted", "What runs next is first."), none: ["Nothing has a schedule or an end. In a manifest: ", h("code", 'schedule = "0 3 * * *"'), " or ", h("code", "max_runs = 1"), "."],
	load: async () => {
		/** @type {[WorkloadView[], InstanceView[]]} */
		const [workloads, instances] = await Promise.all([all("/workloads"), get("/instances")]);
		const timed = new Map(workloads.map(w => [w.name, mode(w.spec)]));
		return instances.map(i => ({...i, when: timed.get(i.workload)})).filter(i => i.when);
	},
});
