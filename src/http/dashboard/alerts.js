/**
 * Alerts that fire now, for the whole page: their number stands in the navigation, and they come
 * first in what needs attention.
 */

import {Problem, get} from "./api.js";
import {watch} from "./data.js";

/** More are counted as "so many and more". */
const MOST = 200;

const bus = new EventTarget();
/** @type {{items: Alert[], more: boolean}} */
export let firing = {items: [], more: false};
/** A controller of before there were alerts is not asked again. */
let offered = true;

/** @param {FleetEvent} e */
export const aboutAlerts = e => /^alert/.test(e.event);

/** @returns {Promise<Page<Alert>>} */
export async function alerts(query = "") {
	if (!offered) return {items: []};
	try {
		return await get(`/alerts?${query}`);
	} catch (error) {
		if (!(error instanceof Problem) || error.status !== 404) throw error;
		offered = false;
		return {items: []};
	}
}

/** Hears of them for as long as somebody is signed in. @param {AbortSignal} signal */
export const watchAlerts = signal => watch(signal, () => alerts(`state=firing&limit=${MOST}`), ({items, next}) => {
	firing = {items, more: Boolean(next)};
	bus.dispatchEvent(new Event("change"));
}, {wants: aboutAlerts, every: 15_000, fail: () => {}});

/** @param {AbortSignal | undefined} signal @param {() => void} hear */
export const onFiring = (signal, hear) => bus.addEventListener("change", hear, {signal});
