/** States as badges: a shape, a word and a colour, so that none of them is needed alone. */

import {h} from "./dom.js";

/** @type {[Tone, string][]} */
const TONES = [
	["good", "online running healthy succeeded completed good approved resolved wanted as_wanted valid"],
	["warn", "pending silent unhealthy backoff awaiting_promotion paused damped partly_running drained not_running warning returned rolled_back rolling_back returning"],
	["bad", "offline lost crashloop failed bad firing critical revoked"],
	["busy", "pulling starting stopping changing canary rolling scheduled draining info"],
];

/** */
export const toneOf = (state = "") => TONES.find(([, words]) => words.split(" ").includes(state))?.[0] ?? "idle";

/** @param {Tone} tone */
export const dot = tone => h("span.dot", {class: tone, "aria-hidden": "true"});

/** @param {string} [title] */
export function badge(state = "", title) {
	const tone = toneOf(state);
	return h("span.badge", {class: tone, title}, dot(tone), h("span", state.replaceAll("_", " ")));
}

/** @param {NodeView} node */
export function nodeState(node) {
	if (node.approval !== "approved") return node.approval;
	if (node.lost) return "lost";
	if (node.state !== "online") return node.state;
	return node.drain && !node.drain.done_ms ? "draining" : node.cordoned ? "cordoned" : "online";
}

/** @param {WorkloadView} w @param {InstanceView[]} [instances] of any workloads: what runs and is ill is not "not running" */
export function workloadState(w, instances) {
	if (w.desired === "stopped") return "stopped";
	if (w.rollout && /^(canary|rolling|awaiting)/.test(w.rollout.phase)) return w.rollout.paused ? "paused" : w.rollout.phase;
	if (w.missing > 0) return "pending";
	const {mode = "forever"} = w.spec;
	if (w.running < w.wanted && instances?.some(i => i.workload === w.name && i.state === "unhealthy")) return "unhealthy";
	if (w.running < w.wanted) return w.running ? "partly_running" : "not_running";
	return mode === "forever" ? "running" : "schedule" in mode ? "scheduled" : "as_wanted";
}

/** @param {Record<string, string>} labels @param {boolean} [linked] each to the nodes that have it */
export const labels = (labels, linked) => Object.entries(labels).map(([key, value]) => {
	const text = value ? `${key}=${value}` : key;
	return linked ? h("a.label", {href: `#/nodes?label=${encodeURIComponent(text)}`}, text) : h("span.label", text);
});

/** @param {number | null | undefined} part */
export function meter(part, text = "") {
	if (part === null || part === undefined) return "–";
	const bar = h("span.meter", {class: part >= 95 ? "bad" : part >= 85 ? "warn" : "", "aria-hidden": "true"});
	bar.style.setProperty("--part", `${Math.min(100, part)}%`);
	return h("span.metered", bar, text);
}
