/**
 * A QR code (ISO/IEC 18004) of a text: byte mode, correction level L (a screen is read without
 * more), mask 0, the smallest version up to 25 that holds it: 1,269 bytes, three join lines.
 */

/** Codewords for correction in a block, and blocks, by version. */
const EC = [7, 10, 15, 20, 26, 18, 20, 24, 30, 18, 20, 24, 26, 30, 22, 24, 28, 30, 28, 28, 28, 28, 30, 30, 26];
const BLOCKS = [1, 1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4, 4, 4, 6, 6, 6, 6, 7, 8, 8, 9, 9, 10, 12];

/** Products in GF(256) by the polynomial 0x11d. */
function times(a = 0, b = 0) {
	let product = 0;
	for (let i = 7; i >= 0; i -= 1) product = (product << 1) ^ ((product >> 7) * 0x11d) ^ (((b >> i) & 1) * a);
	return product;
}

/** A value followed by its check bits. */
function bch(value = 0, bits = 0, generator = 0) {
	let rest = value;
	for (let i = 0; i < bits; i += 1) rest = (rest << 1) ^ ((rest >> (bits - 1)) * generator);
	return (value << bits) | rest;
}

/** Where alignment patterns are centred, on both axes. */
function alignment(version = 1) {
	const steps = version > 1 ? Math.floor(version / 7) + 1 : 0;
	const step = Math.ceil((version * 2 + 2) / steps) * 2;
	return steps ? [6, ...Array.from({length: steps}, (_, i) => version * 4 + 10 - (steps - 1 - i) * step)] : [];
}

/** Bytes that are free for data and their correction. */
function room(version = 1) {
	const n = Math.floor(version / 7) + 2;
	const patterns = version > 1 ? (25 * n - 10) * n - 55 + (version > 6 ? 36 : 0) : 0;
	return ((16 * version + 128) * version + 64 - patterns) >> 3;
}

/** @param {number[]} data */
function corrected(data, version = 1) {
	const [blocks, degree] = [BLOCKS[version - 1], EC[version - 1]];
	const short = blocks - (room(version) % blocks);
	const size = Math.floor(room(version) / blocks) - degree;
	let divisor = [1];
	for (let i = 0, root = 1; i < degree; i += 1, root = times(root, 2)) divisor = [...divisor, 0].map((c, n) => c ^ (n && times(divisor[n - 1], root)));
	let end = 0;
	const all = Array.from({length: blocks}, (_, i) => {
		const part = data.slice(end, (end += size + (i >= short ? 1 : 0)));
		let check = new Array(degree).fill(0);
		for (const byte of part) {
			const factor = byte ^ check[0];
			check = [...check.slice(1), 0].map((c, n) => c ^ times(divisor[n + 1], factor));
		}
		return {part, check};
	});
	const out = [];
	for (let i = 0; i <= size; i += 1) for (const {part} of all) if (i < part.length) out.push(part[i]);
	for (let i = 0; i < degree; i += 1) for (const {check} of all) out.push(check[i]);
	return out;
}

/** The code's modules, true where dark; null when the text is too long. */
export function qr(text = "") {
	const bytes = [...new TextEncoder().encode(text)];
	const fits = (v = 1) => bytes.length + (v < 10 ? 2 : 3) <= room(v) - EC[v - 1] * BLOCKS[v - 1];
	const version = EC.findIndex((_, i) => fits(i + 1)) + 1;
	if (!version) return null;
	// The mode, the length, the bytes and the end, each half a byte off.
	const head = version < 10 ? [bytes.length] : [bytes.length >> 8, bytes.length & 255];
	const halves = [4, ...[...head, ...bytes].flatMap(b => [b >> 4, b & 15]), 0];
	const data = [];
	for (let i = 0; i < halves.length; i += 2) data.push((halves[i] << 4) | halves[i + 1]);
	for (let pad = 0xec; data.length < room(version) - EC[version - 1] * BLOCKS[version - 1]; pad ^= 0xec ^ 0x11) data.push(pad);
	return draw(corrected(data, version), version);
}

/** @param {number[]} codewords */
function draw(codewords, version = 1) {
	const size = version * 4 + 17;
	/** @type {(boolean | null)[][]} null: not decided yet */
	const grid = Array.from({length: size}, () => new Array(size).fill(null));
	const set = (x = 0, y = 0, dark = false) => {
		if (x >= 0 && y >= 0 && x < size && y < size) grid[y][x] = dark;
	};
	const rings = (x = 0, y = 0, radius = 0, light = [0]) => {
		for (let i = -radius; i <= radius; i += 1) for (let j = -radius; j <= radius; j += 1) set(x + i, y + j, !light.includes(Math.max(Math.abs(i), Math.abs(j))));
	};
	const bit = (value = 0, i = 0) => ((value >> i) & 1) === 1;
	for (let i = 0; i < size; i += 1) {
		set(6, i, i % 2 === 0);
		set(i, 6, i % 2 === 0);
	}
	for (const [x, y] of [[3, 3], [size - 4, 3], [3, size - 4]]) rings(x, y, 4, [2, 4]);
	const centres = alignment(version);
	for (const x of centres) for (const y of centres) if (grid[y][x] === null || (x === 6) !== (y === 6)) if (x + y > 12 && Math.abs(x - y) < size - 13) rings(x, y, 2, [1]);
	const format = bch(0b01000, 10, 0x537) ^ 0x5412;
	for (let i = 0; i < 15; i += 1) {
		const dark = bit(format, i);
		if (i < 8) set(8, i < 6 ? i : i + 1, dark);
		else set(i === 8 ? 7 : 14 - i, 8, dark);
		if (i < 8) set(size - 1 - i, 8, dark);
		else set(8, size - 15 + i, dark);
	}
	set(8, size - 8, true);
	const info = bch(version, 12, 0x1f25);
	for (let i = 0; i < 18 && version > 6; i += 1) {
		set(size - 11 + (i % 3), Math.floor(i / 3), bit(info, i));
		set(Math.floor(i / 3), size - 11 + (i % 3), bit(info, i));
	}
	let n = 0;
	for (let right = size - 1; right >= 1; right -= right === 8 ? 3 : 2) {
		for (let step = 0; step < size; step += 1) {
			const y = (right + (right < 6 ? 2 : 1)) & 2 ? step : size - 1 - step;
			for (const x of [right, right - 1]) {
				if (grid[y][x] !== null) continue;
				grid[y][x] = bit(codewords[n >> 3], 7 - (n & 7)) !== ((x + y) % 2 === 0);
				n += 1;
			}
		}
	}
	return grid;
}

/** As an image with a quiet margin. */
export function qrImage(text = "", label = "") {
	const grid = qr(text);
	const size = (grid?.length ?? 0) + 8;
	const draw = (tag = "", props = {}) => {
		const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
		for (const [key, value] of Object.entries(props)) element.setAttribute(key, String(value));
		return element;
	};
	const image = draw("svg", {viewBox: `0 0 ${size} ${size}`, role: "img", "aria-label": label, class: "qr", "shape-rendering": "crispEdges"});
	image.append(draw("path", {d: grid?.flatMap((row, y) => row.map((on, x) => (on ? `M${x + 4} ${y + 4}h1v1h-1z` : ""))).join("")}));
	return grid && image;
}
