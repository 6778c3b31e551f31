/** Scaling: the workload's own manifest with another number, planned and agreed to like any other. */

import {path, send, text} from "../api.js";
import {ask, attempt} from "../ui/dialog.js";
import {field, h} from "../ui/dom.js";
import {planView} from "./plan.js";

/** @param {WorkloadView} workload */
export async function scale({name, spec}) {
	const mode = spec.placement?.mode;
	const number = h("input", {type: "number", min: 0, max: 10_000, required: true, value: typeof mode === "object" ? mode.any.replicas : 1});
	if (!(await ask(`Scale ${name}`, field("Replicas, each on a node of its own", number), "Plan"))) return;
	const replicas = number.valueAsNumber;
	await attempt((async () => {
		const manifest = withReplicas(await text(path`/workloads/${name}/manifest`), name, replicas);
		const request = {sources: [{name: `${name}.toml`, text: manifest}]};
		/** @type {Plan} */
		const plan = await send("POST", "/plan", request);
		if (!plan.changed.length) throw new Error(`${name} has ${replicas} already.`);
		if (await ask(`Scale ${name} to ${replicas}`, planView(plan), "Apply", "wide")) await attempt(send("POST", "/apply", {...request, plan}), `${name} is scaled to ${replicas}`);
	})());
}

/** The manifest as the controller writes it (one key a line), with so many. */
function withReplicas(manifest = "", name = "", replicas = 0) {
	const head = `[workload.${name}.placement]`;
	const lines = manifest.trimEnd().split("\n");
	let i = lines.indexOf(head);
	if (i < 0) i = lines.push("", head) - 1;
	const next = lines.findIndex((l, n) => n > i && l.startsWith("["));
	const own = lines.findIndex((l, n) => n > i && (next < 0 || n < next) && /^replicas\s*=/.test(l));
	lines.splice(own < 0 ? i + 1 : own, own < 0 ? 0 : 1, `replicas = ${replicas}`);
	return lines.join("\n");
}
