/** What happens, newest first: of the fleet, of a node, a workload or a rollout. */

import {onEvents, recent} from "../live.js";
import {dot} from "../ui/badge.js";
import {button, field, fill, h, nodeLink, workloadLink} from "../ui/dom.js";
import {atFull, atTime, count} from "../ui/format.js";

/** Lines of the page of all events. */
const SHOWN = 300;

function tone(event = "") {
	if (/failed_over/.test(event)) return "warn";
	if (/fail|lost|offline|crash|revoked|rolled_back|firing/.test(event)) return "bad";
	if (/silent|unhealthy|backoff|damped|pause|blocked|pending|wait/.test(event)) return "warn";
	return /online|running|healthy|succeeded|completed|promoted|resolved|back$/.test(event) ? "good" : "idle";
}

/** @param {NumberedEvent} numbered */
function line({event: e, missed = 0}) {
	const shown = h("li", dot(tone(e.event)), h("time", {title: atFull(e.at)}, atTime(e.at)), h("span.kind", e.event.replaceAll("_", " ")),
		h("span.why", {title: e.message}, e.message), h("span.links", nodeLink(e.node), workloadLink(e.workload)));
	return missed ? [shown, gap(missed)] : shown;
}

const gap = (missed = 0) => h("li.gap", missed < 0 ? "The controller was started anew here." : `${count(missed, "event")} before these came faster than they can be read, and are not shown.`);

/** @param {NumberedEvent[]} some */
const missing = some => some.reduce((sum, e) => sum + Math.max(0, e.missed ?? 0), 0);

/** A list that goes on by itself; only what is new is drawn. @param {AbortSignal} signal @param {(e: FleetEvent) => boolean} wants */
export function eventList(signal, wants, most = 0) {
	const list = h("ol.events", {"aria-label": "Events, newest first"});
	let last = 0;
	const draw = () => {
		const all = recent.filter(e => e.id > last);
		last = recent.at(-1)?.id ?? last;
		const fresh = all.filter(e => wants(e.event)).slice(1 - most).reverse();
		// A gap stands before an event that may not be among those that are shown.
		const missed = missing(all) - missing(fresh);
		if (fresh.length) {
			list.querySelector(".empty")?.remove();
			list.prepend(...fresh.flatMap(line), ...(missed ? [gap(missed)] : []));
		}
		while (list.childElementCount > most) list.lastElementChild?.remove();
		if (!list.childElementCount) fill(list, h("li.empty", "None since the controller started, as far as they are kept."));
	};
	onEvents(signal, draw);
	draw();
	return list;
}

/** @param {Visit} visit */
export default function eventsPage({main, query, signal, remember}) {
	let life = new AbortController();
	signal.addEventListener("abort", () => life.abort());
	let paused = 0;
	const place = h("div");
	/** @param {string} [list] */
	const narrowing = (key = "", placeholder = "", list) => {
		const input = h("input", {type: "search", value: query.get(key) ?? "", placeholder, list, oninput: () => {
			remember({[key]: input.value});
			show();
		}});
		return input;
	};
	const kind = narrowing("kind", "node offline", "kinds");
	const node = narrowing("node", "pi-1");
	const workload = narrowing("workload", "web");
	const kinds = h("datalist", {id: "kinds"});
	const left = h("p.note.warn", {hidden: true});
	let seen = recent.at(-1)?.id ?? 0;
	let lost = 0;
	const pause = button("Pause", () => {
		paused = paused ? 0 : recent.at(-1)?.id || 1;
		if (paused) life.abort();
		else show();
		say();
	}, {"aria-pressed": "false"});

	const has = (whole = "", part = "") => whole.includes(part.trim().toLowerCase());
	/** @param {FleetEvent} e */
	const wants = e => has(e.event.replaceAll("_", " "), kind.value.replaceAll("_", " ")) && has(e.node ?? "", node.value) && has(e.workload ?? "", workload.value);

	function say() {
		const waits = paused && recent.filter(e => e.id > paused && wants(e.event)).length;
		pause.textContent = paused ? `Resume${waits ? ` (${waits < 1000 ? waits : "1000 and more"} new)` : ""}` : "Pause";
		pause.setAttribute("aria-pressed", String(paused > 0));
	}

	function show() {
		life.abort();
		life = new AbortController();
		paused = 0;
		say();
		fill(kinds, [...new Set(recent.map(e => e.event.event.replaceAll("_", " ")))].sort().map(value => h("option", {value})));
		fill(place, eventList(life.signal, wants, SHOWN));
	}

	fill(main, h("h1", "Events"), h("form.bar", {role: "search", onsubmit: e => e.preventDefault()}, field("Kind", kind), kinds, field("Node", node), field("Workload", workload), pause), left, h("section.part", {"aria-label": "Events"}, place));
	onEvents(signal, () => {
		lost += missing(recent.filter(e => e.id > seen));
		seen = recent.at(-1)?.id ?? seen;
		left.hidden = !lost;
		if (lost) fill(left, `Events come faster than they can be read: ${lost.toLocaleString()} are not shown.`);
		if (paused) say();
	});
	show();
}
