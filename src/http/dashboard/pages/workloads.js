/** Workloads: what must run, and how far it does. */

import {all, get} from "../api.js";
import {badge, workloadState} from "../ui/badge.js";
import {at, field, h} from "../ui/dom.js";
import {ago} from "../ui/format.js";
import {listPage} from "./list.js";

/** @param {WorkloadSpec} spec */
export const what = ({run}) => run.container?.image ?? run.process?.command.join(" ") ?? run.python?.callable ?? "";

/** Asked for only when something is not as wanted. @type {InstanceView[]} */
let instances = [];
/** @param {WorkloadView} w */
const state = w => workloadState(w, instances);

/** @type {Column<WorkloadView>[]} */
const COLUMNS = [
	["name", "Workload", "8 1.2", 0, w => w.name, true],
	["state", "State", "12.4", 0, w => badge(state(w)), state],
	["running", "Ready", "4", 32, w => `${w.running}/${w.wanted}`, w => w.wanted - w.running, true],
	["version", "Version", "6 .8", 36, w => w.version, true],
	["runs", "Runs", "9 2", 48, w => what(w.spec), true],
	["applied", "Applied", "5.5", 54, w => ago(w.applied_ms), w => -w.applied_ms],
];

/** @param {Visit} visit */
export default function workloads(visit) {
	const {query, remember} = visit;
	const search = h("input", {type: "search", value: query.get("q") ?? "", oninput: () => {
		remember({q: search.value});
		show();
	}});
	const show = listPage(visit, {
		label: "Workloads", sort: "name", none: ["No workload. Apply a manifest to begin: here, or with ", h("code", "fleetctl apply -f web.toml"), "."], key: w => w.name, href: w => at("workloads", w.name),
		columns: COLUMNS,
		above: h("div.bar", field("Search", search), h("a.button", {href: "#/apply"}, "Apply a manifest")),
		load: async () => {
			const list = await all("/workloads");
			instances = list.some(w => w.running < w.wanted) ? (await get("/instances")).filter((/** @type {InstanceView} */ i) => i.state === "unhealthy") : [];
			return list;
		},
		/** @param {WorkloadView[]} list */
		rows: list => list.filter(w => `${w.name} ${what(w.spec)} ${w.spec.tags ?? ""}`.toLowerCase().includes(search.value.toLowerCase())),
	});
}
