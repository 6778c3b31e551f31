/** What a node's agent measures and sends, as a form: only what was changed is sent. */

import {may, path, send} from "../api.js";
import {watch} from "../data.js";
import {ask, attempt, toast} from "../ui/dialog.js";
import {button, field, fill, grid, h, section} from "../ui/dom.js";
import {ago, parseSpan, writeSpan} from "../ui/format.js";

const METRICS = ["cpu", "memory", "disk", "load", "temperature", "throttling", "network", "uptime", "instances", "agent"];
/** What is not named is so. */
const OFF = {enabled: false, interval_ms: 10_000, change_threshold: 0};

/** @param {AbortSignal} signal */
export function nodeConfig(name = "", signal) {
	const where = `${path`/nodes/${name}`}/config`;
	const form = h("div");
	const state = h("p.muted", {role: "status"});
	/** The settings that the form shows. */
	let shown = "";
	let edited = false;

	watch(signal, where, (/** @type {NodeConfigView} */ {configured, effective_wanted, reported}) => {
		const now = JSON.stringify(effective_wanted);
		fill(state, configured ? "This node has settings of its own. " : "The fleet's settings apply. ",
			reported ? [JSON.stringify(reported.config) === now ? "They are" : "Other ones are", " in effect, as the node said ", ago(reported.heard_ms), " ago."] : "The node has not said yet what is in effect.");
		// What somebody is changing stays as it is.
		if (now !== shown && !edited && may("operator")) draw(effective_wanted);
		shown = now;
	}, {wants: e => e.node === name, every: 30_000});

	/** @param {NodeConfig} wanted */
	function draw(wanted) {
		const time = (ms = 0, label = "") => h("input.short", {value: writeSpan(ms), "aria-label": label, pattern: "(\\d+(\\.\\d+)?(ms|s|m|h|d))+", title: "a duration as in 10s or 1m30s"});
		const check = (on = false, label = "") => h("input", {type: "checkbox", checked: on, "aria-label": label});
		const {heartbeat_interval_ms, logs = {enabled: false, interval_ms: 1000}, telemetry = {}} = wanted;
		const beat = time(heartbeat_interval_ms, "Heartbeat interval");
		const ship = check(logs.enabled, "Publish logs");
		const shipEvery = time(logs.interval_ms, "Interval of published logs");
		const rows = METRICS.map(metric => {
			const is = telemetry[metric] ?? OFF;
			const threshold = h("input.short", {type: "number", min: 0, step: "any", value: is.change_threshold, "aria-label": `Change threshold of ${metric}`});
			return {metric, is, on: check(is.enabled, `Measure ${metric}`), every: time(is.interval_ms, `Interval of ${metric}`), threshold};
		});
		fill(form, h("form", {oninput: () => (edited = true), onsubmit: async (/** @type {Event} */ e) => {
			e.preventDefault();
			const patch = changes({
				heartbeat_interval_ms: [parseSpan(beat.value), heartbeat_interval_ms],
				logs: changes({enabled: [ship.checked, logs.enabled], interval_ms: [parseSpan(shipEvery.value), logs.interval_ms]}),
				telemetry: changes(Object.fromEntries(rows.map(({metric, is, on, every, threshold}) => [metric, changes({
					enabled: [on.checked, is.enabled], interval_ms: [parseSpan(every.value), is.interval_ms], change_threshold: [Number(threshold.value), is.change_threshold],
				})]))),
			});
			if (!patch) return toast("Nothing was changed.", "bad");
			if (await attempt(send("PATCH", where, patch), "Settings saved")) edited = false;
		}},
		h("div.bar", field("Heartbeat every", beat), field("Publish logs", ship), field("in batches every", shipEvery)),
		grid(["Metric", "Measured", "Every", "Left out below a change of"], rows.map(r => [r.metric, r.on, r.every, r.threshold])),
		h("div.actions", h("button.primary", {type: "submit"}, "Save"), button("Use the fleet's settings", reset))));
	}

	async function reset() {
		if (!(await ask(`Reset the settings of ${name}?`, "The fleet's settings apply to it again.", "Reset"))) return;
		edited = false;
		attempt(send("DELETE", where), "The fleet's settings apply again");
	}

	return section("Settings", h("details", h("summary", "Measurements, heartbeats and logs that its agent sends"), state, form));
}

/** @param {Record<string, any>} fields */
function changes(fields) {
	const some = Object.entries(fields).flatMap(([key, v]) => (Array.isArray(v) ? (v[0] === null || v[0] === v[1] ? [] : [[key, v[0]]]) : v ? [[key, v]] : []));
	return some.length ? Object.fromEntries(some) : undefined;
}
