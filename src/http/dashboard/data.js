/**
 * Data that stays fresh: loaded at once, after events that concern it, and now and then, since
 * measurements make no events. The next load waits for some times as long as the last one took.
 */

import {Problem, get, link} from "./api.js";
import {onEvents, onStatus, status} from "./live.js";
import {fill, problemBox} from "./ui/dom.js";

/** Between two loads at least, and as a multiple of the last one's duration. */
const GAP_MS = 700;
const REST = 4;

/** Says on the page what could not be loaded; the banner says it of a lost connection. @param {unknown} [error] */
export function trouble(error) {
	const place = document.getElementById("trouble");
	if (place) fill(place, error && !(error instanceof Problem && !error.status) ? problemBox(error) : "");
}

/**
 * @template T
 * @param {AbortSignal} signal
 * @param {string | (() => Promise<T>)} what a path, or what loads it
 * @param {(data: T) => void} show
 * @param {Freshness} [how]
 * loads again soon
 */
export function watch(signal, what, show, {wants, every = 10_000, fail = trouble} = {}) {
	let timer = 0;
	let due = 0;
	let earliest = 0;
	let loading = false;
	let again = false;

	async function run() {
		timer = 0;
		// Nobody looks: nothing is fetched until somebody does.
		if (document.hidden) return document.addEventListener("visibilitychange", soon, {signal, once: true});
		loading = true;
		again = false;
		const begun = performance.now();
		try {
			const data = await (typeof what === "string" ? get(what) : what());
			if (signal.aborted) return;
			if (fail === trouble) trouble();
			show(data);
		} catch (error) {
			if (!signal.aborted) fail(error);
		}
		loading = false;
		const took = performance.now() - begun;
		earliest = performance.now() + Math.max(GAP_MS, REST * took);
		plan(again ? 0 : Math.max(every, 20 * took));
	}

	function plan(wait = 0) {
		if (loading) again = true;
		if (loading || signal.aborted) return;
		const at = Math.max(performance.now() + wait, earliest);
		if (timer && due <= at) return;
		clearTimeout(timer);
		due = at;
		timer = setTimeout(run, at - performance.now());
	}

	const soon = () => plan(100);
	if (wants) onEvents(signal, ({events, flood}) => (flood || events.some(wants)) && soon());
	link.addEventListener("changed", soon, {signal});
	onStatus(signal, () => status.state === "live" && soon());
	signal.addEventListener("abort", () => clearTimeout(timer));
	run();
	return soon;
}
