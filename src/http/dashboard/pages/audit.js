/** Audit: who changed what, when, from where, with what differs; and whether the trail is whole. */

import {get} from "../api.js";
import {attempt} from "../ui/dialog.js";
import {diffText} from "../ui/diff.js";
import {button, field, fill, h, refill} from "../ui/dom.js";
import {atFull, count} from "../ui/format.js";

const PAGE = 100;

/** @param {Visit} visit */
export default function audit({main, query, signal, remember}) {
	/** @type {AuditLine[]} */
	let all = [];
	let timer = 0;
	signal.addEventListener("abort", () => clearTimeout(timer));
	const list = h("ol.audit", {"aria-label": "Audit trail, newest first"});
	const narrowing = (key = "", placeholder = "") => {
		const input = h("input", {type: "search", value: query.get(key) ?? "", placeholder, oninput: () => {
			remember({[key]: input.value});
			clearTimeout(timer);
			timer = setTimeout(() => attempt(load(true)), 250);
		}});
		return input;
	};
	const who = narrowing("who", "token's name");
	const what = narrowing("what", "applied web");
	const more = button("Older ones", () => attempt(load()), {hidden: true});
	const verdict = h("div", {role: "status"});

	/** @param {boolean} [anew] */
	async function load(anew) {
		const narrowed = new URLSearchParams({limit: String(PAGE)});
		for (const [key, input] of /** @type {const} */ ([["who", who], ["what", what]])) if (input.value.trim()) narrowed.set(key, input.value.trim());
		if (!anew && all.length) narrowed.set("before", String(all[all.length - 1].id));
		const asked = `${who.value}|${what.value}`;
		const answer = await get(`/audit?${narrowed}`);
		// Somebody types faster than answers come.
		if (signal.aborted || asked !== `${who.value}|${what.value}`) return;
		/** @type {AuditLine[]} */
		const lines = answer.items ?? answer;
		all = anew ? lines : [...all, ...lines];
		more.hidden = lines.length < PAGE;
		refill(list, all.map(l => h("li", h("div.audit-line", h("time", {title: `line ${l.id}`}, atFull(l.at)), h("span.who", h("b", l.by.token), ` ${l.by.role} from ${l.by.from}`), h("span.what", l.what),
			l.hash && h("code.muted", {title: `Hash of the chain up to here: ${l.hash}`}, l.hash.slice(0, 10))), l.changes && h("details", h("summary", {"data-focus": l.id, "aria-label": `What line ${l.id} changed`}, "What differs"), diffText(l.changes)))),
		!all.length && h("li.empty", who.value || what.value ? "No line matches." : "Nothing was changed yet."));
	}

	async function verify() {
		/** @type {Verified} */
		const {ok, lines, first_bad, faults = [], head} = await get("/audit/verify");
		fill(verdict, ok ? h("div.calm", `The trail is whole: ${count(lines, "line")}, each chained to the one before. Head: `, `line ${head.id}, `, h("code", head.hash), h("p.hint", "Note the head, or keep an export: who can write the controller's database could make a whole new chain."))
			: h("div.problem", h("b", `The trail is not whole, from line ${first_bad} on.`), h("ul", faults.slice(0, 20).map(f => h("li", `Line ${f.line}: ${f.what}`)), faults.length > 20 && h("li", `and ${faults.length - 20} more`))));
	}

	fill(main, h("h1", "Audit"), h("form.bar", {role: "search", onsubmit: e => e.preventDefault()}, field("Who", who), field("What", what), button("Verify", () => attempt(verify())), h("a.button", {href: "/api/v1/audit/export", download: "audit.jsonl"}, "Save as JSON lines")), verdict, h("section.part", {"aria-label": "Lines"}, list), h("div", more));
	attempt(load(true));
}
