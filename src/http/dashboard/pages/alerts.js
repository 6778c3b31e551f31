/** Alerts: what fires, what is silenced, what is over; the rules behind them, and who is told. */

import {aboutAlerts, alerts} from "../alerts.js";
import {may, path, send} from "../api.js";
import {watch} from "../data.js";
import {badge} from "../ui/badge.js";
import {ask, attempt} from "../ui/dialog.js";
import {button, field, fill, grid, h, nodeLink, refill, section, select, workloadLink} from "../ui/dom.js";
import {ago, count, span} from "../ui/format.js";
import {table} from "../ui/table.js";
import {tabs} from "../ui/tabs.js";

/** Lines of a list, of one on the page of what it is about, and alerts that are loaded. */
const LISTED = 100;
const FEW = 3;
const LOADED = 1000;
const RANK = ["firing", "pending", "silenced", "resolved"];
const SEVERITIES = ["critical", "warning", "info"];

/** @param {Alert} a */
const about = ({subject: {node, workload}}) => [workloadLink(workload), workload && node && " on ", nodeLink(node), !workload && !node && "the fleet"];

/** @param {Alert} a */
const named = ({rule, subject: {node, workload}}) => `${rule} of ${[workload, node].filter(Boolean).join(" on ") || "the fleet"}`;

/** @param {Alert} a */
function says({message, silenced: s, escalated_ms}) {
	return [message, s && h("span.muted", ` Silenced by ${s.by}${s.comment && `: ${s.comment}`}, ends `, ago(s.until_ms), "."), escalated_ms && h("span.muted", " Told to further people ", ago(escalated_ms), " ago.")];
}

/** @param {Alert} a @param {Alert} b */
const worse = (a, b) => RANK.indexOf(a.state) - RANK.indexOf(b.state) || SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity);

/** @param {Alert} a */
const since = a => (a.resolved_ms ? ["over ", ago(a.resolved_ms)] : ago(a.since_ms));

/** @param {Alert} a */
function actions(a) {
	if (!may("operator") || a.state === "resolved") return "";
	const name = {"aria-label": `${a.silenced ? "End the silence of" : "Silence"} ${named(a)}`};
	return a.silenced ? button("End silence", () => attempt(send("DELETE", path`/alerts/${a.id}/silence`), `${named(a)} is heard again`), name) : button("Silence…", () => silence(a), name);
}

/** @param {Alert} alert */
async function silence(alert) {
	const minutes = select([[15, "15 minutes"], [60, "1 hour"], [480, "8 hours"], [1440, "1 day"], [10080, "1 week"]], 60);
	const comment = h("input", {placeholder: "why, for the others", maxlength: 200});
	if (await ask(`Silence ${named(alert)}?`, [h("p", alert.message), h("p.hint", "Nobody is told of it meanwhile; it still shows here."), field("For", minutes), field("Comment", comment)], "Silence")) {
		attempt(send("POST", path`/alerts/${alert.id}/silence`, {for_ms: Number(minutes.value) * 60_000, comment: comment.value}), `${named(alert)} is silent`);
	}
}

/** As a list, which a small screen has more room for than for a table. @param {Alert[]} all @param {(a: Alert) => Child} name @param {string} [href] where the others are */
const lines = (all, name, most = LISTED, href) => h("ul.needs", all.slice(0, most).map(a => h("li", badge(a.state === "firing" ? a.severity : a.state), h("b", name(a)), h("span.why", says(a)), h("span.muted", since(a)), actions(a))), all.length > most && h("li", href ? h("a", {href}, `and ${all.length - most} more`) : `and ${count(all.length - most, "more alert")}`));

/** What is not over of one node or workload, the worst first; nothing where there is none. @param {AbortSignal} signal @param {"node" | "workload"} kind */
export function ownAlerts(signal, kind, name = "") {
	const place = h("div");
	watch(signal, () => alerts(`${new URLSearchParams({[kind]: name})}&limit=${LOADED}`), ({items}) => {
		const open = items.filter(a => a.state !== "resolved").sort(worse);
		refill(place, open.length > 0 && section("Alerts", lines(open, a => a.rule, FEW, `#/alerts?q=${encodeURIComponent(name)}`)));
	}, {wants: aboutAlerts, fail: () => {}});
	return place;
}

/** @type {Column<Alert>[]} */
const COLUMNS = [
	["state", "State", "6.2", 0, a => badge(a.state), a => `${RANK.indexOf(a.state)}${SEVERITIES.indexOf(a.severity)}`],
	["severity", "Severity", "6.5", 40, a => badge(a.severity), a => SEVERITIES.indexOf(a.severity)],
	["rule", "Rule", "7 1", 46, a => a.rule, true],
	["subject", "About", "7 1", 54, about, a => a.subject.node ?? a.subject.workload],
	["message", "What", "8 3", 0, says, a => a.message],
	["since", "Since", "6.5", 34, since, a => -(a.resolved_ms ?? a.since_ms)],
	["do", "Actions", "7", 40, actions],
	["more", "", "2.4", -40, a => button("⋯", () => ask(a.rule, [h("p", badge(a.severity), " ", about(a)), h("p", says(a)), h("p.muted", a.resolved_ms ? "Ended " : "Began ", ago(a.resolved_ms ?? a.since_ms), " ago."), actions(a)], null), {"aria-label": `More of ${named(a)}`})],
];

/** @param {Visit} visit */
export default function alertsPage(visit) {
	const {main, query, remember} = visit;

	/** @param {HTMLElement} into @param {AbortSignal} alive */
	function list(into, alive) {
		/** @type {Alert[]} */
		let all = [];
		const rows = table({label: "Alerts", columns: COLUMNS, key: (/** @type {Alert} */ a) => `${a.id} ${a.since_ms}`, sort: query.get("sort") ?? "state", onsort: sort => remember({sort: sort === "state" ? null : sort}), none: "No alert: nothing that the rules look at is wrong."});
		const short = h("div");
		const rest = h("p.muted");
		const small = matchMedia("(max-width: 34rem)");
		const narrow = () => {
			remember({state: state.value, q: search.value});
			arrange();
		};
		const search = h("input", {type: "search", value: query.get("q") ?? "", placeholder: "rule, node or workload", oninput: narrow});
		const state = select([["", "open ones"], ...RANK.map(s => [s, s])], query.get("state"), {onchange: narrow});
		const arrange = () => {
			const sought = search.value.toLowerCase();
			const found = all.filter(a => (state.value ? a.state === state.value : a.state !== "resolved") && `${a.rule} ${a.subject.node ?? ""} ${a.subject.workload ?? ""} ${a.message}`.toLowerCase().includes(sought));
			rows.rows = found;
			rows.hidden = small.matches && found.length > 0;
			refill(short, small.matches && found.length > 0 && h("div.part", lines(found.sort(worse), about)));
		};
		small.addEventListener("change", arrange, {signal: alive});
		fill(into, h("form.bar", {role: "search", onsubmit: e => e.preventDefault()}, field("Search", search), field("State", state)), short, rows, rest);
		watch(alive, () => alerts(`limit=${LOADED}`), ({items, next}) => {
			all = items;
			fill(rest, next && `There are more than these ${LOADED}; those that fire come first.`);
			arrange();
		}, {wants: aboutAlerts, every: 5000});
	}

	/** @param {HTMLElement} into @param {AbortSignal} alive */
	const rules = (into, alive) => watch(alive, "/alerts/rules", answer => {
		/** @type {Rule[]} */
		const all = answer.items ?? answer;
		const link = (n = 0, q = "", state = "") => n && h("a", {href: `#/alerts?${new URLSearchParams({q, state})}`}, n);
		refill(into, h("p.muted", "Rules are set in the controller's configuration: ", h("code", "[controller.alerts.rule.NAME]")), h("div.part", grid(["Rule", "Severity", "When", "Told", "Firing", "Silenced"], all.map(r => [r.name, r.enabled ? badge(r.severity) : h("span.muted", "off"), when(r),
			r.notify.length ? [r.notify.join(", "), r.escalate_after_ms && `; after ${span(r.escalate_after_ms)} also ${(r.escalate_to ?? []).join(", ")}`] : "nobody", link(r.firing, r.name, "firing"), link(r.silenced, r.name, "silenced")]))));
	}, {wants: aboutAlerts, every: 30_000});

	/** @param {HTMLElement} into @param {AbortSignal} alive */
	const receivers = (into, alive) => watch(alive, "/alerts/receivers", answer => {
		/** @type {Receiver[]} */
		const all = answer.items ?? answer;
		refill(into, h("div.part", all.length ? grid(["Receiver", "Kind", "Told", "Failed", "Waiting", "Last", ""], all.map(r => [r.name, r.kind, r.delivered, r.dropped ? `${r.failed}, ${r.dropped} dropped` : r.failed, r.waiting, [ago(r.last_ms), r.last_error && [" ", h("span.badge.bad", r.last_error)]],
			may("operator") && button("Test", () => attempt(send("POST", path`/alerts/receivers/${r.name}/test`), `${r.name} has taken a test`), {"aria-label": `Test ${r.name}`})]))
			: h("p.empty", "Nobody is told. Add a receiver to the controller's configuration: ", h("code", "[controller.alerts.receiver.NAME]"))));
	}, {every: 5000});

	fill(main, h("h1", "Alerts"), tabs(visit, [["alerts", "Alerts", list], ["rules", "Rules", rules], ["receivers", "Receivers", (into, alive) => void receivers(into, alive)]]).element);
}

/** @param {Rule} r */
const when = ({when, condition, note, samples, nodes, workloads}) => [`${condition || when.replaceAll("_", " ")}, ${count(samples, "sample")} in a row${nodes?.length ? `, nodes ${nodes.join(", ")}` : ""}${workloads?.length ? `, of ${workloads.join(", ")}` : ""}`, note && h("div.muted", note)];
