/** A page that is one table: its data kept fresh, its order in the address. */

import {watch} from "../data.js";
import {fill, h} from "../ui/dom.js";
import {table} from "../ui/table.js";

/**
 * @template T
 * @param {Visit} visit
 * @param {ListPage<T>} page
 * draws what was loaded anew
 */
export function listPage({main, query, signal, remember}, {sort, above, load, rows = all => all, wants = e => Boolean(e.workload), every, ...spec}) {
	const grid = table({...spec, sort: query.get("sort") ?? sort, onsort: s => remember({sort: s === sort ? null : s})});
	/** @type {any} */
	let data = null;
	const show = () => data && (grid.rows = rows(data));
	fill(main, h("h1", spec.label), above, grid);
	watch(signal, load, d => {
		data = d;
		show();
	}, {wants, every});
	return show;
}
