/** Numbers and times as people read them. */

import {h} from "./dom.js";

const clock = new Intl.DateTimeFormat(undefined, {timeStyle: "medium", hourCycle: "h23"});
const full = new Intl.DateTimeFormat(undefined, {dateStyle: "medium", timeStyle: "medium", hourCycle: "h23"});

export const atTime = (ms = 0) => clock.format(ms);
export const atFull = (ms = 0) => full.format(ms);

/** A span of time in its largest unit or two. */
export function span(ms = 0) {
	const s = Math.max(0, Math.round(ms / 1000));
	if (s < 60) return `${s}s`;
	if (s < 3600) return `${Math.floor(s / 60)}m${s < 600 && s % 60 ? ` ${s % 60}s` : ""}`;
	if (s < 86400) return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
	return `${Math.floor(s / 86400)}d${s < 864000 ? ` ${Math.floor((s % 86400) / 3600)}h` : ""}`;
}

const distance = (ms = 0) => (ms - Date.now() > 1500 ? `in ${span(ms - Date.now())}` : span(Date.now() - ms));

/** How long ago or how soon, kept right by {@link tick}. @param {number | null | undefined} ms */
export const ago = ms => (ms ? h("time", {title: atFull(ms), "data-ms": ms}, distance(ms)) : "–");

/** Brings all relative times up to date. */
export function tick() {
	for (const element of document.querySelectorAll("time[data-ms]")) {
		const text = distance(Number(element.getAttribute("data-ms")));
		if (element.textContent !== text) element.textContent = text;
	}
}

/** @param {number | null | undefined} n */
export function bytes(n) {
	if (n === null || n === undefined) return "–";
	let unit = 0;
	for (; n >= 1024 && unit < 4; unit += 1) n /= 1024;
	return `${n >= 100 || !unit ? Math.round(n) : n.toFixed(1)} ${["B", "KiB", "MiB", "GiB", "TiB"][unit]}`;
}

/** @param {number | null | undefined} n */
export const percent = n => (n === null || n === undefined ? "–" : `${n >= 10 || !n ? Math.round(n) : n.toFixed(1)}%`);

export const count = (n = 0, one = "") => `${n.toLocaleString()} ${one}${n === 1 ? "" : "s"}`;

/** @type {Record<string, number>} */
const UNITS = {ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000};

/** A duration as manifests write it (`10s`, `1h30m`), in ms; null when it is none. */
export function parseSpan(text = "") {
	if (!/^(\d+(\.\d+)?(ms|s|m|h|d))+$/.test(text.trim())) return null;
	return Math.round([...text.matchAll(/([\d.]+)([a-z]+)/g)].reduce((sum, [, n, unit]) => sum + Number(n) * UNITS[unit], 0));
}

/** The same the other way round. */
export function writeSpan(ms = 0) {
	const unit = ["d", "h", "m", "s"].find(u => ms && ms % UNITS[u] === 0) ?? "ms";
	return `${ms / UNITS[unit]}${unit}`;
}
