/** Audit: who changed what, when, from where; with what differs, where the controller says it. */

import {get} from "../api.js";
import {attempt} from "../ui/dialog.js";
import {diffText} from "../ui/diff.js";
import {button, field, fill, h} from "../ui/dom.js";
import {atFull} from "../ui/format.js";

const PAGE = 100;

/** @param {AuditLine[]} after the lines before these @returns {Promise<AuditLine[]>} */
const older = (limit = 0, after) => get(`/audit?limit=${limit}${after.length ? `&before=${after[after.length - 1].id}` : ""}`);

/** Everything as JSON lines, oldest first. */
async function save() {
	/** @type {AuditLine[]} */
	const all = [];
	for (let some = 1000; some === 1000; ) {
		const lines = await older(1000, all);
		some = lines.length;
		all.push(...lines);
	}
	const href = URL.createObjectURL(new Blob(all.reverse().map(l => `${JSON.stringify(l)}\n`), {type: "application/x-ndjson"}));
	h("a", {href, download: "audit.jsonl"}).click();
	setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

/** @param {Visit} visit */
export default function audit({main}) {
	/** @type {AuditLine[]} */
	const all = [];
	const list = h("ol.audit", {"aria-label": "Audit trail, newest first"});
	const search = h("input", {type: "search", oninput: () => draw()});
	const more = button("Older ones", () => attempt(load()));

	function draw() {
		const sought = search.value.toLowerCase();
		const shown = all.filter(l => `${l.what} ${l.by.token} ${l.by.from} ${l.changes ?? ""}`.toLowerCase().includes(sought));
		fill(list, shown.map(l => h("li", h("div.audit-line", h("time", {title: `line ${l.id}`}, atFull(l.at)), h("span.who", h("b", l.by.token), ` ${l.by.role} from ${l.by.from}`), h("span.what", l.what),
			l.hash && h("code.muted", {title: `Hash of the chain up to here: ${l.hash}`}, l.hash.slice(0, 10))), l.changes && h("details", h("summary", "What differs"), diffText(l.changes)))),
		!shown.length && h("li.empty", "No line."));
	}

	async function load() {
		const lines = await older(PAGE, all);
		all.push(...lines);
		more.hidden = lines.length < PAGE;
		draw();
	}

	fill(main, h("h1", "Audit"), h("div.bar", field("Search what is shown", search), button("Save as JSON lines", () => attempt(save()))), list, h("div", more));
	attempt(load());
}
