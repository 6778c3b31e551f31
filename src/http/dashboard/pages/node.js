/** Node: what it is, how it fares, what runs there, and what can be done to it. */

import {command, get, may, path, send} from "../api.js";
import {watch} from "../data.js";
import {badge, labels, nodeState} from "../ui/badge.js";
import {TimeAxis} from "../ui/chart.js";
import {ask, attempt, toast} from "../ui/dialog.js";
import {button, crumbs, facts, field, fill, h, refill, section} from "../ui/dom.js";
import {ago, bytes, count, percent, span} from "../ui/format.js";
import {logView} from "../ui/logs.js";
import {ownAlerts} from "./alerts.js";
import {charts} from "./charts.js";
import {eventList} from "./events.js";
import {instanceTable} from "./instances.js";
import {nodeConfig} from "./nodeconfig.js";

const HOUR = 3_600_000;

/** @param {Visit} visit */
export default function nodePage({main, name, signal}) {
	const head = h("div");
	const about = h("div");
	const logs = h("div");
	const axis = new TimeAxis();
	const drawn = charts(axis);
	const whole = button("Whole hour", () => axis.set({zoom: null}), {disabled: true});
	axis.addEventListener("change", () => (whole.disabled = !axis.zoom));
	const grid = instanceTable("Instances of this node", "workload", ({workload}) => {
		fill(logs, section(`Logs of ${workload}`, logView(workload, name)));
		logs.scrollIntoView({block: "nearest"});
	});
	const place = path`/nodes/${name}`;
	/** @param {FleetEvent} e */
	const mine = e => e.node === name;

	watch(signal, place, show, {wants: mine});
	/** @type {InstanceView[]} */
	let here = [];
	watch(signal, "/instances", (/** @type {InstanceView[]} */ all) => (grid.rows = here = all.filter(i => i.node === name)), {wants: e => mine(e) || e.event.startsWith("workload")});
	watch(signal, () => get(`${place}/history?from_ms=${Date.now() - HOUR}&to_ms=${Date.now()}`), drawn.show, {fail: () => {}});

	/** @param {NodeView} n */
	function show(n) {
		const post = (text = "", verb = "", done = "", tone = "") => button(text, () => attempt(send("POST", `${place}/${verb}`), done), tone);
		const approved = n.approval === "approved";
		const draining = n.drain && !n.drain.done_ms;
		refill(head, h("div.title", h("h1", name), badge(nodeState(n)), h("span.muted", ago(n.since_ms)), n.damped && badge("damped", "It comes and goes: nothing new is placed there.")), h("div.actions",
			button("Ping", () => attempt(command(name, {command: "ping"}).then(a => toast(`${name} answered in ${a.rtt_ms} ms`)))),
			may("operator") && approved && [
				n.cordoned ? post("Uncordon", "uncordon", `${name} takes new instances again`) : post("Cordon", "cordon", `${name} takes nothing new`),
				draining ? button("End the drain", () => attempt(send("DELETE", `${place}/drain`), "The drain has ended")) : button("Drain…", () => drain(n)),
				button("Restart all…", restart),
			],
			may("admin") && [
				n.approval === "pending" && post("Approve", "approve", `${name} is let in`, "primary"),
				n.approval !== "revoked" && button("Revoke", revoke, "danger"),
				button("Remove", remove, "danger"),
			]));
		const {facts: f, heartbeat: b, drain: d} = n;
		refill(about, n.reason && h("p.note", n.reason),
			d && h("div.note", d.done_ms ? ["Drained ", ago(d.done_ms), " ago. Uncordon it to use it again."] : `Draining: ${d.total - d.left} of ${count(d.total, "instance")} moved, ${d.moving} on the way.`,
				d.blocked.map(w => h("p", h("b", w.workload), ` stays: ${w.reason}`))),
			facts([
				["Hardware", f && `${f.arch}, ${count(f.cpus, "core")}, ${bytes(f.memory_total)} memory, ${bytes(f.disk_total)} disk`],
				["System", f && `${f.os}, Linux ${f.kernel}${b ? `; machine up ${span(b.uptime_s * 1000)}` : ""}`],
				["Addresses", f?.addresses?.join(", ")],
				["Agent", f && `fleetctl ${f.agent_version}`],
				["Runtimes", n.engines.map(e => `${e.runtime} ${e.version}${e.healthy ? "" : " (does not answer)"}`).join(", ") || (f?.capabilities?.process ? "native processes" : "none")],
				["Last heartbeat", b && [ago(b.heard_ms), ` ago: CPU ${percent(b.cpu)}, memory ${percent(b.memory)}, disk ${percent(b.disk)}, load ${b.load}`]],
				["Assignment", `generation ${n.generation}${n.observed_generation < n.generation ? `, the node has ${n.observed_generation}` : ", in effect"}`],
				["Capabilities", f?.capabilities && labels(f.capabilities)],
				["Kept free", n.reserved?.memory || n.reserved?.cpus ? `${bytes(n.reserved.memory)} memory, ${count(n.reserved.cpus, "core")}` : ""],
				["Measured", Object.entries(n.telemetry ?? {}).map(([metric, r]) => h("div", `${metric}: ${Object.entries(r.values).slice(0, 12).map(([k, v]) => `${k} ${Math.round(v * 100) / 100}`).join(", ")} `, h("span.muted", ago(r.heard_ms), " ago")))],
				["Labels", [labels(n.labels, true), may("operator") && button("Change…", () => relabel(n.labels), "link")]],
			]),
			(n.discovered?.length ?? 0) > 0 && section("Found there, not managed", h("ul.chips", n.discovered?.slice(0, 100).map(u => h("li", badge(u.running ? "running" : "stopped"), ` ${u.name} `, h("span.muted", `${u.image}, ${u.runtime}`))))));
	}

	/** @param {NodeView} n */
	async function drain(n) {
		const force = h("input", {type: "checkbox"});
		const text = `Of ${count(n.instances, "instance")} each moves to another node where that is possible; what has local state stays.`;
		if (await ask(`Drain ${name}?`, [h("p", text), field("Also move what loses local state", force)], "Drain")) attempt(send("POST", `${place}/drain`, {force: force.checked}), `${name} is being emptied`);
	}

	/** One after the other, so that not all of it is away at once. */
	async function restart() {
		const all = here.filter(i => i.state !== "stopped");
		if (!all.length) return toast("Nothing runs here.", "bad");
		if (!(await ask(`Restart all of ${name}?`, `${count(all.length, "instance")}, one after the other: ${all.map(i => i.workload).join(", ")}. The machine itself is left alone.`, "Restart"))) return;
		for (const {workload} of all) if (!(await attempt(command(name, {command: "restart", workload}), `${workload} on ${name}: restart done`))) return;
	}

	async function revoke() {
		const text = "Its key is cut off for good. What runs there goes on until somebody stops it there.";
		if (await ask(`Revoke ${name}?`, text, "Revoke", "danger")) attempt(send("POST", `${place}/revoke`), `${name} is cut off`);
	}

	async function remove() {
		const typed = h("input", {autocomplete: "off", placeholder: name});
		const text = "It leaves the fleet, and its key is cut off for good. To be sure, type its name.";
		if (!(await ask(`Remove ${name}?`, [h("p", text), field("Name", typed)], "Remove", "danger"))) return;
		if (typed.value.trim() !== name) return toast("Nothing was removed: that was not its name.", "bad");
		if (await attempt(send("DELETE", place), `${name} was removed`)) location.hash = "#/nodes";
	}

	/** @param {Record<string, string>} before */
	async function relabel(before) {
		const text = h("textarea", {rows: 6, "aria-label": "Labels, one a line", value: Object.entries(before).map(([k, v]) => `${k}=${v}`).join("\n")});
		if (!(await ask(`Labels of ${name}`, [h("p.hint", "One key=value a line. What requires a label that goes stops here."), text], "Save"))) return;
		/** @type {Record<string, string | null>} */
		const change = Object.fromEntries(Object.keys(before).map(k => [k, null]));
		for (const line of text.value.split("\n").filter(l => l.trim())) {
			const [key, ...value] = line.split("=");
			change[key.trim()] = value.join("=").trim();
		}
		attempt(send("PATCH", `${place}/labels`, {labels: change}), "Labels saved");
	}

	fill(main, crumbs("nodes", "Fleet"), head, ownAlerts(signal, "node", name), about,
		section("Last hour", h("div.bar", h("span.muted", "Drag over a chart to zoom in."), whole), drawn.element),
		section("Instances", grid), logs, nodeConfig(name, signal), section("Events", eventList(signal, mine, 12)));
}
