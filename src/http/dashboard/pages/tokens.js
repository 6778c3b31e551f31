/** Tokens: who may ask, and the line with which a machine joins. A secret is shown once. */

import {path, send} from "../api.js";
import {badge} from "../ui/badge.js";
import {ask, attempt, copyButton} from "../ui/dialog.js";
import {button, field, grid, h, refill, select} from "../ui/dom.js";
import {ago} from "../ui/format.js";
import {qrImage} from "../ui/qr.js";
import {listPage} from "./list.js";

/** @type {Column<TokenView>[]} */
const COLUMNS = [
	["name", "Name", "6 1", 0, t => t.name || h("span.muted", "no name"), t => t.name],
	["kind", "Kind", "3.5", 0, t => t.kind, true],
	["role", "Role", "6", 34, t => t.role ?? "–", true],
	["state", "State", "6.5", 28, t => badge(t.valid ? "valid" : "expired"), t => (t.valid ? 0 : 1)],
	["ends", "Ends", "6", 40, t => (t.expires_ms ? ago(t.expires_ms) : "never"), t => t.expires_ms || Infinity],
	["id", "Id", "10 1", 52, t => h("code", t.id), t => t.id],
	["do", "Actions", "5.2", 0, t => t.valid && button("Revoke", () => revoke(t), {class: "danger", "aria-label": `Revoke ${t.name || t.id}`})],
];
/** On a small screen, where a table has no room for it all. */
const stack = h("div.small.part");

/** @param {TokenView} t */
async function revoke(t) {
	const text = t.kind === "join" ? "No further machine joins with it; those that have joined stay." : "Whoever uses it is refused from now on.";
	if (await ask(`Revoke ${t.name || t.id}?`, text, "Revoke", "danger")) attempt(send("DELETE", path`/tokens/${t.id}`), "Revoked");
}

/** @param {"join" | "api"} kind */
async function make(kind) {
	const join = kind === "join";
	const name = h("input", {maxlength: 100, placeholder: join ? "hall boards" : "whose it is"});
	const role = select([["viewer", "viewer: reads"], ["operator", "operator: also changes workloads and nodes"], ["admin", "admin: also lets nodes in and makes tokens"]], "viewer");
	const hours = select([[1, "1 hour"], [24, "1 day"], [168, "1 week"], [720, "30 days"], [8760, "1 year"], [0, "never"]], join ? 24 : 8760);
	const body = [join && h("p.hint", "Whoever has it can let machines in until it ends."), field("Name", name), !join && field("Role", role), field("Ends after", hours)];
	if (!(await ask(join ? "A line that joins machines" : "An API token", body, "Make it"))) return;
	await attempt((async () => {
		const {token} = await send("POST", "/tokens", {kind, name: name.value, role: join ? null : role.value, ttl_ms: Number(hours.value) * 3_600_000 || null});
		const text = join ? `fleetctl agent --join ${token}` : token;
		const code = h("code.secret", {tabindex: 0}, text);
		await ask(join ? "The join line" : "The token", [h("p", `${join ? "Paste it on the machine. " : ""}It is shown now and never again.`), code, h("div", copyButton(text)), join && qrImage(text, "The join line as a QR code")], null, "wide");
	})());
}

/** @param {Visit} visit */
export default visit => listPage(visit, {
	label: "Tokens", columns: COLUMNS, sort: "name", key: t => t.id, above: [h("div.actions", button("Join a machine…", () => make("join"), "primary"), button("New API token…", () => make("api"))), stack],
	load: "/tokens", rows: all => {
		refill(stack, grid(COLUMNS.map(c => c[1]), all.map((/** @type {TokenView} */ t) => COLUMNS.map(c => c[4](t)))));
		return all;
	}, wants: e => e.event.includes("token"), every: 3000,
});
