/** Sign-in: an API token is changed into a session; the token itself is kept nowhere. */

import {Problem, send} from "../api.js";
import {field, fill, h} from "../ui/dom.js";

/** @param {HTMLElement} main @param {(session: Session) => void} done @param {string} [why] */
export function signIn(main, done, why) {
	const token = h("input", {type: "password", name: "token", autocomplete: "off", required: true, "aria-describedby": "sign-in-error"});
	const error = h("p.problem", {id: "sign-in-error", role: "alert", hidden: !why}, why);
	const enter = h("button.primary", {type: "submit"}, "Sign in");
	fill(main, h("form.sign-in", {onsubmit: async e => {
		e.preventDefault();
		enter.disabled = error.hidden = true;
		try {
			const session = await send("POST", "/session", {token: token.value.trim()});
			fill(main);
			done(session);
		} catch (problem) {
			const refused = problem instanceof Problem && [401, 403].includes(problem.status);
			fill(error, refused ? "This token is not known, has expired, or was revoked." : problem instanceof Error ? problem.message : "");
			error.hidden = enter.disabled = false;
			token.select();
		}
	}}, h("h1", "Sign in"), error, field("API token", token), enter,
	h("p.hint", "The first is admin.token in the controller's data directory.")));
	token.focus();
}
