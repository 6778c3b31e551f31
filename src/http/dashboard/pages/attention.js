/** What needs a person, the worst first: each line says what it is about, what is wrong, since when. */

import {badge} from "../ui/badge.js";
import {at, h, section} from "../ui/dom.js";
import {ago, count} from "../ui/format.js";

const SHOWN = 8;

/** @param {NodeView[]} nodes @param {Standing} standing */
export function attention(nodes, {workloads = [], instances = []}) {
	const all = [...nodes.flatMap(ofNode), ...workloads.flatMap(ofWorkload), ...instances.flatMap(ofInstance)];
	if (!all.length) return h("p.calm", nodes.length ? "Nothing needs attention." : "No node has joined yet.");
	all.sort((a, b) => b[0] - a[0]);
	return section("Needs attention", h("ul.needs", all.slice(0, SHOWN).map(([, state, what, href, text, since]) =>
		h("li", badge(state), h("a", {href}, what), h("span.why", {title: text}, text), h("span.muted", since && ago(since))))),
	all.length > SHOWN && h("p.muted", `and ${count(all.length - SHOWN, "more line")}: order the nodes by state`));
}

/** @param {NodeView} n @returns {Need[]} */
function ofNode(n) {
	/** @type {Need[]} */
	const needs = [];
	const add = (weight = 0, state = "", text = "", since = n.since_ms) => needs.push([weight, state, n.name, at("nodes", n.name), text, since]);
	if (n.approval === "pending") add(60, "pending", "has joined and waits to be approved", n.joined_ms);
	if (n.approval !== "approved") return needs;
	if (n.lost) add(90, "lost", "was offline for too long; what could move runs elsewhere");
	else if (n.state !== "online") add(n.state === "offline" ? 85 : 55, n.state, n.reason || "nothing is heard from it");
	else if (n.damped) add(40, "damped", "comes and goes, so nothing new is placed there");
	const stuck = n.drain && !n.drain.done_ms && n.drain.blocked[0];
	if (stuck) add(50, "draining", `cannot move ${stuck.workload}: ${stuck.reason}`, n.drain?.since_ms);
	if (n.state !== "online" || !n.heartbeat) return needs;
	const {disk, temperature, heard_ms} = n.heartbeat;
	if (disk >= 90) add(disk >= 97 ? 75 : 45, disk >= 97 ? "critical" : "warning", `its disk is ${Math.round(disk)}% full`, heard_ms);
	if ((temperature ?? 0) >= 80) add(45, "warning", `it is ${Math.round(temperature ?? 0)} °C hot`, heard_ms);
	return needs;
}

/** @type {Record<string, number>} */
const PHASES = {rolling_back: 80, failed: 70, rolled_back: 70, awaiting_promotion: 65};

/** @param {WorkloadView} w @returns {Need[]} */
function ofWorkload({name, rollout, desired, missing, wanted, applied_ms}) {
	/** @type {Need[]} */
	const needs = [];
	const state = rollout?.paused ? "paused" : rollout?.phase;
	const weight = PHASES[rollout?.phase ?? ""] ?? (rollout?.paused && rollout.phase !== "succeeded" ? 50 : 0);
	if (rollout && state && weight) needs.push([weight, state, name, at("rollouts", name), `the rollout to ${rollout.to_version}${rollout.reason ? `: ${rollout.reason}` : " waits for a person"}`]);
	if (desired === "running" && missing > 0) needs.push([78, "pending", name, at("workloads", name), `no node can take ${missing} of ${wanted}`, applied_ms]);
	return needs;
}

/** @type {Record<string, number>} */
const STATES = {crashloop: 82, failed: 72, unhealthy: 68, backoff: 58};

/** @param {InstanceView} i @returns {Need[]} */
const ofInstance = i => (i.state in STATES ? [[STATES[i.state], i.state, `${i.workload} on ${i.node}`, at("workloads", i.workload), i.reason || i.last_error || "", i.since_ms]] : []);
