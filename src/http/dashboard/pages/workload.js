/** Workload: where it runs and why there, what it was before, its manifest, its logs. */

import {get, may, path, send, text} from "../api.js";
import {watch} from "../data.js";
import {badge, workloadState} from "../ui/badge.js";
import {ask, attempt, copyButton} from "../ui/dialog.js";
import {fieldChanges} from "../ui/diff.js";
import {at, button, crumbs, facts, fill, grid, h, nodeLink, refill, section} from "../ui/dom.js";
import {ago, count} from "../ui/format.js";
import {logView} from "../ui/logs.js";
import {tabs} from "../ui/tabs.js";
import {ownAlerts} from "./alerts.js";
import {eventList} from "./events.js";
import {instanceTable} from "./instances.js";
import {scale} from "./scale.js";
import {what} from "./workloads.js";

const WHY = 500;

/** @param {WorkloadSpec} spec */
export function mode({mode}) {
	if (!mode || mode === "forever") return "";
	return "schedule" in mode ? `${mode.schedule.cron} ${mode.schedule.time_zone ?? "UTC"}` : `${mode.n_times.max_runs} times`;
}

/** @param {WorkloadSpec} spec */
function placement({placement: p}) {
	if (!p) return "";
	const many = p.mode === "every" ? "every matching node" : `${count(p.mode.any.replicas, "replica")}, ${p.strategy.replaceAll("_", " ")}`;
	return `${many}${p.requires?.length ? `, needs ${p.requires.join(", ")}` : ""}${p.nodes?.length ? `, only on ${p.nodes.join(", ")}` : ""}${p.spread ? `, spread over ${p.spread}` : ""}`;
}

/** @param {Visit} visit */
export default function workloadPage(visit) {
	const {main, name, signal} = visit;
	const place = path`/workloads/${name}`;
	const head = h("div");
	const about = h("div");
	/** @param {FleetEvent} e */
	const mine = e => e.workload === name;
	/** @type {InstanceView[]} */
	let own = [];
	watch(signal, async () => {
		const w = await get(place);
		own = w.running < w.wanted ? (await get("/instances")).filter((/** @type {InstanceView} */ i) => i.workload === name) : [];
		return w;
	}, show, {wants: mine});
	const parts = tabs(visit, [
		["instances", "Instances", (into, alive) => {
			const table = instanceTable(`Instances of ${name}`, "node", i => parts.open("logs", i.node ?? ""));
			fill(into, table);
			watch(alive, "/instances", (/** @type {InstanceView[]} */ all) => (table.rows = all.filter(i => i.workload === name)), {wants: mine});
		}],
		["why", "Why there", (into, alive) => watch(alive, `${place}/why`, (/** @type {Why} */ {nodes, missing}) => {
			const sorted = nodes.toSorted((a, b) => Number(b.placed) - Number(a.placed)).slice(0, WHY);
			refill(into, missing > 0 && h("p.note", `${count(missing, "instance")} found no node.`),
				grid(["Node", "Taken", "Why", "Load", "Instances"], sorted.map(n => [nodeLink(n.node), n.placed ? badge(n.leaving ? "stopping" : "running") : "no", n.reason, String(n.score.load ?? ""), String(n.score.instances ?? "")])),
				nodes.length > WHY && h("p.muted", `and ${count(nodes.length - WHY, "more node")}`));
		}, {wants: mine, every: 30_000})],
		["history", "Versions", (into, alive) => watch(alive, `${place}/history`, list => history(into, list), {wants: mine, every: 30_000})],
		["manifest", "Manifest", manifest],
		["logs", "Logs", (into, _alive, node) => fill(into, node && h("p.note", `Only of ${node}. `, button("Show all instances", () => parts.open("logs"), "link")), logView(name, node))],
		["events", "Events", (into, alive) => fill(into, eventList(alive, mine, 100))],
	]);

	/** @param {WorkloadView} w */
	function show(w) {
		const post = (text = "", verb = "", done = "") => button(text, () => attempt(send("POST", `${place}/${verb}`), done));
		const ill = own.filter(i => i.state === "unhealthy").length;
		refill(head, h("div.title", h("h1", name), badge(workloadState(w, own)), h("span.muted", `${w.running} of ${count(w.wanted, "instance")} ${ill ? `well, ${ill} unhealthy` : mode(w.spec) ? "as wanted" : "running"}`)), may("operator") && h("div.actions",
			w.desired === "running" ? button("Stop", () => stop(w.running)) : post("Start", "start", `${name} is started`),
			post("Restart", "restart", `${name} is restarted`),
			typeof w.spec.placement?.mode === "object" && button("Scale…", () => scale(w)),
			(w.revisions ?? 0) > 1 && button("Roll back…", () => rollback()),
			button("Remove", remove, "danger")));
		const {spec, rollout} = w;
		refill(about, rollout && h("p.note", "Rollout to ", h("b", rollout.to_version), ": ", badge(rollout.paused ? "paused" : rollout.phase), ` ${rollout.healthy} of ${rollout.nodes} healthy. `, h("a", {href: at("rollouts", name)}, "Look at it")),
			facts([
				["Runs", what(spec)],
				["Version", `${w.version}, revision ${w.revision}${w.behind ? `; ${count(w.behind, "instance")} still older` : ""}`],
				["Type", `${spec.type}${mode(spec) && `, ${mode(spec)}`}`],
				["Placement", placement(spec)],
				["Depends on", Object.entries(spec.depends_on ?? {}).map(([n, c]) => `${n} (${c})`).join(", ")],
				["Applied", [ago(w.applied_ms), " ago"]],
			]));
	}

	async function stop(running = 0) {
		if (await ask(`Stop ${name}?`, `It ends on ${count(running, "node")}, and stays so until it is started.`, "Stop")) attempt(send("POST", `${place}/stop`), `${name} is stopped`);
	}

	async function remove() {
		if (!(await ask(`Remove ${name}?`, "Its instances end on every node, and it is no longer wanted. Volumes stay.", "Remove", "danger"))) return;
		if (await attempt(send("DELETE", place), `${name} was removed`)) location.hash = "#/workloads";
	}

	/** @param {RevisionView} [to] */
	async function rollback(to) {
		const target = to ? `revision ${to.revision} (${to.version})` : "the last good revision";
		if (await ask(`Roll ${name} back?`, `It goes back to ${target}, as a new revision.`, "Roll back", "danger")) attempt(send("POST", `${place}/rollback`, to && {to: `revision=${to.revision}`}), `${name} goes back to ${target}`);
	}

	/** @param {HTMLElement} into @param {RevisionView[]} list */
	function history(into, list) {
		const open = [...into.querySelectorAll("details[open]")].map(d => d.getAttribute("data-key"));
		refill(into, list.toReversed().map((r, i) => h("details.revision", {"data-key": r.revision, open: open.includes(String(r.revision)) || (!i && !into.childElementCount)},
			h("summary", h("b", `Revision ${r.revision}`), h("span", r.version), badge(r.verdict), r.wanted && badge("wanted"), h("span.muted", ago(r.applied_ms), " ago", r.by && ` by ${r.by}`, `, on ${count(r.nodes, "node")}`)),
			r.fields.length ? fieldChanges(r.fields) : h("p.muted", "Nothing before it to compare with."),
			may("operator") && !r.wanted && button("Go back to this", () => rollback(r), {"aria-label": `Go back to revision ${r.revision}`}))));
	}

	/** @param {HTMLElement} into @param {AbortSignal} alive */
	async function manifest(into, alive) {
		const own = await text(`${place}/manifest`).catch(() => null);
		const given = own ?? JSON.stringify((await get(place)).spec, null, 2);
		if (alive.aborted) return;
		const code = h("pre.code", {tabindex: 0, "aria-label": `Manifest of ${name}`}, given);
		fill(into, own === null && h("p.note", "This controller does not export manifests: this is what it has taken in."), h("div.actions", copyButton(given), own && may("operator") && button("Change it…", () => {
			sessionStorage.setItem("fleetctl-draft", own);
			location.hash = "#/apply?draft=1";
		})), code);
	}

	fill(main, crumbs("workloads", "Workloads"), head, ownAlerts(signal, "workload", name), about, section("Details", parts.element));
}
