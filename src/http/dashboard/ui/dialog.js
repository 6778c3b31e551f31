/** Dialogs and short notices. The browser's own `<dialog>` keeps the focus and takes Escape. */

import {button, h, refocus} from "./dom.js";

/**
 * Opens a dialog; true when it was agreed to. Without `yes` it only shows something.
 * @param {string} title @param {Child} body @param {string | null} yes @param {string} [tone] of what it does, or "wide"
 *
 */
export function ask(title, body, yes, tone = "primary") {
	const box = h("dialog", {"aria-labelledby": "dialog-title", class: tone}, h("form", {method: "dialog"},
		h("h2", {id: "dialog-title"}, title), h("div.dialog-body", typeof body === "string" ? h("p", body) : body),
		h("div.actions", h("button", {value: ""}, yes ? "Cancel" : "Close"), yes && h("button", {value: "yes", class: tone === "danger" ? tone : "primary"}, yes))));
	const before = document.activeElement;
	document.body.append(box);
	box.showModal();
	// Whoever leaves the page leaves its questions.
	const leave = () => box.close("");
	addEventListener("hashchange", leave);
	return new Promise(resolve => box.addEventListener("close", () => {
		removeEventListener("hashchange", leave);
		box.remove();
		if (before instanceof HTMLElement && before.isConnected) before.focus({preventScroll: true});
		else if (before) refocus(document.body, before);
		resolve(box.returnValue === "yes");
	}));
}

/** @param {string} text @param {"good" | "bad"} [tone] */
export function toast(text, tone = "good") {
	const list = document.getElementById("toasts");
	const note = h("div.toast", {class: tone, role: tone === "bad" ? "alert" : "status"}, h("span", text),
		button("×", () => note.remove(), {"aria-label": "Close this notice", class: "quiet"}));
	list?.append(note);
	if (tone === "good") setTimeout(() => note.remove(), 5000);
}

/** @param {Promise<unknown>} work @param {string} [done] */
export async function attempt(work, done) {
	try {
		await work;
		if (done) toast(done);
		return true;
	} catch (error) {
		toast(error instanceof Error ? error.message : String(error), "bad");
		return false;
	}
}

/** A button that takes a text along. */
export const copyButton = (text = "") => button("Copy", () => attempt(navigator.clipboard.writeText(text), "Copied"));
