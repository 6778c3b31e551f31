/** Fleet: how many are in which state, what needs attention first, every node, and where they stand. */

import {firing, onFiring} from "../alerts.js";
import {get, may} from "../api.js";
import {watch} from "../data.js";
import {labelFilter, labelKeys, watchNodes} from "../nodes.js";
import {badge, labels, meter, nodeState} from "../ui/badge.js";
import {at, button, field, fill, h, refill, section, select} from "../ui/dom.js";
import {ago, count, percent} from "../ui/format.js";
import {table} from "../ui/table.js";
import {attention} from "./attention.js";
import {zones} from "./zones.js";

const STATES = ["online", "silent", "offline", "lost", "cordoned", "draining", "pending", "revoked"];

/** What was measured on a node that is not heard is no longer so. @param {NodeView} n */
const now = n => (n.state === "online" ? n.heartbeat : null);

/** @type {Column<NodeView>[]} */
const COLUMNS = [
	["name", "Node", "8 1.4", 0, n => n.name, true],
	["state", "State", "7.2", 0, n => badge(nodeState(n), n.reason), n => STATES.indexOf(nodeState(n))],
	["since", "Since", "4.8", 30, n => ago(n.since_ms), n => -n.since_ms],
	["instances", "Running", "5.4", 24, n => `${n.state === "online" ? n.running : "?"}/${n.instances}`, n => (n.state === "online" ? n.running : null), true],
	["cpu", "CPU", "6.5", 44, n => meter(now(n)?.cpu, percent(now(n)?.cpu)), n => now(n)?.cpu, true],
	["memory", "Memory", "6.5", 52, n => meter(now(n)?.memory, percent(now(n)?.memory)), n => now(n)?.memory, true],
	["disk", "Disk", "6.5", 60, n => meter(now(n)?.disk, percent(now(n)?.disk)), n => now(n)?.disk, true],
	["temperature", "Temp.", "4.5", 76, n => (typeof now(n)?.temperature === "number" ? `${Math.round(now(n)?.temperature ?? 0)} °C` : "–"), n => now(n)?.temperature, true],
	["arch", "Arch", "5.5", 84, n => n.facts?.arch ?? "–", true],
	["labels", "Labels", "9 2", 66, n => labels(n.labels, true), n => Object.entries(n.labels).join()],
];

/** @param {Visit} visit */
export default function fleet({main, query, signal, remember}) {
	/** @type {NodeView[]} */
	let nodes = [];
	/** @type {Standing} */
	let standing = {};
	let known = 0;
	const counts = h("div.counts");
	const urgent = h("div");
	const map = h("div");
	const first = h("div");
	const whole = h("section", {"aria-label": "Nodes"});
	const grid = table({
		label: "Nodes", columns: COLUMNS, key: n => n.name, href: n => at("nodes", n.name), none: "No node matches.",
		sort: query.get("sort") ?? "name", onsort: sort => remember({sort: sort === "name" ? null : sort}),
	});
	/** @param {string} [list] */
	const narrowing = (key = "", placeholder = "", list) => {
		const input = h("input", {type: "search", value: query.get(key) ?? "", placeholder, list, oninput: () => narrow(key, input.value)});
		return input;
	};
	const search = narrowing("q", "name");
	const label = narrowing("label", "zone=a,!gpu", "labels");
	const suggested = h("datalist", {id: "labels"});
	const state = select([["", "any"], ...STATES.map(s => [s, s])], query.get("state"), {onchange: () => narrow("state", state.value)});
	const by = h("select", {onchange: () => narrow("map", by.value)});
	const matching = h("span.muted", {role: "status"});

	function narrow(key = "", value = "") {
		remember({[key]: value || null});
		arrange();
	}

	function arrange() {
		const meets = labelFilter(label.value);
		label.setAttribute("aria-invalid", String(!meets));
		const sought = search.value.trim().toLowerCase();
		const found = nodes.filter(n => (!sought || n.name.includes(sought)) && (!state.value || nodeState(n) === state.value) && (!meets || meets(n)));
		grid.rows = found;
		const says = `${found.length < nodes.length ? `${found.length.toLocaleString()} of ` : ""}${count(nodes.length, "node")}`;
		if (matching.textContent !== says) matching.textContent = says;
		for (const tile of counts.querySelectorAll("button")) tile.setAttribute("aria-pressed", String(tile.dataset.focus === state.value));
		refill(map, by.value && zones(found, by.value));
	}

	function summarize() {
		/** @type {Record<string, number>} */
		const of = {online: 0};
		for (const node of nodes) of[nodeState(node)] = (of[nodeState(node)] ?? 0) + 1;
		const tiles = STATES.filter(s => s in of).map(s => {
			// A count is a filter, and the same again takes it away.
			const tile = button("", () => narrow("state", (state.value = state.value === s ? "" : s)), {class: "tile", "data-focus": s, "aria-pressed": String(state.value === s)});
			fill(tile, h("b", of[s].toLocaleString()), badge(s));
			return tile;
		});
		const instances = Object.entries(standing.status?.instances.by_state ?? {}).map(([s, n]) => h("a.tile", {href: "#/workloads"}, h("b", n.toLocaleString()), badge(s)));
		refill(counts, h("div.group", h("h2", "Nodes"), tiles), instances.length > 0 && h("div.group", h("h2", "Instances"), instances));
		refill(urgent, attention(nodes, {...standing, alerts: firing.items, more: firing.more}));
	}

	function suggest() {
		const keys = labelKeys(nodes);
		fill(suggested, keys.slice(0, 20).map(([key, values]) => [...values].slice(0, 30).map(v => h("option", {value: `${key}=${v}`}))));
		const wanted = known ? by.value : query.get("map");
		fill(by, h("option", {value: ""}, "no map"), keys.map(([key]) => h("option", {value: key, selected: key === wanted}, key)));
		known = nodes.length;
	}

	fill(whole, h("form.bar", {role: "search", onsubmit: e => e.preventDefault()}, field("Search", search), field("Labels", label), suggested, field("State", state), field("Map by", by), matching), map, grid);
	fill(main, h("div.title", h("h1", "Fleet"), h("a", {href: "#/events"}, "Events as they happen")), counts, urgent, first, whole);

	watchNodes(signal, list => {
		nodes = list;
		whole.hidden = !list.length;
		refill(first, !list.length && welcome());
		// Which labels there are changes seldom, and a list that is open must not close.
		if (known !== list.length) suggest();
		summarize();
		arrange();
	});
	onFiring(signal, summarize);
	watch(signal, async () => {
		const [status, workloads] = await Promise.all([get("/cluster/status"), get("/workloads?limit=1000")]);
		// All instances are asked for only when something is wrong with one of them.
		const wrong = ["unhealthy", "backoff", "crashloop", "failed"].some(s => status.instances.by_state[s]);
		return {status, workloads: workloads.items, instances: wrong ? await get("/instances") : []};
	}, data => {
		standing = data;
		summarize();
	}, {wants: e => Boolean(e.workload)});
}

/** What to do while there is no node. */
const welcome = () => section("No node has joined yet", h("ol.steps", h("li", "Make a join line: ", may("admin") ? h("a", {href: "#/tokens"}, "Tokens") : "an admin does it in Tokens", ", or ", h("code", "fleetctl token create --kind join")),
	h("li", "On each machine: ", h("code", "fleetctl agent --join LINE")), h("li", "It appears here by itself. To look around with made-up ones: ", h("code", "fleetctl simulate --nodes 12 --join LINE"))));
