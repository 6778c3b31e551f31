/** Rollouts: those under way first, and the last one of each workload. */

import {all} from "../api.js";
import {badge} from "../ui/badge.js";
import {at, h} from "../ui/dom.js";
import {ago} from "../ui/format.js";
import {listPage} from "./list.js";
import {progress} from "./rollout.js";

/** @type {Column<RolloutView>[]} */
const COLUMNS = [
	["workload", "Workload", "7 1", 0, r => r.workload, true],
	["state", "State", "12.4", 0, r => badge(r.rollout.paused ? "paused" : r.rollout.phase), r => `${r.active ? 0 : 1}${r.rollout.phase}`],
	["versions", "Versions", "9 1.6", 40, r => `${r.from_version} → ${r.version}`, true],
	["progress", "Nodes", "8 1.4", 32, progress, r => r.healthy / (r.nodes || 1)],
	["started", "Began", "5.5", 52, r => ago(r.rollout.started_ms), r => -r.rollout.started_ms],
	["reason", "Reason", "8 2", 72, r => r.rollout.verdict?.reason || r.rollout.reason],
];

/** @param {Visit} visit */
export default visit => listPage(visit, {
	label: "Rollouts", columns: COLUMNS, sort: "state", key: r => r.workload, href: r => at("rollouts", r.workload),
	none: ["No rollout yet. A workload with a table ", h("code", "[workload.NAME.update]"), " changes node by node."],
	load: () => all("/rollouts"),
});
