/** What happens, newest first: of a node, a workload or a rollout. */

import {onEvents, recent} from "../live.js";
import {dot} from "../ui/badge.js";
import {fill, h, nodeLink, workloadLink} from "../ui/dom.js";
import {atFull, atTime} from "../ui/format.js";

function tone(event = "") {
	if (/fail|lost|offline|crash|revoked|rolled_back/.test(event)) return "bad";
	if (/silent|unhealthy|backoff|damped|pause|blocked|pending/.test(event)) return "warn";
	return /online|running|healthy|succeeded|completed|promoted/.test(event) ? "good" : "idle";
}

/** @param {AbortSignal} signal @param {(e: FleetEvent) => boolean} wants */
export function eventList(signal, wants, most = 0) {
	const list = h("ol.events", {"aria-label": "Events, newest first"});
	const draw = () => {
		const shown = recent.filter(e => wants(e.event)).slice(-most).reverse();
		fill(list, shown.map(({event: e}) => h("li", dot(tone(e.event)), h("time", {title: atFull(e.at)}, atTime(e.at)), h("span.kind", e.event.replaceAll("_", " ")),
			h("span.why", {title: e.message}, e.message), nodeLink(e.node), workloadLink(e.workload))), !shown.length && h("li.empty", "None since the controller started, as far as they are kept."));
	};
	onEvents(signal, ({events, flood}) => (flood || events.some(wants)) && draw());
	draw();
	return list;
}
