/**
 * The shell: who is signed in, which page is shown (`#/nodes/pi-1?part=logs` is `pages/node.js`),
 * whether what is shown is fresh. A page gets a {@link Visit} and lives until the next one begins:
 * its signal ends its timers and listeners. Nothing secret is ever in the address.
 */

import {firing, onFiring, watchAlerts} from "./alerts.js";
import {Problem, get, link, may, send, who} from "./api.js";
import {trouble} from "./data.js";
import * as live from "./live.js";
import {signIn} from "./pages/signin.js";
import {button, fill, h, refill, select} from "./ui/dom.js";
import {ago, atTime, tick} from "./ui/format.js";

/** @type {[id: string, title: string, one: string | null, role?: Role][]} `pages/{id}.js` shows all, `one` one of them */
const PAGES = [
	["nodes", "Fleet", "node"], ["workloads", "Workloads", "workload"], ["rollouts", "Rollouts", "rollout"], ["schedules", "Schedules", null],
	["apply", "Apply", null], ["commands", "Commands", null], ["alerts", "Alerts", null], ["events", "Events", null], ["audit", "Audit", null, "admin"], ["tokens", "Tokens", null, "admin"],
];

/** Kept in this browser: that somebody has signed in, and which colours are wanted. */
const SEEN = "fleetctl-session";
const THEME = "fleetctl-theme";
/** How often it is looked whether the controller is there, and how long is waited for it. */
const LOOK_MS = 5000;

const part = (id = "") => /** @type {HTMLElement} */ (document.getElementById(id));
const main = part("main");
let visit = new AbortController();
/** Ends with the session. */
let life = new AbortController();
let shown = "";
let place = "";

/** The address: which page, of which name, with what. */
function address() {
	const [route, query] = location.hash.replace(/^#\/?/, "").split("?");
	const [id, name = ""] = route.split("/");
	// As a query it is decoded whatever it is.
	return {id: id || "nodes", name: new URLSearchParams(`n=${name.replaceAll("+", "%2B")}`).get("n") ?? "", query: new URLSearchParams(query)};
}

/** A page's module: one that does not come is a lost connection, and is asked for again. @param {AbortSignal} signal @returns {Promise<any>} */
async function load(file = "", signal) {
	for (let wait = 300; ; wait = Math.min(2 * wait, 15_000)) {
		try {
			const module = await import(file);
			if (wait > 300) link.dispatchEvent(new Event("reachable"));
			return module;
		} catch (error) {
			if (signal.aborted || error instanceof SyntaxError) throw error;
			if (wait > 300) {
				link.dispatchEvent(new Event("unreachable"));
				fill(main, h("p.empty", "This page could not be loaded yet. It comes by itself when the controller answers again."));
			}
			await new Promise(again => {
				setTimeout(again, wait);
				live.onStatus(signal, () => again(0));
			});
			if (signal.aborted) throw error;
		}
	}
}

/** Shows the page of the address. */
async function go() {
	if (!who.session) return;
	const {id, name, query} = address();
	const [, title = "Nothing here", one, role] = PAGES.find(p => p[0] === id) ?? [];
	visit.abort();
	visit = new AbortController();
	const {signal} = visit;
	const place = `${id}/${name}`;
	const isNew = place !== shown;
	shown = place;
	trouble();
	drawNav();
	document.title = `${name && `${name} · `}${title} · fleetctl`;
	try {
		if (one === undefined || (name && !one)) throw new Error("there is no such page");
		if (role && !may(role)) throw new Error(`this page needs the role ${role}`);
		const module = await load(`./pages/${name ? one : id}.js`, signal);
		if (signal.aborted) return;
		fill(main);
		/** @type {Visit} */
		const what = {name, query, signal, main, remember: change => remember(place, change)};
		module.default(what);
	} catch (error) {
		if (signal.aborted) return;
		fill(main, h("h1", "Nothing here"), h("a", {href: "#/nodes"}, "Go to the fleet"));
		const raw = error instanceof TypeError || error instanceof SyntaxError;
		if (raw) console.error(error);
		trouble(raw ? "This page could not be shown. Load it again." : error);
	}
	if (!isNew) return;
	scrollTo({top: 0, behavior: "instant"});
	// A screen reader begins at the new page; nobody is taken out of a field.
	if (document.activeElement === document.body || part("nav").contains(document.activeElement)) main.focus({preventScroll: true});
}

function drawNav() {
	const {id} = address();
	const {items: {length}, more} = firing;
	const number = length > 0 && h("span.number", `${length}${more ? "+" : ""}`, h("span.hidden", " firing"));
	refill(part("nav"), h("ul", PAGES.filter(p => !p[3] || may(p[3])).map(p => h("li", h("a", {href: `#/${p[0]}`, "aria-current": p[0] === id && "page"}, p[1], p[0] === "alerts" && number)))));
	// On a small screen it scrolls sideways.
	const here = part("nav").querySelector("[aria-current]");
	if (here instanceof HTMLElement && place !== id) part("nav").scrollLeft = here.offsetLeft - 40;
	place = id;
}

/** @param {Record<string, string | null>} change */
function remember(place = "", change) {
	const {id, name, query} = address();
	if (place !== `${id}/${name}`) return;
	for (const [key, value] of Object.entries(change)) {
		if (value) query.set(key, value);
		else query.delete(key);
	}
	history.replaceState(null, "", `#/${id}${name && `/${encodeURIComponent(name)}`}${query.size ? `?${query}` : ""}`);
}

function wearTheme(name = localStorage.getItem(THEME) ?? "system") {
	document.documentElement.dataset.theme = name;
	localStorage.setItem(THEME, name);
	document.dispatchEvent(new Event("themechange"));
}

/** Who is signed in, the way out, and the colours. */
function drawAccount() {
	const {session} = who;
	const themes = select([["system", "system"], ["light", "light"], ["dark", "dark"]], localStorage.getItem(THEME), {"aria-label": "Colours", onchange: () => wearTheme(themes.value)});
	fill(part("account"), themes, session && [h("span.person", h("b", session.name), ` ${session.role}`), button("Sign out", signOut, "quiet")]);
}

/** How fresh what is shown is. */
function drawConnection() {
	const {state, since} = live.status;
	const lost = Boolean(who.session) && state === "lost";
	// The stylesheet takes every colour of a state away: never a stale green.
	document.body.classList.toggle("stale", lost);
	const banner = part("banner");
	if (lost && banner.hidden) {
		// Said once; the age goes on for the eye alone.
		fill(banner, h("b", `Not connected since ${atTime(since)}`), h("span", {"aria-hidden": "true"}, " (", ago(since), " ago)"), ". What is shown is as it was then, and may have changed. ", button("Try now", live.start, "quiet"));
	}
	banner.hidden = !lost;
	const connection = part("connection");
	connection.className = `connection ${state}`;
	const text = who.session ? (lost ? "stale" : state) : "";
	if (connection.textContent !== text) connection.textContent = text;
}

/** @param {Session} session */
function signedIn(session) {
	who.session = session;
	localStorage.setItem(SEEN, "1");
	document.body.classList.remove("signed-out");
	shown = "";
	drawAccount();
	live.start();
	life.abort();
	life = new AbortController();
	watchAlerts(life.signal);
	go();
}

/** @param {string} [why] */
function signedOut(why) {
	visit.abort();
	life.abort();
	who.session = null;
	live.stop();
	document.body.classList.add("signed-out");
	document.title = "Sign in · fleetctl";
	fill(part("nav"));
	trouble();
	drawAccount();
	drawConnection();
	signIn(main, signedIn, why);
}

async function signOut() {
	await send("DELETE", "/session").catch(() => {});
	localStorage.removeItem(SEEN);
	// Nothing of what was seen stays in the memory of the page.
	location.reload();
}

async function begin() {
	wearTheme();
	drawAccount();
	try {
		// Where nobody has signed in, a question would only be refused.
		if (!localStorage.getItem(SEEN)) return signedOut();
		signedIn(await get("/session"));
	} catch (error) {
		signedOut(error instanceof Problem && error.status === 401 ? "" : error instanceof Error ? error.message : "");
	}
}

addEventListener("hashchange", go);
part("skip").addEventListener("click", e => {
	// The address belongs to the pages.
	e.preventDefault();
	main.focus();
});
link.addEventListener("signedout", () => who.session && signedOut("The session has ended. Sign in again, and this page comes back."));
live.onStatus(undefined, drawConnection);
onFiring(undefined, () => who.session && drawNav());
setInterval(() => {
	tick();
	drawConnection();
}, 1000);
// A stream that is silent tells nothing: whether somebody is there, and the session still valid.
const look = () => who.session && !document.hidden && get("/session", LOOK_MS).then(s => (who.session &&= s), () => {});
setInterval(look, LOOK_MS);
document.addEventListener("visibilitychange", look);
begin();
