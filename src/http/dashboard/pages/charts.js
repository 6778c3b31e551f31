/** The charts of a node: one axis, so that a cursor and a zoom hold for all of them. */

import {TimeChart} from "../ui/chart.js";
import {h} from "../ui/dom.js";
import {percent} from "../ui/format.js";

const rate = (v = 0) => (v >= 1e6 ? `${(v / 1e6).toFixed(1)} MB/s` : `${Math.round(v / 1e3)} kB/s`);

/** @type {[string, Series[], (v: number) => string, number?][]} */
const KINDS = [
	["CPU", [["cpu", "CPU", "accent"]], percent, 100],
	["Memory", [["memory", "memory", "accent"]], percent, 100],
	["Disk", [["disk", "disk", "accent"]], percent, 100],
	["Temperature", [["temperature", "temperature", "accent"]], v => `${Math.round(v)} °C`],
	["Network", [["network_rx", "in", "accent"], ["network_tx", "out", "orange"]], rate],
	["Load", [["load", "load", "accent"]], v => v.toFixed(1)],
];

/** @param {import("../ui/chart.js").TimeAxis} axis */
export function charts(axis) {
	const all = KINDS.map(([name, series, format, top]) => new TimeChart().setup(name, series, format, axis, top));
	return {element: h("div.charts", all), show: (/** @type {NodeHistory} */ history) => all.forEach(chart => chart.show(history))};
}
