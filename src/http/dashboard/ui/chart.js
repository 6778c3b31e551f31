/**
 * `<time-chart>`: values over time on a canvas. Charts that share a {@link TimeAxis} have one cursor
 * and one zoom: a drag zooms, a double click or Escape shows all; the arrow keys move the cursor, +
 * and - zoom around it. To a screen reader it is a slider whose value is what stands at the cursor.
 */

import {fill, h} from "./dom.js";
import {atTime} from "./format.js";

/** The time that charts of a page show, and where their cursor stands. */
export class TimeAxis extends EventTarget {
	/** @type {number | null} */
	cursor = null;
	/** @type {[number, number] | null} null: all there is */
	zoom = null;

	/** @param {{cursor?: number | null, zoom?: [number, number] | null}} change */
	set(change) {
		Object.assign(this, change);
		this.dispatchEvent(new Event("change"));
	}
}

const LEFT = 56;
const BOTTOM = 18;
const TOP = 6;
/** As near as it goes. */
const NEAREST_MS = 90_000;

export class TimeChart extends HTMLElement {
	axis = new TimeAxis();
	/** @type {Series[]} */
	series = [];
	/** @type {(value: number) => string} */
	format = String;
	/** @type {number | undefined} the scale's end, where the values have one */
	top;
	/** @type {NodeHistory} */
	data = {step_ms: 10_000, times: [], series: {}};
	/** @type {number | null} where a drag began */
	from = null;
	frame = 0;
	canvas = h("canvas", {"aria-hidden": "true"});
	legend = h("div.legend", {"aria-hidden": "true"});
	life = new AbortController();

	/** @param {Series[]} series @param {(v: number) => string} format @param {TimeAxis} axis @param {number} [top] */
	setup(name = "", series, format, axis, top) {
		Object.assign(this, {series, format, axis, top, tabIndex: 0, role: "slider", ariaLabel: `${name} over time`});
		this.replaceChildren(h("div.chart-head", h("h3", name), this.legend), this.canvas);
		return this;
	}

	connectedCallback() {
		this.life = new AbortController();
		const {canvas, axis, life: {signal}} = this;
		const redraw = () => (this.frame ||= requestAnimationFrame(() => this.draw()));
		const sized = new ResizeObserver(redraw);
		sized.observe(canvas);
		signal.addEventListener("abort", () => sized.disconnect());
		axis.addEventListener("change", redraw, {signal});
		document.addEventListener("themechange", redraw, {signal});
		this.addEventListener("keydown", e => this.key(e), {signal});
		this.addEventListener("blur", () => axis.set({cursor: null}), {signal});
		canvas.onpointerdown = e => {
			this.from = this.timeAt(e.offsetX);
			canvas.setPointerCapture(e.pointerId);
		};
		canvas.onpointermove = e => axis.set({cursor: this.timeAt(e.offsetX)});
		canvas.onpointerleave = () => axis.set({cursor: null});
		canvas.onpointercancel = () => (this.from = null);
		canvas.onpointerup = e => {
			const [from, to] = [this.from ?? 0, this.timeAt(e.offsetX)].sort((a, b) => a - b);
			this.from = null;
			if (to - from >= 6 * this.perPixel()) this.zoom(from, to);
		};
		canvas.ondblclick = () => axis.set({zoom: null});
	}

	disconnectedCallback() {
		this.life.abort();
	}

	/** @param {NodeHistory} data */
	show(data) {
		this.data = data;
		this.draw();
	}

	/** @returns {[number, number]} */
	range() {
		const {times} = this.data;
		return this.axis.zoom ?? [times[0] ?? 0, Math.max(times.at(-1) ?? 1, (times[0] ?? 0) + NEAREST_MS)];
	}

	perPixel() {
		const [from, to] = this.range();
		return (to - from) / Math.max(1, this.canvas.clientWidth - LEFT);
	}

	timeAt(x = 0) {
		const [from, to] = this.range();
		return Math.min(to, Math.max(from, from + (x - LEFT) * this.perPixel()));
	}

	zoom(from = 0, to = 0) {
		const more = Math.max(0, NEAREST_MS - (to - from)) / 2;
		const {times} = this.data;
		const [first = from, last = to] = [times[0], times.at(-1)];
		const zoom = /** @type {[number, number]} */ ([Math.max(first, from - more), Math.min(last, to + more)]);
		this.axis.set({zoom: zoom[0] <= first && zoom[1] >= last ? null : zoom});
	}

	/** @param {KeyboardEvent} event */
	key(event) {
		const [from, to] = this.range();
		const cursor = this.axis.cursor ?? to;
		const step = Math.max(this.data.step_ms, (to - from) / 60);
		const move = (t = 0) => this.axis.set({cursor: Math.min(to, Math.max(from, t))});
		/** @type {Record<string, () => void>} */
		const keys = {
			ArrowLeft: () => move(cursor - step),
			ArrowRight: () => move(cursor + step),
			"+": () => this.zoom(cursor - (to - from) / 4, cursor + (to - from) / 4),
			"-": () => this.axis.zoom && this.zoom(cursor - (to - from), cursor + (to - from)),
			Escape: () => this.axis.set({zoom: null, cursor: null}),
		};
		if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
		event.preventDefault();
		keys[event.key]();
	}

	draw() {
		cancelAnimationFrame(this.frame);
		this.frame = 0;
		const {canvas, data, axis: {cursor}} = this;
		const {clientWidth: width, clientHeight: height} = canvas;
		const pen = canvas.getContext("2d");
		if (!pen || !width || !height) return;
		canvas.width = width * devicePixelRatio;
		canvas.height = height * devicePixelRatio;
		pen.scale(devicePixelRatio, devicePixelRatio);
		pen.font = `11px ${getComputedStyle(this).fontFamily}`;
		// A canvas does not know `light-dark()`: an element resolves it.
		const colour = (name = "") => {
			this.legend.style.color = `var(--${name}-c)`;
			return getComputedStyle(this.legend).color;
		};
		const [from, to] = this.range();
		const x = (t = 0) => LEFT + (t - from) / this.perPixel();
		let most = -1;
		for (const [key] of this.series) data.series[key]?.forEach((v, i) => v !== null && data.times[i] >= from && data.times[i] <= to && (most = Math.max(most, v)));
		const top = this.top ?? nice(most * 1.1);
		const y = (v = 0) => height - BOTTOM - (v / top) * (height - BOTTOM - TOP);
		const stroke = (/** @type {number[]} */ ...[x1, y1, x2, y2]) => {
			pen.beginPath();
			pen.moveTo(Math.round(x1) + 0.5, Math.round(y1) + 0.5);
			pen.lineTo(Math.round(x2) + 0.5, Math.round(y2) + 0.5);
			pen.stroke();
		};

		pen.strokeStyle = colour("line");
		pen.fillStyle = colour("muted");
		pen.textAlign = "right";
		for (const v of [0, top / 2, top]) {
			stroke(LEFT, y(v), width, y(v));
			if (most >= 0) pen.fillText(this.format(v), LEFT - 5, y(v) + 4);
		}
		const ticks = Math.max(2, Math.floor((width - LEFT) / 90));
		for (let i = 0; i <= ticks; i += 1) {
			pen.textAlign = i ? (i < ticks ? "center" : "right") : "left";
			pen.fillText(atTime(from + ((to - from) * i) / ticks).slice(0, to - from < 600_000 ? 8 : 5), LEFT + ((width - LEFT) * i) / ticks, height - 3);
		}
		pen.textAlign = "center";
		if (most < 0) pen.fillText("no measurements", (LEFT + width) / 2, height / 2);
		if (cursor !== null) {
			pen.strokeStyle = colour("muted");
			stroke(x(cursor), TOP, x(cursor), height - BOTTOM);
			if (this.from !== null) {
				pen.globalAlpha = 0.15;
				pen.fillRect(x(this.from), TOP, x(cursor) - x(this.from), height - BOTTOM - TOP);
				pen.globalAlpha = 1;
			}
		}
		pen.beginPath();
		pen.rect(LEFT, 0, width, height);
		pen.clip();
		pen.lineWidth = 1.5;
		for (const [key, , name] of this.series) {
			pen.strokeStyle = colour(name);
			pen.beginPath();
			let last = -Infinity;
			data.series[key]?.forEach((value, i) => {
				if (value === null) return;
				// Where nothing was heard there is a gap, not a straight line.
				if (data.times[i] - last > 3.5 * data.step_ms) pen.moveTo(x(data.times[i]), y(value));
				else pen.lineTo(x(data.times[i]), y(value));
				last = data.times[i];
			});
			pen.stroke();
		}
		this.legend.style.color = "";
		this.say(cursor ?? to, cursor !== null);
	}

	/** What stands there, in the legend and for a screen reader. */
	say(time = 0, asked = false) {
		const i = this.data.times.findLastIndex(t => t <= time);
		const read = this.series.map(([key, label, colour]) => {
			// As long as the line goes on, so does its value.
			const value = this.data.series[key]?.slice(Math.max(0, i - 3), i + 1).findLast(v => v !== null) ?? null;
			return {label, colour, text: value === null ? "–" : this.format(value)};
		});
		fill(this.legend, read.map(s => h("span.key", {class: s.colour}, read.length > 1 && `${s.label} `, h("b", s.text))), asked && atTime(time));
		const [from, to] = this.range();
		Object.assign(this, {ariaValueMin: from, ariaValueMax: to, ariaValueNow: Math.round(time), ariaValueText: `${atTime(time)}: ${read.map(s => `${s.label} ${s.text}`).join(", ")}`});
	}
}

/** The next 1, 2 or 5 with zeros; 1 when there is nothing. */
function nice(value = 0) {
	if (value <= 0) return 1;
	const power = 10 ** Math.floor(Math.log10(value));
	return power * ([1, 2, 5].find(n => value <= n * power) ?? 10);
}

customElements.define("time-chart", TimeChart);
