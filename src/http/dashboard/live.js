/**
 * What happens, as it happens: one stream of Server-Sent Events for the whole page.
 *
 *   connecting ─► live ─► lost ─► live …        lost also when a request finds nobody
 *
 * Events are taken in batches, and of a flood only the newest are read: ten thousand a second must
 * not stop the page. Who listens hears what a batch was about, and fetches anew.
 */

import {link} from "./api.js";

/** Events that are kept; and so many of one batch are read. */
const KEPT = 1000;
const READ = 400;
const BATCH_MS = 250;

/** @type {NumberedEvent[]} newest last */
export const recent = [];

/** `since`: of a lost connection, when something was heard last. @type {{state: "connecting" | "live" | "lost", since: number}} */
export const status = {state: "connecting", since: Date.now()};

const bus = new EventTarget();
/** @type {EventSource | null} */
let source = null;
/** @type {string[]} */
let raw = [];
let flood = false;
let timer = 0;
let retry = 0;
let delay = 1000;
let lastId = "";
let failed = false;
let heard = Date.now();

/** @param {AbortSignal} signal @param {(batch: Batch) => void} hear */
export const onEvents = (signal, hear) => bus.addEventListener("batch", e => hear(/** @type {CustomEvent<Batch>} */ (e).detail), {signal});

/** @param {AbortSignal | undefined} signal @param {() => void} hear */
export const onStatus = (signal, hear) => bus.addEventListener("status", hear, {signal});

/** @param {"live" | "lost"} state */
function become(state) {
	if (status.state === state) return;
	Object.assign(status, {state, since: state === "lost" ? heard : Date.now()});
	bus.dispatchEvent(new Event("status"));
}

/** Opens the stream, after the last event that is known. */
export function start() {
	stop();
	// EventSource resumes by itself with Last-Event-ID, but not after it has given up.
	source = new EventSource(`/api/v1/events${lastId && `?since=${lastId}`}`);
	source.onopen = () => {
		failed = false;
		delay = 1000;
		become("live");
		// What happened meanwhile may be more than the controller keeps.
		if (lastId) take(null);
	};
	source.onerror = () => {
		// A network that changes ends it once; what fails again is lost.
		if (failed) become("lost");
		failed = true;
		source?.close();
		clearTimeout(retry);
		retry = setTimeout(start, delay);
		delay = Math.min(delay * 2, 15_000);
	};
	source.onmessage = message => {
		heard = Date.now();
		lastId = message.lastEventId || lastId;
		take(message.data);
	};
}

/** Ends the stream, as when nobody is signed in. */
export function stop() {
	clearTimeout(retry);
	source?.close();
	source = null;
}

/** @param {string | null} data null: what was missed */
function take(data) {
	if (data === null) flood = true;
	else raw.push(data);
	// Bounded also where timers are held back, as in a tab that nobody sees.
	if (raw.length > 2 * READ) {
		raw = raw.slice(-READ);
		flood = true;
	}
	timer ||= setTimeout(flush, BATCH_MS);
}

function flush() {
	/** @type {NumberedEvent[]} */
	const read = raw.slice(-READ).map(data => JSON.parse(data)).filter(e => e.id > (recent.at(-1)?.id ?? 0));
	let last = recent.at(-1)?.id ?? 0;
	for (const e of read) {
		// Numbers have no gap, and begin with the time when the controller does.
		if (last && e.id > last + 1) e.missed = Math.abs(e.id - e.event.at) < 10_000 ? -1 : e.id - last - 1;
		last = e.id;
	}
	const batch = {events: read.map(e => e.event), flood: flood || raw.length > READ};
	recent.push(...read);
	recent.splice(0, recent.length - KEPT);
	timer = 0;
	raw = [];
	flood = false;
	bus.dispatchEvent(new CustomEvent("batch", {detail: batch}));
}

link.addEventListener("unreachable", () => become("lost"));
link.addEventListener("reachable", () => {
	heard = Date.now();
	if (status.state !== "lost" || !source) return;
	if (source.readyState === EventSource.OPEN) become("live");
	else start();
});
