/** Rollout: node by node, in the batches in which they changed, and what a person may order. */

import {may, path, send} from "../api.js";
import {watch} from "../data.js";
import {styled} from "../ui/ansi.js";
import {badge, toneOf} from "../ui/badge.js";
import {ask, attempt} from "../ui/dialog.js";
import {button, crumbs, facts, fill, h, nodeLink, refill, section, workloadLink} from "../ui/dom.js";
import {ago, atTime, count, span} from "../ui/format.js";
import {eventList} from "./events.js";

/** @type {Counted[]} */
const STATES = ["healthy", "changing", "failed", "returning", "returned", "unchanged", "waiting"];
/** Nodes that were told within so long of each other changed together. */
const TOGETHER_MS = 1500;
/** An event is written down a moment before or after what it tells of. */
const NEAR_MS = 500;
/** Batches, and nodes of one, that are shown. */
const BATCHES = 60;
const CHIPS = 200;

/** @param {RolloutView} r */
export function progress(r) {
	const counts = STATES.filter(s => r[s]);
	const says = counts.map(s => `${r[s]} ${s}`).join(", ");
	return h("span.stacked", {title: says}, h("span.stack", {"aria-hidden": "true"}, counts.map(s => {
		const piece = h("span.piece", {class: `${toneOf(s)} is-${s}`});
		piece.style.setProperty("--share", String(r[s]));
		return piece;
	})), h("span", `${r.healthy}/${r.nodes}`), h("span.hidden", says));
}

/** @param {Visit} visit */
export default function rolloutPage({main, name, signal}) {
	const place = path`/workloads/${name}`;
	const head = h("div");
	const body = h("div");
	/** @param {FleetEvent} e */
	const mine = e => e.workload === name;
	const events = h("div");
	let shown = "";
	let life = new AbortController();
	signal.addEventListener("abort", () => life.abort());
	watch(signal, `${place}/rollout`, show, {wants: mine, every: 3000});

	/** @param {string} [sure] asked first */
	const order = (verb = "", title = "", done = "", tone = "", sure) => button(title, async () => {
		if (sure && !(await ask(`${title} the rollout of ${name}?`, sure, title, tone))) return;
		attempt(send("POST", `${place}/${verb}`), done);
	}, tone);

	/** @param {RolloutView} r */
	function show(r) {
		const {rollout: o} = r;
		const {verdict: v} = o;
		const back = o.phase === "rolling_back";
		const time = `${o.started_ms} ${o.ended_ms}`;
		if (time !== shown) {
			shown = time;
			life.abort();
			life = new AbortController();
			// What its workload did before and afterwards is no part of it.
			fill(events, eventList(life.signal, e => mine(e) && e.at >= o.started_ms - NEAR_MS && e.at <= (o.ended_ms ?? Infinity) + NEAR_MS, 30));
		}
		refill(head, h("div.title", h("h1", "Rollout of ", workloadLink(name)), badge(o.paused && r.active ? "paused" : o.phase)), may("operator") && r.active && h("div.actions",
			o.phase === "awaiting_promotion" && order("rollout/promote", "Promote", "The other nodes follow", "primary"),
			!back && (o.paused ? order("rollout/resume", "Resume", "The rollout goes on", "primary") : order("rollout/pause", "Pause", "No further node changes", "")),
			!back && order("rollback", "Roll back", "Every changed node goes back", "danger", `Every node that was changed goes back to ${r.from_version} at once.`),
			order("rollout/abort", "Abort", "The rollout has ended", "danger", "It ends here, and every node stays as it is: some on the old version, some on the new one.")));
		refill(body,
			v && h("div.problem", h("h2", "Why it failed"), h("p", nodeLink(v.node), v.node && ": ", v.reason, h("span.muted", ` (${v.check}, `, ago(v.at_ms), " ago)")),
				(v.last_output?.length ?? 0) > 0 && h("pre.code", {tabindex: 0, "aria-label": "The last lines of its output"}, v.last_output?.map(line => [styled(line), "\n"]))),
			o.reason && h("p.note", o.reason),
			r.active && !back && o.windows?.changes === false && h("p.note", "No maintenance window is open: nodes wait.", o.windows.next_ms && [" The next one opens ", ago(o.windows.next_ms), "."]),
			h("div.big-progress", progress(r), STATES.filter(s => r[s]).map(s => h("p", badge(s), " ", r[s]))),
			facts([
				["Version", `${r.from_version} → ${r.version} (revision ${o.from} → ${o.to})`],
				["Began", [ago(o.started_ms), " ago", o.by && ` by ${o.by}`]],
				[o.ended_ms ? "Took" : "Goes on for", span((o.ended_ms ?? Date.now()) - o.started_ms)],
			]),
			batches(r));
	}

	fill(main, crumbs("rollouts", "Rollouts"), head, body, section("Events", events));
}

/** @param {RolloutView} r */
function batches({rollout, active}) {
	const steps = Object.entries(rollout.steps);
	const waiting = steps.filter(([, s]) => !s.switched_ms);
	/** @type {[string, Step][][]} */
	const groups = [];
	let last = -Infinity;
	for (const entry of steps.filter(([, s]) => s.switched_ms).sort((a, b) => (a[1].switched_ms ?? 0) - (b[1].switched_ms ?? 0))) {
		const told = entry[1].switched_ms ?? 0;
		if (told - last < TOGETHER_MS) groups.at(-1)?.push(entry);
		else groups.push([entry]);
		last = told;
	}
	const early = Math.max(0, groups.length - BATCHES);
	return section("Batches", h("ol.batches", early > 0 && h("li.muted", `and ${early} before`), groups.slice(early).map((group, i) => {
		const back = group.every(([, s]) => s.state.startsWith("return"));
		return h("li", h("h3", back ? "Went back" : `Batch ${early + i + 1}`, h("span.muted", ` ${atTime(group[0][1].switched_ms ?? 0)}, ${count(group.length, "node")}`)), chips(group));
	}), waiting.length > 0 && h("li.later", h("h3", active ? "Their turn has not come" : "Were not changed", h("span.muted", ` ${count(waiting.length, "node")}`)), chips(waiting))));
}

/** @param {[string, Step][]} group */
const chips = group => h("ul.chips", group.slice(0, CHIPS).map(([node, step]) => h("li", nodeLink(node), " ", badge(step.state, step.unguarded ? "Its agent does not guard trials" : ""),
	step.state === "changing" && step.healthy_since_ms && h("span.muted", " healthy, proving itself"))), group.length > CHIPS && h("li.muted", `and ${group.length - CHIPS} more`));
