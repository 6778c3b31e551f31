/** What needs a person, the worst first: each line says what it is about, what is wrong, since when. */

import {badge, nodeState} from "../ui/badge.js";
import {at, h, section} from "../ui/dom.js";
import {ago, count} from "../ui/format.js";

const SHOWN = 8;
/** Lines beyond the first that are put together with it. */
const MANY = 3;

/** @param {NodeView[]} nodes @param {Standing} standing */
export function attention(nodes, {workloads = [], instances = [], alerts = [], more}) {
	// What an alert says already is not said twice.
	const told = new Set(alerts.map(a => [a.rule, a.subject.workload, a.subject.node].filter(Boolean).join(".")));
	// Of more alerts than were loaded only the rules are known.
	const rules = new Set(alerts.map(a => /** @type {string | undefined} */ (a.rule)));
	const found = [...nodes.flatMap(ofNode), ...workloads.flatMap(ofWorkload), ...instances.flatMap(ofInstance)].filter(need => !told.has(need[6] ?? "") && !(more && rules.has(need[6]?.split(".")[0])));
	const all = [...alerts.map(ofAlert), ...found];
	if (!all.length) return nodes.length ? h("p.calm", "Nothing needs attention.") : null;
	all.sort((a, b) => b[0] - a[0]);
	const lines = together(all, more);
	return section("Needs attention", h("ul.needs", lines.slice(0, SHOWN).map(([, state, what, href, text, since]) =>
		h("li", badge(state), h("a", {href}, what), h("span.why", {title: text}, text), h("span.muted", since && ago(since))))),
	lines.length > SHOWN && h("p.muted", `and ${count(lines.length - SHOWN, "more line")}: `, alerts.length ? h("a", {href: "#/alerts"}, "all alerts") : "order the nodes by state"));
}

/** Many of which the same is to be said are one line. @param {Need[]} all @param {boolean} [more] alerts than are known */
function together(all, more) {
	/** @type {Map<string | undefined, Need[]>} */
	const groups = new Map();
	for (const need of all) if (need[7] && !groups.get(need[7])?.push(need)) groups.set(need[7], [need]);
	return all.flatMap(need => {
		const [first, ...others] = groups.get(need[7]) ?? [];
		if (!need[7] || others.length < MANY) return [need];
		/** @type {Need} */
		const line = [first[0], first[1], count(others.length + 1, /^#\/(node|alert|)/.exec(need[7])?.[1] || "instance") + (more && need[7].startsWith("#/alerts") ? " and more" : ""), need[7], `${[first, ...others].slice(0, 6).map(n => n[2]).join(", ")}${others.length > 5 ? " …" : ""}${need[7].startsWith("#/alerts") ? "; the first: " : ": "}${first[4]}`, first[5]];
		return need === first ? [line] : [];
	});
}

/** @param {NodeView} n @returns {Need[]} */
function ofNode(n) {
	/** @type {Need[]} */
	const needs = [];
	const add = (weight = 0, state = "", text = "", since = n.since_ms, rule = "") => needs.push([weight, state, n.name, at("nodes", n.name), text, since, `${rule}.${n.name}`, /^(disk|temp)/.test(rule) ? `#/nodes?sort=-${rule}` : `#/nodes?state=${nodeState(n)}`]);
	if (n.approval === "pending") add(60, "pending", "has joined and waits to be approved", n.joined_ms);
	if (n.approval !== "approved") return needs;
	if (n.lost) add(90, "lost", "was offline for too long; what could move runs elsewhere", n.since_ms, "node_lost");
	else if (n.state !== "online") add(n.state === "offline" ? 85 : 55, n.state, n.reason || "nothing is heard from it", n.since_ms, "node_lost");
	else if (n.damped) add(40, "damped", "comes and goes, so nothing new is placed there");
	const stuck = n.drain && !n.drain.done_ms && n.drain.blocked[0];
	if (stuck) add(50, "draining", `cannot move ${stuck.workload}: ${stuck.reason}`, n.drain?.since_ms);
	if (n.state !== "online" || !n.heartbeat) return needs;
	const {disk, temperature, heard_ms} = n.heartbeat;
	if (disk >= 90) add(disk >= 97 ? 75 : 45, disk >= 97 ? "critical" : "warning", `its disk is ${Math.round(disk)}% full`, heard_ms, "disk");
	if ((temperature ?? 0) >= 80) add(45, "warning", `it is ${Math.round(temperature ?? 0)} °C hot`, heard_ms, "temperature");
	return needs;
}

/** @type {Record<string, number>} */
const SEVERITY = {critical: 300, warning: 200, info: 100};

/** @param {Alert} a @returns {Need} */
function ofAlert({rule, severity, subject: {node, workload}, message, since_ms}) {
	const about = workload ? `${workload}${node ? ` on ${node}` : ""}` : node ?? rule.replaceAll("_", " ");
	return [SEVERITY[severity] ?? 100, severity, about, workload ? at("workloads", workload) : node ? at("nodes", node) : "#/alerts", message, since_ms, "", `#/alerts?q=${encodeURIComponent(rule)}`];
}

/** @type {Record<string, number>} */
const PHASES = {rolling_back: 80, failed: 70, rolled_back: 70, awaiting_promotion: 65};

/** @param {WorkloadView} w @returns {Need[]} */
function ofWorkload({name, rollout, desired, missing, wanted, applied_ms}) {
	/** @type {Need[]} */
	const needs = [];
	const state = rollout?.paused ? "paused" : rollout?.phase;
	const weight = PHASES[rollout?.phase ?? ""] ?? (rollout?.paused && rollout.phase !== "succeeded" ? 50 : 0);
	if (rollout && state && weight) needs.push([weight, state, name, at("rollouts", name), `the rollout to ${rollout.to_version}${rollout.reason ? `: ${rollout.reason}` : " waits for a person"}`, null, `rollout_failed.${name}`]);
	if (desired === "running" && missing > 0) needs.push([78, "pending", name, at("workloads", name), `no node can take ${missing} of ${wanted}`, applied_ms]);
	return needs;
}

/** @type {Record<string, number>} */
const STATES = {crashloop: 82, failed: 72, unhealthy: 68, backoff: 58};

/** @param {InstanceView} i @returns {Need[]} */
const ofInstance = i => (i.state in STATES ? [[STATES[i.state], i.state, `${i.workload} on ${i.node}`, at("workloads", i.workload), i.reason || i.last_error || "", i.since_ms, `${i.state}.${i.workload}.${i.node}`, `${at("workloads", i.workload)}?is=${i.state}`]] : []);
