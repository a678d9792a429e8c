/* The fleet: what all routers come to, and the list of them. */

import { h, bytes, both, count, percent, time, dot, share, named, table, pager, choice, throttle, Panel } from './dom.js';
import { chart, days } from './chart.js';

/* Rows of the list on a page, and of the largest routers and devices. */
const PAGE = 25, TOP = 10;

/* How soon after an event the fleet is looked at again: a large one tells of
   hundreds a second. */
const LINKS = 1000, PUSHES = 15_000;

export const routerName = r => r.name || (r.id || r.router_id).slice(0, 12);

export const away = name => h('a', { href: '#/router/' + name.id }, named(name.text));

/* Whether a router counts rightly, and if not why, and what cures it. */
export function counting(c, at) {
	if (!c)
		return h('span', { class: 'quiet' }, 'not said yet');
	const accuracy = c.accuracy === null || c.accuracy === undefined ? null : `${(100 * c.accuracy).toFixed(1)}\u00a0% of what the WAN moved`;
	const word = [ dot(c.ok ? 'good' : 'warn', c.ok ? 'counts rightly, as far as it knows' : 'counts wrongly'), c.ok ? 'no fault known' : 'wrong' ];
	if (!c.reasons?.length)
		return h('span', { title: accuracy }, word);
	return h('details', { class: 'why' }, h('summary', {}, word, accuracy && h('small', {}, ' ' + accuracy)), findings(c),
		at && h('p', { class: 'quiet' }, 'As it said ', time(at, true), '.'));
}

export const findings = c => h('ul', { class: 'findings' }, (c.reasons || []).map(r => h('li', { class: c.ok ? '' : 'warn', 'data-finding': r.id },
	h('p', {}, r.text), r.cure && h('p', {}, 'Cure: ', h('code', {}, r.cure)))));

export function tile(title, figure, ...notes) {
	return h('div', { class: 'tile' }, h('h2', {}, title), h('p', { class: 'figure' }, figure),
		notes.filter(n => n).map(n => h('p', { class: 'quiet' }, n)));
}

/* A list of the largest, with their part of all. */
export const largest = (title, rows) => h('ol', { class: 'largest', 'aria-label': title }, rows.map(r => h('li', {},
	h('div', { class: 'line' }, h('span', {}, r.name, r.note && h('small', {}, ' ', r.note)),
		h('span', { class: 'num', title: both(r.rx, r.tx) }, bytes(r.total), h('small', {}, ' ', percent(r.part)))), share(r.part))));

export function fleet({ relay, signal, say, follow }) {
	const state = { offset: 0, sort: 'name', online: '', counting: '', name: '', days: 7 };
	const tiles = new Panel('The fleet today', { id: 'sums', kind: 'tiles' });
	const list = new Panel('Routers', { id: 'routers' });
	const spans = choice('Time', [ [ 7, '7 days' ], [ 30, '30 days' ] ], state.days, n => { state.days = n; span.show(); loadSpan(); });
	const span = new Panel('Usage', { id: 'span' }, spans);

	const filter = (name, value) => {
		state[name] = value;
		state.offset = 0;
		for (const select of form.querySelectorAll('select'))
			select.value = state[select.name];
		loadList();
	};
	const select = (name, label, options) => h('label', {}, h('span', {}, label),
		h('select', { name, onchange: e => filter(name, e.target.value) }, options.map(([ value, text ]) => h('option', { value }, text))));
	let typing = 0;
	const form = h('form', { class: 'filter', role: 'search', onsubmit: e => e.preventDefault() },
		h('label', {}, h('span', {}, 'Name'), h('input', { type: 'search', name: 'name', maxlength: 63, placeholder: 'any', oninput: e => {
			clearTimeout(typing);
			typing = setTimeout(() => filter('name', e.target.value.trim()), 250);
		} })),
		select('online', 'Link', [ [ '', 'any' ], [ 'true', 'online' ], [ 'false', 'offline' ] ]),
		select('counting', 'Counting', [ [ '', 'any' ], [ 'ok', 'no fault known' ], [ 'broken', 'wrong' ], [ 'unknown', 'not said yet' ] ]),
		select('sort', 'Sort by', [ [ 'name', 'name' ], [ 'last_seen', 'last seen' ], [ 'enrolled_at', 'newest' ] ]));
	list.element.insertBefore(form, list.body);

	const only = (name, value, text) => h('button', { type: 'button', class: 'link', 'data-focus': `only-${name}-${value}`, onclick: () => {
		filter(name, value);
		list.element.scrollIntoView({ block: 'start' });
	} }, text);

	/* The fleet's sums take a while the first time, and go on where they were. */
	const sums = (query, late) => relay.get('/api/fleet/summary', query, signal).catch(error => {
		if (error.code != 'ROUTER_TIMEOUT' || late())
			throw error;
		return sums(query, late);
	});

	const loadTiles = () => tiles.load(signal, async late => {
		try {
			return { sum: (await sums({ days: 1, limit: TOP }, late)).data };
		} catch (error) {
			if (error.code != 'NO_HISTORY')
				throw error;
			const total = async query => (await relay.get('/api/routers', { ...query, limit: 1 }, signal)).data.total;
			return { total_routers: await total({}), online: await total({ online: true }) };
		}
	}, answer => {
		const s = answer.sum || answer, offline = s.total_routers - s.online;
		tiles.show(
			tile('Routers online', [ dot(offline ? 'warn' : s.online ? 'good' : '', ''), `${count(s.online)} of ${count(s.total_routers)}` ],
				offline ? only('online', 'false', `${count(offline)} offline`) : s.total_routers ? 'none is offline' : 'none is enrolled'),
			answer.sum && tile('Today', bytes(s.total_bytes), both(s.bytes_rx, s.bytes_tx), s.sums_as_of && [ 'as of ', time(s.sums_as_of, true) ]),
			answer.sum && tile('Counting', [ dot(s.total_broken ? 'bad' : s.total_routers > s.total_counting_unknown ? 'good' : '', ''),
				s.total_broken ? `${count(s.total_broken)} wrong` : s.total_routers > s.total_counting_unknown ? 'no fault known' : 'not said yet' ],
				s.total_broken ? only('counting', 'broken', 'which, and why') : null,
				s.total_counting_unknown ? only('counting', 'unknown', `${count(s.total_counting_unknown)} have not said yet`) : null),
			!answer.sum && tile('Usage', '–', 'This relay keeps no history.'));
	});

	const loadSpan = () => span.load(signal, late => sums({ days: state.days, limit: TOP }, late).catch(error => {
		if (error.code != 'NO_HISTORY')
			throw error;
		return { data: null };
	}), ({ data: s }) => {
		if (!s) {
			span.show(h('p', { class: 'empty' }, 'This relay keeps no history, so it has no sums of its routers. Each router\'s own page asks that router.'));
			return;
		}
		if (!s.total_bytes) {
			span.show(h('p', { class: 'empty' }, s.total_routers ? 'Nothing was counted in these days yet. Routers send what they counted every minute.' : 'There is no router to count.'));
			return;
		}
		const totals = new Map(s.daily_totals.map(t => [ t.date, t ]));
		const today = [ ...totals.keys(), s.timestamp.slice(0, 10) ].sort().pop();
		const first = new Date(Date.parse(today) - (s.period_days - 1) * 86_400_000).toISOString().slice(0, 10);
		span.show(
			h('p', { class: 'total' }, h('strong', {}, bytes(s.total_bytes)), ' ', both(s.bytes_rx, s.bytes_tx),
				h('small', {}, ` of ${count(s.routers_with_history)} routers, each by the days of its own zone`)),
			chart('Usage by day', days(first, s.period_days, totals), 'Day'),
			h('div', { class: 'two' },
				h('div', {}, h('h3', {}, 'Largest devices'), largest('Largest devices', s.top_devices.map(d => ({
					name: h('a', { href: `#/router/${d.router_id}/${d.mac}` }, named(d.alias || d.hostname || d.mac)),
					note: named(d.router_name || d.router_id.slice(0, 12)), rx: d.bytes_rx, tx: d.bytes_tx, total: d.total_bytes, part: d.percentage })))),
				h('div', {}, h('h3', {}, 'Largest routers'), largest('Largest routers', s.top_routers.map(r => ({
					name: away({ id: r.router_id, text: routerName(r) }), note: r.online ? '' : 'offline',
					rx: r.bytes_rx, tx: r.bytes_tx, total: r.total_bytes, part: r.percentage }))))));
	});

	const columns = [
		{ title: 'Router', sort: 'name', order: 'ascending', cell: r => [ dot(r.online ? 'good' : '', r.online ? 'online' : 'offline'),
			away({ id: r.id, text: routerName(r) }), r.revoked_at && h('small', { class: 'badge' }, 'revoked'),
			h('small', { class: 'under' }, r.id.slice(0, 12), r.model && [ ' · ', named(r.model) ]) ] },
		{ title: 'Last seen', sort: 'last_seen', cell: r => r.online ? [ 'online', r.connected_since && h('small', { class: 'under' }, 'since ', time(r.connected_since)) ]
			: [ time(r.last_seen, true), h('small', { class: 'under' }, 'offline') ] },
		{ title: 'Agent', cell: r => r.agent_version ? named(r.agent_version) : '–' },
		{ title: 'Counting', cell: r => counting(r.counting, r.counting_at) },
		{ title: 'Today', num: true, cell: r => r.usage ? [ h('span', { title: both(r.usage.bytes_rx, r.usage.bytes_tx) }, bytes(r.usage.total_bytes)),
			h('small', { class: 'under' }, both(r.usage.bytes_rx, r.usage.bytes_tx)) ] : '–' }
	];

	const loadList = () => list.load(signal, () => relay.get('/api/routers', {
		limit: PAGE, offset: state.offset, sort: state.sort, online: state.online, counting: state.counting, name: state.name, days: 1
	}, signal), ({ data }) => {
		if (!data.routers.length && data.total && state.offset) { // the list became shorter
			state.offset = 0;
			loadList();
			return;
		}
		const filtered = state.name || state.online || state.counting;
		if (!data.routers.length) {
			list.show(h('p', { class: 'empty' }, filtered ? 'No router is like that.' : [ 'No router is enrolled that this key may see. A router is enrolled with ',
				h('code', {}, 'netpilot-relay enrolment create'), ' here and ', h('code', {}, 'netpilot-agent enroll'), ' there.' ]));
			say(filtered ? 'No router is like that.' : '');
			return;
		}
		list.show(
			table('Routers', columns, data.routers, { sorted: state.sort, onsort: sort => filter('sort', sort), attrs: r => ({ 'data-router': r.id }) }),
			pager(data.offset, data.routers.length, data.total, PAGE, offset => { state.offset = offset; loadList(); }));
		if (filtered)
			say(`${count(data.total)} routers`);
	});

	const links = throttle(LINKS, signal, () => { loadTiles(); loadList(); });
	const all = () => { loadTiles(); loadSpan(); loadList(); };
	const pushes = throttle(PUSHES, signal, all);
	let opened = false;
	follow({}, name => {
		if (name == 'online' || name == 'offline')
			links();
		else if (name == 'usage' || name == 'lost')
			pushes();
		else if (name == 'hello') {
			if (opened)
				all();
			opened = true;
		}
	});
	all();
	return {
		element: h('div', {}, h('h1', { class: 'unseen' }, 'Fleet'), tiles.element, span.element, list.element),
		refresh: all,
		titled: () => {}
	};
}
