/**
 * The HTTP API as the dashboard asks it; `/api/v1/openapi.json` describes it.
 *
 * A change carries `X-Fleetctl: dashboard`, which no other site can make a browser send.
 */

/** An answer that is not what was asked for; `status` 0: there was none. */
export class Problem extends Error {
	/** @param {ProblemDocument} document */
	constructor(status = 0, document) {
		super(document.detail || document.title || `the controller answered ${status}`);
		this.status = status;
		this.problems = document.problems;
	}
}

/** Tells `unreachable`, `reachable`, `signedout` and `changed`. */
export const link = new EventTarget();

/** @type {{session: Session | null}} */
export const who = {session: null};

const ROLES = ["viewer", "operator", "admin"];

/** @param {Role} role */
export const may = role => ROLES.indexOf(who.session?.role ?? "") >= ROLES.indexOf(role);

/** A path with its parts encoded. @param {TemplateStringsArray} texts @param {(string | number | null | undefined)[]} parts */
export const path = (texts, ...parts) => texts.reduce((all, text, i) => all + encodeURIComponent(parts[i - 1] ?? "") + text);

export const pause = (ms = 0) => new Promise(end => setTimeout(end, ms));

/** Longer than any request takes that is no stream. */
const PATIENCE_MS = 70_000;

/** @param {string} where below `/api/v1` @param {unknown} [body] @param {AbortSignal} [signal] its end; without one, patience @param {number} [most] */
async function ask(method = "", where, body, signal, most = method === "GET" ? PATIENCE_MS / 5 : PATIENCE_MS) {
	/** @type {Record<string, string>} */
	const headers = method === "GET" ? {} : {"X-Fleetctl": "dashboard"};
	if (body !== undefined) headers["Content-Type"] = "application/json";
	/** @type {RequestInit} */
	const how = {method, headers, signal: signal ?? AbortSignal.timeout(most), cache: "no-store", body: body === undefined ? undefined : JSON.stringify(body)};
	const go = () => fetch(`/api/v1${where}`, how);
	let response;
	try {
		// A network that changes ends what is under way. A change may have been done: it is not sent again.
		response = await go().catch(error => {
			if (method !== "GET" || how.signal?.aborted) throw error;
			return pause(300).then(go);
		});
	} catch (error) {
		if (!signal?.aborted) link.dispatchEvent(new Event("unreachable"));
		throw new Problem(0, {detail: `the controller cannot be reached${method === "GET" ? "" : "; whether it was done is not known"}`});
	}
	// What stands between may answer for a controller that is gone.
	link.dispatchEvent(new Event([502, 504].includes(response.status) ? "unreachable" : "reachable"));
	if (response.ok) return response;
	if (response.status === 401 && who.session) link.dispatchEvent(new Event("signedout"));
	throw new Problem(response.status, await response.json().catch(() => ({})));
}

/** @param {number} [most] ms that are waited @returns {Promise<any>} */
export const get = async (where = "", most) => (await ask("GET", where, undefined, undefined, most)).json();

export const text = async (where = "") => (await ask("GET", where)).text();

/** A change, or a question with a body. @param {"POST" | "PATCH" | "DELETE"} method @param {unknown} [body] @returns {Promise<any>} */
export async function send(method, where = "", body) {
	const answer = await (await ask(method, where, body)).text();
	link.dispatchEvent(new Event("changed"));
	return answer && JSON.parse(answer);
}

/** A one-off order to a node; fails when it did not work there. @param {string | null | undefined} node @param {{command: string, workload?: string}} order */
export async function command(node, order) {
	const answer = await send("POST", path`/nodes/${node}/command`, order);
	if (!answer.ok) throw new Error(`${node}: ${answer.message || "it did not work"}`);
	return answer;
}

/** All items of a list that pages. @param {(items: any[]) => void} [sofar] */
export async function all(where = "", sofar) {
	/** @type {any[]} */
	const items = [];
	for (let after = ""; ; ) {
		const page = await get(`${where}?limit=1000${after && `&after=${encodeURIComponent(after)}`}`);
		items.push(...page.items);
		after = page.next;
		if (!after) return items;
		sofar?.(items);
	}
}

/** Characters of one line of a stream; what is longer is left out. */
const MAX_LINE = 4 << 20;

/** A stream of JSON lines, as they come. @param {"GET" | "POST"} method @param {unknown} body @param {AbortSignal} signal @returns {AsyncGenerator<any>} */
export async function* lines(method, where = "", body, signal) {
	const response = await ask(method, where, body, signal);
	let rest = "";
	const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
	for (let done = !reader; !done && reader; ) {
		const piece = await reader.read();
		done = piece.done;
		const whole = (rest + (piece.value ?? "")).split("\n");
		rest = whole.pop() ?? "";
		for (const line of whole) if (line) yield JSON.parse(line);
		if (rest.length > MAX_LINE) rest = "";
	}
}
