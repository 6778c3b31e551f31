/** Alerts: what fires, what was silenced, what has resolved. */

import {may, path, send} from "../api.js";
import {badge} from "../ui/badge.js";
import {ask, attempt} from "../ui/dialog.js";
import {button, field, h, nodeLink, select, workloadLink} from "../ui/dom.js";
import {ago} from "../ui/format.js";
import {listPage} from "./list.js";

const RANK = ["firing", "silenced", "resolved"];

/** @type {Column<Alert>[]} */
const COLUMNS = [
	["rule", "Rule", "7 1", 0, a => a.rule, true],
	["state", "State", "6.5", 0, a => badge(a.state), a => RANK.indexOf(a.state)],
	["severity", "Severity", "7", 40, a => badge(a.severity), a => a.severity],
	["subject", "About", "7 1", 30, ({subject: s}) => [workloadLink(s.workload), s.workload && s.node && " on ", nodeLink(s.node)], a => a.subject.node ?? a.subject.workload],
	["message", "What", "9 3", 48, a => a.message],
	["since", "Since", "5.5", 36, a => ago(a.resolved_ms ?? a.since_ms), a => -(a.resolved_ms ?? a.since_ms)],
	["do", "Actions", "5.6", 0, a => may("operator") && a.state === "firing" && button("Silence…", () => silence(a), {"aria-label": `Silence ${a.rule}`})],
];

/** @param {Alert} alert */
async function silence({id, rule, message}) {
	const minutes = select([[15, "15 minutes"], [60, "1 hour"], [480, "8 hours"], [1440, "1 day"], [10080, "1 week"]], 60);
	const comment = h("input", {placeholder: "why, for the others", maxlength: 200});
	if (await ask(`Silence ${rule}?`, [h("p", message), field("For", minutes), field("Comment", comment)], "Silence")) {
		attempt(send("POST", path`/alerts/${id}/silence`, {for_ms: Number(minutes.value) * 60_000, comment: comment.value}), `${rule} is silent`);
	}
}

/** @param {Visit} visit */
export default visit => listPage(visit, {
	label: "Alerts", columns: COLUMNS, sort: "state", key: a => a.id, none: "No alert. Rules are in the controller's configuration.",
	load: "/alerts", rows: page => page.items, wants: e => /alert|offline|lost|online|crash|rollout|health/.test(e.event), every: 3000,
});
