/* One router: its link, whether it counts rightly, who used what, and who does now. */

import { h, bytes, both, rate, count, time, instant, zoneName, dot, named, table, pager, choice, throttle, problem, Panel } from './dom.js';
import { chart, hours, daysOf } from './chart.js';
import { findings, tile, largest, routerName } from './fleet.js';

export const SPANS = [ [ 1, 'Today' ], [ 7, '7 days' ], [ 30, '30 days' ] ];

const PAGE = 50, TOP = 10, PUSHES = 15_000;

export const deviceName = d => String(d.alias || d.hostname || d.vendor || d.mac);

/* Says of an answer how old it is, where that is not now. */
export const staleness = meta => meta.stale && h('p', { class: 'note warn', 'data-stale': true },
	'The router cannot be reached. This is what it said last, ', time(meta.asOf, true), ': ', h('span', {}, instant(meta.asOf)), '.');

/* The way back. */
export const crumbs = (...links) => h('nav', { class: 'crumbs', 'aria-label': 'Back' }, links.map((link, i) => [ i ? ' / ' : '← ', link ]));

/* A button that has a file made and gives it to the browser's downloads. */
function download(relay, signal, said, title, name, path, query) {
	return h('button', { type: 'button', 'data-file': name, onclick: async event => {
		const button = event.currentTarget;
		button.disabled = true;
		said.replaceChildren(h('p', { class: 'quiet' }, 'Making the file…'));
		try {
			const file = await relay.file(path, query(), signal);
			const url = URL.createObjectURL(file.blob);
			h('a', { href: url, download: file.name || name }).click();
			setTimeout(() => URL.revokeObjectURL(url), 60_000); // the download has begun by then
			said.replaceChildren(h('p', { class: 'quiet' }, `${file.name || name}: ${bytes(file.blob.size)}.`));
		} catch (error) {
			if (!signal.aborted)
				said.replaceChildren(problem(error));
		}
		button.disabled = false;
	} }, title);
}

/* What there is to download of a span. */
export function downloads(relay, signal, id, span, query = {}) {
	const said = h('div', { role: 'status' });
	const ask = more => () => ({ routerId: id, days: span(), ...query, ...more });
	const file = kind => `usage-${id.slice(0, 12)}.${kind}`;
	const whole = !query.mac; // a report is of all devices
	return h('div', { class: 'files' }, h('span', {}, 'Download'),
		download(relay, signal, said, 'CSV', file('csv'), '/api/device-usage/export', ask({ format: 'csv' })),
		download(relay, signal, said, 'JSON', file('json'), '/api/device-usage/export', ask({ format: 'json' })),
		whole && download(relay, signal, said, 'Report', file('html'), '/api/device-usage/report', ask({ format: 'html' })),
		whole && download(relay, signal, said, 'Report as Markdown', file('md'), '/api/device-usage/report', ask({ format: 'md' })), said);
}

/* The name of a device, which a press of a button makes a field: Enter saves,
   Escape leaves it. An empty name gives the device its own one back. */
export function renamable({ relay, me, signal, say }, id, device, { show, editing, renamed }) {
	const cell = h('div', { class: 'name' });
	const rest = () => {
		editing(false);
		cell.replaceChildren(...show(device), h('button', { type: 'button', class: 'link', 'data-focus': 'rename-' + device.mac, 'aria-label': 'Rename ' + deviceName(device), onclick: edit }, 'Rename'));
	};
	const edit = () => {
		if (me.scope == 'read') {
			cell.querySelector('.note')?.remove();
			cell.append(h('p', { class: 'note warn', role: 'alert' }, `The key ${me.name} may only read. Renaming needs one of scope write: `, h('code', {}, 'netpilot-relay key create --scope write')));
			return;
		}
		editing(true);
		const input = h('input', { type: 'text', maxlength: 63, 'aria-label': 'Name of ' + device.mac, placeholder: device.hostname || device.mac });
		input.value = device.alias || '';
		const save = h('button', { class: 'main' }, 'Save'), cancel = h('button', { type: 'button', onclick: () => leave() }, 'Cancel');
		const trouble = h('div');
		const leave = () => {
			rest();
			cell.querySelector('button').focus();
		};
		const form = h('form', { class: 'rename', onkeydown: e => { if (e.key == 'Escape') leave(); }, onsubmit: async e => {
			e.preventDefault();
			save.disabled = input.disabled = true;
			try {
				const { data } = await relay.put('/api/device-usage/device/' + encodeURIComponent(device.mac), { routerId: id }, { alias: input.value.trim() || null }, signal);
				Object.assign(device, { alias: data.device.alias, hostname: data.device.hostname });
				leave();
				say(`It is called ${deviceName(device)} now.`);
				renamed();
			} catch (error) {
				if (signal.aborted)
					return;
				save.disabled = input.disabled = false;
				trouble.replaceChildren(problem(error));
				input.focus();
			}
		} }, input, save, cancel, trouble);
		cell.replaceChildren(form);
		input.focus();
	};
	rest();
	return cell;
}

/* What is drawn of a span: the hours of a day, or days. */
export const spanOf = (n, history) => n == 1 ? hours(history) : daysOf(n, history);

export function router(context, id) {
	const { relay, signal, say, follow } = context;
	const state = { days: 1, sort: 'total_bytes', filter: '', offset: 0, router: null, current: null, meta: null, editing: false, live: false, rates: null };
	let titled = () => {};
	const head = new Panel('Router', { id: 'router', kind: 'heading' });
	const status = new Panel('State', { id: 'state', kind: 'tiles' });
	const usage = new Panel('Usage', { id: 'usage' }, choice('Time', SPANS, state.days, n => { state.days = n; usage.show(); loadUsage(); }));
	usage.element.append(downloads(relay, signal, id, () => state.days));
	const devices = new Panel('Devices', { id: 'devices' });
	const now = h('div', { class: 'tile', id: 'live' });
	const query = { routerId: id };

	const loadHead = () => head.load(signal, () => relay.get('/api/routers/' + id, {}, signal), ({ data: r }) => {
		state.router = r;
		titled(routerName(r));
		const facts = [
			[ 'Model', r.model ], [ 'OpenWrt', [ r.release, r.arch ].filter(x => x).join(', ') ], [ 'Agent', r.agent_version ],
			[ 'Time zone', r.timezone ], [ 'Enrolled', r.enrolled_at && instant(r.enrolled_at) ], [ 'History here', r.history_as_of ? 'up to ' + instant(r.history_as_of) : 'none' ]
		];
		head.show(
			h('h1', {}, dot(r.online ? 'good' : '', r.online ? 'online' : 'offline'), named(routerName(r)), r.revoked_at && h('small', { class: 'badge' }, 'revoked')),
			h('p', { class: 'quiet' }, r.online ? [ 'Online since ', time(r.connected_since) ] : [ 'Offline, last seen ', time(r.last_seen, true) ], ' · ', h('code', { title: id }, id.slice(0, 12) + '…')),
			!r.online && h('p', { class: 'note warn', id: 'offline' }, r.revoked_at ? 'It was revoked. To let it in again, enrol it with netpilot-agent enroll.'
				: 'It is not connected. What follows is what it said last, and what the relay keeps of its history. On the router, netpilot-agent status says why.'),
			r.clock_sane === false && h('p', { class: 'note warn' }, 'Its clock is not set yet: what it counts waits until it is.'),
			h('dl', { class: 'facts' }, facts.filter(([ , v ]) => v).map(([ k, v ]) => h('div', {}, h('dt', {}, k), h('dd', {}, named(v))))));
		showNow();
	});

	const loadStatus = () => status.load(signal, () => relay.get('/api/device-usage/status', query, signal), ({ data: s, meta }) => {
		const n = s.nlbwmon || {}, c = s.counting, link = s.uplink;
		status.show(
			now,
			tile('Counting', [ dot(!c ? '' : c.ok ? 'good' : 'warn', ''), !c ? 'not known' : c.ok ? 'no fault known' : 'wrong' ],
				c && (c.accuracy === null || c.accuracy === undefined ? 'accuracy not known yet' : `${(100 * c.accuracy).toFixed(1)}\u00a0% of what the WAN moved`)),
			tile('nlbwmon', [ dot(n.ok ? n.full ? 'warn' : 'good' : 'bad', ''), n.ok ? n.full ? 'its table is full' : 'answers' : 'cannot be read' ],
				n.ok ? `${count(n.rows)}${n.limit ? ' of ' + count(n.limit) : ''} rows` + (n.source ? ', by ' + n.source : '') : n.error,
				n.as_of && [ 'read ', time(n.as_of, true), n.refresh_seconds ? `, refreshed every ${n.refresh_seconds}\u00a0s` : '' ]),
			link && tile('Link', [ dot(link.connected && !meta.stale ? 'good' : '', ''), meta.stale ? 'offline' : link.connected ? 'connected' : 'not connected' ],
				link.since && !meta.stale && [ 'since ', time(link.since) ], s.remote_access && 'remote access: ' + s.remote_access),
			staleness(meta),
			c?.reasons?.length && h('div', { class: 'wide', id: 'findings' }, h('h3', {}, 'What it says of its counting'), findings(c)),
			s.warnings?.length && h('ul', { class: 'wide findings' }, s.warnings.map(w => h('li', { class: 'warn' }, String(w)))));
		showNow();
	});

	const loadUsage = () => usage.load(signal, () => Promise.all([
		state.placed, // whose zone it is by
		relay.get('/api/device-usage/summary', { ...query, days: state.days, limit: TOP }, signal),
		relay.get('/api/device-usage/history', { ...query, days: state.days, resolution: state.days == 1 ? '1h' : '1d' }, signal)
	]), ([ , { data: s, meta }, { data: past } ]) => {
		if (!s.total_bytes) {
			usage.show(staleness(meta), h('p', { class: 'empty' }, 'Nothing was counted in this time yet.'));
			return;
		}
		const zone = zoneName(state.router?.timezone, s.from);
		const gap = s.gaps[s.gaps.length - 1];
		usage.show(staleness(meta),
			h('p', { class: 'total' }, h('strong', {}, bytes(s.total_bytes)), ' ', both(s.bytes_rx, s.bytes_tx),
				h('small', {}, ` by the router's own ${state.days == 1 ? 'hours' : 'days'}, ${zone}`)),
			chart('Usage over time', spanOf(state.days, past), state.days == 1 ? 'Hour' : 'Day'),
			gap && h('p', { class: 'quiet' }, `Not counted: ${instant(gap.from)} to ${instant(gap.to)}, `, named(gap.reason), s.gaps.length > 1 && `; ${count(s.gaps.length - 1)} earlier`),
			h('div', { class: 'two' },
				h('div', {}, h('h3', {}, 'Largest devices'), largest('Largest devices', s.top_devices.map(d => ({
					name: h('a', { href: `#/router/${id}/${d.mac}` }, named(deviceName(d))), rx: d.bytes_rx, tx: d.bytes_tx, total: d.total_bytes, part: d.percentage })))),
				h('div', {}, h('h3', {}, 'Largest services'), largest('Largest services', s.top_services.map(v => ({
					name: named(v.service), rx: v.bytes_rx, tx: v.bytes_tx, total: v.total_bytes, part: v.percentage }))))));
	});

	/* All devices in one answer: it is the one the relay keeps for when the router
	   is offline, and who looks for a name looks among all. */
	const loadDevices = () => devices.load(signal, () => relay.get('/api/device-usage/current', query, signal), ({ data, meta }) => {
		state.current = data;
		state.meta = meta;
		showDevices();
	});

	const search = h('form', { class: 'filter', role: 'search', onsubmit: e => e.preventDefault() },
		h('label', {}, h('span', {}, 'Find'), h('input', { type: 'search', placeholder: 'name, address, MAC, vendor, group', oninput: e => {
			state.filter = e.target.value.trim().toLowerCase();
			state.offset = 0;
			showDevices();
		} })));
	devices.element.insertBefore(search, devices.body);

	const columns = [
		{ title: 'Device', sort: 'name', order: 'ascending', cell: d => renamable(context, id, d, {
			show: () => [ dot(d.online ? 'good' : '', d.online === null ? 'not known whether it is there' : d.online ? 'there now' : 'away'),
				h('a', { href: `#/router/${id}/${d.mac}` }, named(deviceName(d))) ],
			editing: now => { state.editing = now; },
			renamed: () => { loadDevices(); loadUsage(); }
		}) },
		{ title: 'Address', cell: d => h('div', { class: 'whole' }, d.ip || '–', h('small', { class: 'under' }, d.mac)) },
		{ title: 'Kind', cell: d => [ named(d.vendor || (d.randomized ? 'random MAC' : '–')), h('small', { class: 'under' }, named([ d.category, d.group ].filter(x => x).join(' · '))) ] },
		{ title: 'Last seen', sort: 'last_seen', cell: d => d.last_seen ? time(d.last_seen, true) : '–' },
		{ title: 'Just now', num: true, sort: 'now', cell: d => {
			const r = state.rates?.get(d.mac);
			return h('span', { class: 'now' }, r ? both(r.rx_bytes_per_second, r.tx_bytes_per_second, rate) : '–');
		} },
		{ title: 'Down', num: true, sort: 'bytes_rx', cell: d => bytes(d.bytes_rx) },
		{ title: 'Up', num: true, sort: 'bytes_tx', cell: d => bytes(d.bytes_tx) },
		{ title: 'Total', num: true, sort: 'total_bytes', cell: d => bytes(d.total_bytes) }
	];

	const speed = d => {
		const r = state.rates?.get(d.mac);
		return r ? r.rx_bytes_per_second + r.tx_bytes_per_second : 0;
	};
	const order = {
		name: (a, b) => deviceName(a).localeCompare(deviceName(b)),
		last_seen: (a, b) => (Date.parse(b.last_seen) || 0) - (Date.parse(a.last_seen) || 0),
		now: (a, b) => speed(b) - speed(a)
	};

	function showDevices() {
		/* A row that somebody is renaming is not taken away from under the hands. */
		if (!state.current || state.editing)
			return;
		const d = state.current, all = d.devices;
		const found = all.filter(x => !state.filter || [ x.alias, x.hostname, x.mac, x.ip, x.vendor, x.group, x.category, ...x.ips || [] ].some(t => t && String(t).toLowerCase().includes(state.filter)))
			.sort((a, b) => (order[state.sort] || ((x, y) => y[state.sort] - x[state.sort]))(a, b) || b.total_bytes - a.total_bytes || (a.mac < b.mac ? -1 : 1));
		state.offset = Math.min(state.offset, Math.floor(Math.max(found.length - 1, 0) / PAGE) * PAGE);
		const rows = found.slice(state.offset, state.offset + PAGE);
		const since = d.reset_at ? [ 'since the reset, ', time(d.reset_at) ] : d.period ? `since the ${d.period}, the start of nlbwmon's period` : '';
		devices.show(staleness(state.meta),
			h('p', { class: 'quiet' }, `${count(d.total_devices)} devices, ${bytes(d.total_bytes)} `, since, d.as_of && [ '; counted up to ', time(d.as_of) ],
				d.total_unresolved ? `; ${count(d.total_unresolved)} addresses are of no known device` : '',
				d.next_offset && `; the first ${count(all.length)} are here`),
			rows.length ? table('Devices', columns, rows, { sorted: state.sort, onsort: sort => { state.sort = sort; state.offset = 0; showDevices(); }, attrs: x => ({ 'data-mac': x.mac }) })
				: h('p', { class: 'empty' }, state.filter ? 'No device is like that.' : 'No device is known yet.'),
			pager(state.offset, rows.length, found.length, PAGE, offset => { state.offset = offset; showDevices(); }));
	}

	/* Rates, from when they are asked for, as long as the page is seen. */
	function showNow() {
		const r = state.live && state.total;
		const title = h('h2', {}, 'Just now');
		const press = h('button', { type: 'button', class: state.live ? '' : 'main', 'data-focus': 'live', 'aria-pressed': String(state.live), disabled: !state.live && state.router && !state.router.online, onclick: () => {
			state.live = !state.live;
			state.rates = state.total = state.broken = null;
			listen();
			showNow();
			showDevices();
		} }, state.live ? 'Stop' : 'Show live rates');
		let figure = '–', note = 'Who uses how much at the moment.';
		if (state.broken) {
			note = state.broken.message;
		} else if (r?.stale) {
			note = 'nlbwmon has not refreshed when it should have.';
		} else if (r?.as_of) {
			figure = both(r.total_rx_bytes_per_second, r.total_tx_bytes_per_second, rate);
			note = [ `mean of the ${Math.round(r.seconds)}\u00a0s until `, time(r.as_of), `; nlbwmon refreshes every ${r.refresh_seconds}\u00a0s` ];
		} else if (r) {
			note = `They come with nlbwmon's second refresh, each ${r.refresh_seconds}\u00a0s.`;
		} else if (state.live) {
			note = 'Asking the router…';
		} else if (state.router && !state.router.online) {
			note = 'They come when the router is online.';
		}
		const held = now.contains(document.activeElement);
		now.replaceChildren(title, h('p', { class: 'figure' }, figure), h('p', { class: 'quiet' }, note), press);
		if (held)
			press.focus({ preventScroll: true });
	}

	const all = () => { state.placed = loadHead(); loadStatus(); loadUsage(); loadDevices(); };
	const pushes = throttle(PUSHES, signal, () => { loadUsage(); loadDevices(); });
	let listening = new AbortController(), opened = false;
	function listen() {
		listening.abort();
		listening = new AbortController();
		const live = state.live && !document.hidden;
		follow({ ...query, live: live || null }, (name, data) => {
			if (name == 'online' || name == 'offline') {
				loadHead();
				loadStatus();
				loadDevices();
				if (name == 'offline' && state.live) {
					state.rates = null;
					state.total = null;
					showNow();
					showDevices();
				}
			} else if (name == 'usage' || name == 'lost')
				pushes();
			else if (name == 'usage.live' && Array.isArray(data.data?.devices)) {
				state.total = data.data;
				state.broken = null;
				state.rates = new Map(data.data.devices.map(d => [ d.mac, d ]));
				showNow();
				showRates();
			} else if (name == 'hello') {
				if (opened)
					all();
				opened = true;
			}
		}, AbortSignal.any([ signal, listening.signal ]), error => {
			if (!live || error.code == 'UNREACHABLE')
				return;
			state.live = false; // the router sends no rates; its other events come without
			state.broken = error;
			listen();
			showNow();
		});
	}

	/* The rates alone change each 2 s. */
	function showRates() {
		if (state.sort == 'now') {
			showDevices();
			return;
		}
		for (const row of devices.body.querySelectorAll('tr[data-mac]')) {
			const r = state.rates?.get(row.dataset.mac), cell = row.querySelector('.now');
			if (cell)
				cell.textContent = r ? both(r.rx_bytes_per_second, r.tx_bytes_per_second, rate) : '–';
		}
	}

	const seen = () => { if (state.live) listen(); };
	document.addEventListener('visibilitychange', seen);
	signal.addEventListener('abort', () => document.removeEventListener('visibilitychange', seen));
	showNow();
	listen();
	all();
	return {
		element: h('div', {}, crumbs(h('a', { href: '#/' }, 'Fleet')), head.element, status.element, usage.element, devices.element),
		refresh: all,
		titled: f => { titled = f; }
	};
}
