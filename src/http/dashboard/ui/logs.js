/**
 * `<log-view>`: lines of a workload's instances as they are written, with search and pause; bounded
 * in lines and characters. A node has a colour of its own; a long line is cut until somebody asks.
 */

import {Problem, lines, path, pause} from "../api.js";
import {plain, styled, tint} from "./ansi.js";
import {button, field, fill, h, select} from "./dom.js";
import {atTime, bytes, count} from "./format.js";

const KEPT = 5000;
const KEPT_CHARS = 12 << 20;
/** Drawn at once; older ones are found by search. */
const DRAWN = 1500;
const CUT = 2000;
/** Marks in a line of what is sought. */
const MARKS = 500;

export class LogView extends HTMLElement {
	/** @type {LogLine[]} */
	kept = [];
	chars = 0;
	/** @type {LogLine[]} */
	coming = [];
	timer = 0;
	paused = false;
	held = 0;
	workload = "";
	/** @type {string | undefined} */
	node;
	life = new AbortController();
	search = h("input", {type: "search", placeholder: "Search these lines", "aria-label": "Search these lines", oninput: () => this.redraw()});
	stream = select([["", "all"], ["stdout", "stdout"], ["stderr", "stderr"]], "", {"aria-label": "Stream", onchange: () => this.redraw()});
	pause = button("Pause", () => this.hold(!this.paused), {"aria-pressed": "false"});
	wrap = h("input", {type: "checkbox", checked: innerWidth < 700, onchange: () => this.list.classList.toggle("wrapped", this.wrap.checked)});
	state = h("span.muted", {role: "status"});
	list = h("div.lines.code", {role: "log", "aria-live": "off", "aria-label": "Log lines", tabindex: 0});

	/** @param {string} [node] only of this one */
	setup(workload = "", node) {
		Object.assign(this, {workload, node});
		this.list.classList.toggle("wrapped", this.wrap.checked);
		this.replaceChildren(h("div.bar", this.search, this.stream, this.pause, field("Wrap", this.wrap), this.state), this.list);
		return this;
	}

	connectedCallback() {
		this.life = new AbortController();
		this.read(this.life.signal);
	}

	disconnectedCallback() {
		this.life.abort();
		clearTimeout(this.timer);
	}

	/** @param {AbortSignal} signal */
	async read(signal) {
		let delay = 1000;
		let since = 0n;
		while (!signal.aborted) {
			try {
				this.state.textContent = "following";
				const from = since ? `since=${since}` : "tail=200";
				const where = `${path`/workloads/${this.workload}/logs`}?follow=true&${from}${this.node ? path`&node=${this.node}` : ""}`;
				for await (const entry of lines("GET", where, undefined, signal)) {
					delay = 1000;
					const line = this.take(entry);
					if (line.cursor > since) since = line.cursor;
				}
			} catch (error) {
				if (error instanceof Problem && error.status && error.status < 500) return void (this.state.textContent = error.message);
			}
			if (signal.aborted) return;
			this.state.textContent = "connection lost, trying again";
			await pause(delay);
			delay = Math.min(2 * delay, 15_000);
		}
	}

	/** @param {LogEntry} entry */
	take({node = "", line, notice, error}) {
		const text = line?.text ?? notice ?? error ?? "";
		const taken = {node, cursor: BigInt(line?.cursor ?? line?.time_ns ?? 0), stream: line?.stream ?? "", text, plain: `${node} ${plain(text)}`.toLowerCase()};
		this.coming.push(taken);
		// Bounded also where timers are held back, as in a tab that nobody sees.
		if (this.coming.length > 2 * KEPT) this.coming.splice(0, KEPT);
		this.timer ||= setTimeout(() => this.flush(), 200);
		return taken;
	}

	flush() {
		this.timer = 0;
		// Instances come one after the other: what came together is put in order.
		const coming = this.coming.splice(0).sort((a, b) => (a.cursor && b.cursor ? Number(a.cursor - b.cursor) : 0));
		this.kept.push(...coming);
		for (const line of coming) this.chars += line.text.length;
		let old = 0;
		while (this.kept.length - old > KEPT || (this.chars > KEPT_CHARS && old < this.kept.length - 1)) this.chars -= this.kept[old++].text.length;
		this.kept.splice(0, old);
		if (!this.paused) this.put(coming);
		else this.pause.textContent = `Resume (${(this.held += coming.length).toLocaleString()} new)`;
	}

	/** @param {LogLine[]} some */
	put(some) {
		const sought = this.search.value.toLowerCase();
		const found = some.filter(l => (!this.stream.value || l.stream === this.stream.value) && l.plain.includes(sought));
		const {list} = this;
		const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
		list.append(...found.slice(-DRAWN).map(l => this.drawLine(l)));
		while (list.childElementCount > DRAWN) list.firstElementChild?.remove();
		if (atEnd) list.scrollTop = list.scrollHeight;
		return found.length;
	}

	redraw() {
		fill(this.list);
		const found = this.put(this.kept);
		this.list.scrollTop = this.list.scrollHeight;
		this.state.textContent = found === this.kept.length ? "following" : `${count(found, "line")} of ${this.kept.length}`;
	}

	hold(paused = false) {
		this.paused = paused;
		this.held = 0;
		this.pause.textContent = paused ? "Resume" : "Pause";
		this.pause.setAttribute("aria-pressed", String(paused));
		if (!paused) this.redraw();
	}

	/** @param {LogLine} line */
	drawLine({node, cursor, stream, text}) {
		const shown = h("span.text");
		show(shown, text, CUT, this.search.value);
		return h("div.line", {class: stream || "notice"}, h("span.when", cursor ? atTime(Number(cursor / 1_000_000n)) : ""),
			!this.node && node && tint(h("span.from", {title: node}, node), node), stream === "stderr" && h("abbr.err", {title: "stderr"}, "err"), shown);
	}
}

/** @param {HTMLElement} into */
function show(into, text = "", upTo = 0, sought = "") {
	fill(into, styled(text.slice(0, upTo)));
	highlight(into, sought);
	if (text.length > upTo) into.append("… ", button(`show all ${bytes(text.length)}`, () => show(into, text, Infinity, sought), "link"));
}

/** Marks what is sought, also where it goes over several colours. @param {HTMLElement} into */
function highlight(into, sought = "") {
	if (!sought) return;
	const found = [...(into.textContent ?? "").matchAll(new RegExp(sought.replace(/[^\p{L}\p{N}\s]/gu, "\\$&"), "gi"))].slice(0, MARKS).reverse();
	const texts = document.createTreeWalker(into, NodeFilter.SHOW_TEXT);
	const all = [];
	while (found.length && texts.nextNode()) all.push(/** @type {Text} */ (texts.currentNode));
	let at = 0;
	for (const text of all) {
		const {length} = text;
		// From its end on, so that what is before stays in its place.
		for (const {0: hit, index} of found) {
			const from = Math.max(index - at, 0);
			const to = Math.min(index - at + hit.length, length);
			if (from >= to) continue;
			const range = new Range();
			range.setStart(text, from);
			range.setEnd(text, to);
			range.surroundContents(h("mark"));
		}
		at += length;
	}
}

customElements.define("log-view", LogView);

/** @param {string} [node] */
export const logView = (workload = "", node) => new LogView().setup(workload, node);
