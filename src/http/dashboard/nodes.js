/**
 * All nodes, kept fresh: the whole list at first and now and then; in between only those that an
 * event was about, one by one while they are few. Ten thousand nodes are 12 MB as a list.
 */

import {all, get, path} from "./api.js";
import {watch} from "./data.js";
import {onEvents} from "./live.js";

/** More changed ones than this are fetched as a list. */
const FEW = 12;

/** @param {AbortSignal} signal @param {(nodes: NodeView[]) => void} show */
export function watchNodes(signal, show) {
	/** @type {Map<string, NodeView>} */
	let nodes = new Map();
	/** @type {Set<string>} */
	const changed = new Set();
	let many = false;
	let timer = 0;
	/** @param {NodeView[]} list */
	const take = list => {
		nodes = new Map(list.map(n => [n.name, n]));
		show(list);
	};
	// At first each page is shown as it comes; later lists replace the whole.
	const soon = watch(signal, () => all("/nodes", sofar => !signal.aborted && nodes.size < sofar.length && take([...sofar])), take);

	async function few() {
		timer = 0;
		const names = [...changed];
		changed.clear();
		if (many || document.hidden || names.length > FEW) {
			many = false;
			return soon();
		}
		await Promise.all(names.map(name => get(path`/nodes/${name}`).then(node => nodes.set(name, node), error => error.status === 404 && nodes.delete(name))));
		if (!signal.aborted) show([...nodes.values()]);
	}

	onEvents(signal, ({events, flood}) => {
		for (const {node} of events) if (node) changed.add(node);
		many ||= flood;
		if (many || changed.size) timer ||= setTimeout(few, 600);
	});
	signal.addEventListener("abort", () => clearTimeout(timer));
}

/** A label, else what the agent found. @param {NodeView} node */
export const labelOf = (node, key = "") => node.labels[key] ?? node.facts?.capabilities?.[key];

/**
 * Whether a node meets what a person wrote, as `zone=a,!gpu,arch!=x86_64`; null: it cannot be read.
 * @returns {((node: NodeView) => boolean) | null}
 */
export function labelFilter(text = "") {
	const tests = text.split(",").map(t => t.trim()).filter(Boolean).map(t => /^(!?)([^=!<>\s]+)(?:(!?=)([^=]*))?$/.exec(t));
	if (tests.some(t => !t || (t[1] && t[3]))) return null;
	return node => tests.every(test => {
		const [, not, key, sign, value] = test ?? [];
		const own = labelOf(node, key);
		if (!sign) return (own === undefined) === Boolean(not);
		return sign === "=" ? own === value : own !== undefined && own !== value;
	});
}

/** The labels of nodes and their values, those with the fewest first. @param {NodeView[]} nodes */
export function labelKeys(nodes) {
	/** @type {Map<string, Set<string>>} */
	const keys = new Map();
	for (const node of nodes) for (const [key, value] of Object.entries(node.labels)) keys.set(key, (keys.get(key) ?? new Set()).add(value));
	return [...keys].sort((a, b) => a[1].size - b[1].size);
}
