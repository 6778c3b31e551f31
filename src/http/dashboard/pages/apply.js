/** Apply: a manifest is pasted or dropped, planned, agreed to, and followed until it has settled. */

import {Problem, may, send} from "../api.js";
import {badge} from "../ui/badge.js";
import {attempt} from "../ui/dialog.js";
import {at, button, field, fill, h, problemBox, reason, section} from "../ui/dom.js";
import {bytes, count} from "../ui/format.js";
import {planView} from "./plan.js";

/** The controller takes no manifest, and no file beside it, that is larger. */
const MAX_TEXT = 1 << 20;
const MAX_COMPANION = 64 << 10;
const STALE = "The fleet has changed since this plan was made, so nothing was done. This is the plan as it is now.";

/** @param {Visit} visit */
export default function apply({main, query, signal}) {
	/** @type {Record<string, string>} texts beside the manifests, by their paths */
	let companions = {};
	const stale = () => result.childElementCount && fill(result, h("p.muted", "The manifest was changed: plan again."));
	const text = h("textarea.code", {rows: 16, spellcheck: "false", "aria-label": "Manifest", oninput: stale, placeholder: '[workload.web]\nimage = "docker.io/library/nginx:1.27"\n\nTOML, workload YAML or a Compose file: paste it here, or drop it with the files that it needs'});
	const name = h("input", {placeholder: "told from the text", oninput: stale});
	const prune = h("input", {type: "checkbox", onchange: stale});
	const variables = h("input", {placeholder: "channel=beta, EDITION=2", oninput: stale});
	const beside = h("p.muted", {role: "status"});
	const result = h("div");
	const says = h("p.hidden", {role: "status"});
	const plans = button("Plan", () => plan(), "primary");
	if (query.get("draft")) {
		text.value = sessionStorage.getItem("fleetctl-draft") ?? "";
		name.value = "manifest.toml";
	}

	function request() {
		const pairs = variables.value.split(",").filter(p => p.trim()).map(p => [p.split("=")[0].trim(), p.slice(p.indexOf("=") + 1).trim()]);
		return {sources: [{name: name.value.trim() || "manifest", text: text.value, files: companions}], prune: prune.checked, variables: Object.fromEntries(pairs)};
	}

	/** @param {string} [why] said above the plan */
	async function plan(why) {
		const asked = request();
		const {length} = text.value.trim();
		if (!length || length > MAX_TEXT) return fill(result, problemBox(length ? `This has ${bytes(length)}; a manifest has at most ${bytes(MAX_TEXT)}.` : "There is nothing to plan: paste a manifest, or drop a file."));
		plans.disabled = true;
		try {
			/** @type {Plan} */
			const made = await send("POST", "/plan", asked);
			const nothing = !made.added.length && !made.changed.length && !made.removed?.length;
			const yes = button("Apply this plan", () => agree(asked, made), {class: "primary", disabled: nothing});
			fill(result, section("Plan", why && h("div.note.warn", {role: "alert"}, h("b", "Not applied. "), why), planView(made), may("operator") ? yes : "To apply it, the role operator is needed."));
			if (why) yes.focus();
			fill(says, why ?? "The plan is below.");
		} catch (error) {
			fill(result, problemBox(error, jump));
		}
		plans.disabled = false;
	}

	/** @param {object} asked @param {Plan} agreed */
	async function agree(asked, agreed) {
		fill(result, h("p.muted", "Applying…"));
		try {
			await send("POST", "/apply", {...asked, plan: agreed});
			await follow([...agreed.added, ...agreed.changed].map(w => w.workload), agreed.removed ?? []);
		} catch (error) {
			if (error instanceof Problem && error.status === 409) plan(STALE);
			else fill(result, problemBox(error, jump));
		}
	}

	/** @param {string[]} workloads @param {string[]} removed */
	async function follow(workloads, removed) {
		const list = h("ul.where");
		const state = h("p", workloads.length ? "Applied. Its instances are on the way." : `Applied: ${count(removed.length, "workload")} removed.`);
		fill(result, section("Applied", state, list, h("div.actions", workloads.map(n => h("a.button", {href: at("workloads", n)}, n)))));
		// Short at first, so that there is something to see.
		for (let round = 0, settled = !workloads.length; !settled && !signal.aborted && state.isConnected; round += 1) {
			const answer = await send("POST", "/wait", {workloads, timeout_ms: round < 10 ? 700 : 10_000});
			/** @type {InstanceView[]} */
			const instances = answer.instances;
			fill(list, instances.slice(0, 50).map(i => h("li", badge(i.state), ` ${i.workload} on ${i.node ?? "no node"} `, h("span.muted", reason(i.reason)))), instances.length > 50 && h("li", `and ${instances.length - 50} more`));
			settled = answer.settled;
			if (settled) fill(state, h("b", answer.ok ? "Everything runs as wanted." : "Some of it does not run, for the reason that it says."));
			if (settled) fill(says, state.textContent);
		}
	}

	/** @param {ManifestProblem} problem */
	function jump({line, column}) {
		const lines = text.value.split("\n");
		const start = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
		text.focus();
		text.setSelectionRange(start + column - 1, start + (lines[line - 1]?.length ?? 0));
	}

	/** @param {FileList | undefined | null} files */
	const take = files => attempt((async () => {
		for (const file of files ?? []) {
			const isManifest = /\.(toml|ya?ml)$/i.test(file.name);
			const most = isManifest ? MAX_TEXT : MAX_COMPANION;
			if (file.size > most) throw new Error(`${file.name} has ${bytes(file.size)}; at most ${bytes(most)} are taken.`);
			const content = await file.text();
			if (isManifest) [text.value, name.value] = [content, file.name];
			else companions[file.name] = companions[`./${file.name}`] = content;
		}
		const names = Object.keys(companions).filter(k => !k.startsWith("./"));
		fill(beside, names.length > 0 && [`Taken along: ${names.join(", ")} `, button("Leave them out", () => {
			companions = {};
			fill(beside);
		}, "link")]);
		stale();
	})());

	const files = h("input", {type: "file", multiple: true, hidden: true, onchange: () => take(files.files)});
	/** @param {DragEvent} e */
	const over = e => {
		e.preventDefault();
		drop.classList.toggle("over", e.type === "dragover");
	};
	const drop = h("div.drop", {ondragover: over, ondragleave: over, ondrop: e => (over(e), take(e.dataTransfer.files))}, text);
	fill(main, h("h1", "Apply"), h("p.muted", "Nothing is done before you have seen the plan and agreed to it."), drop, beside,
		h("div.bar", plans, button("Choose files…", () => files.click()), files, field("File name", name), field("Variables", variables), field("Prune", prune, "also remove what is in none of these")), says, result);
}
