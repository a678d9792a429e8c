/* One device of a router: who it is, what it moved, and by which services. */

import { h, bytes, both, count, percent, time, instant, zoneName, dot, named, table, choice, throttle, share, Panel } from './dom.js';
import { chart } from './chart.js';
import { routerName } from './fleet.js';
import { SPANS, crumbs, deviceName, downloads, renamable, spanOf, staleness } from './router.js';

const PUSHES = 15_000;

export function device(context, id, mac) {
	const { relay, signal, follow } = context;
	const state = { days: 7, router: null, editing: false };
	let titled = () => {};
	const place = h('span'), query = { routerId: id };
	const head = new Panel('Device', { id: 'device', kind: 'heading' });
	const usage = new Panel('Usage', { id: 'usage' }, choice('Time', SPANS, state.days, n => { state.days = n; usage.show(); loadUsage(); }));
	usage.element.append(downloads(relay, signal, id, () => state.days, { mac }));
	const services = new Panel('Services', { id: 'services' });

	/* Of a router that is offline the relay knows the devices, not their services. */
	const ask = async () => {
		try {
			return await relay.get('/api/device-usage/device/' + encodeURIComponent(mac), query, signal);
		} catch (error) {
			if (error.code != 'ROUTER_OFFLINE')
				throw error;
			const { data, meta } = await relay.get('/api/device-usage/current', query, signal);
			const found = data.devices.find(d => d.mac == mac);
			if (!found)
				throw error;
			return { data: { ...data, device: found, services: null }, meta };
		}
	};

	function loadHead() {
		const asked = ask();
		head.load(signal, () => asked, ({ data, meta }) => {
			const d = data.device;
			titled(deviceName(d));
			if (state.editing)
				return;
			const facts = [ [ 'MAC', d.mac + (d.randomized ? ' (random)' : '') ], [ 'Addresses', (d.ips?.length ? d.ips : [ d.ip ]).filter(x => x).join(', ') ], [ 'Own name', d.hostname ],
				[ 'Vendor', d.vendor ], [ 'Category', d.category ], [ 'Group', d.group ], [ 'Last seen', d.last_seen && instant(d.last_seen) ] ];
			head.show(
				h('h1', {}, renamable(context, id, d, {
					show: () => [ dot(d.online && !meta.stale ? 'good' : '', d.online ? 'there now' : 'away'), named(deviceName(d)) ],
					editing: now => { state.editing = now; },
					renamed: loadHead
				})),
				staleness(meta),
				h('dl', { class: 'facts' }, facts.filter(([ , v ]) => v).map(([ k, v ]) => h('div', {}, h('dt', {}, k), h('dd', {}, named(v))))));
		});
		services.load(signal, () => asked, ({ data, meta }) => {
			const d = data.device, list = data.services;
			const since = data.period ? ` since the ${data.period}, the start of nlbwmon's period` : '';
			const intro = h('p', { class: 'quiet' }, `${bytes(d.total_bytes)}${since}: ${both(d.bytes_rx, d.bytes_tx)}, ${count(d.connections)} connections`, data.as_of && [ '; counted up to ', time(data.as_of) ]);
			if (!list) {
				services.show(staleness(meta), intro, h('p', { class: 'empty' }, 'Its services are asked of the router, when it is online again.'));
				return;
			}
			const part = v => d.total_bytes ? 100 * v.total_bytes / d.total_bytes : 0;
			services.show(intro, list.length ? table('Services', [
				{ title: 'Service', cell: v => [ named(v.service), v.port ? h('small', {}, ` port ${v.port}`) : '' ] },
				{ title: 'Down', num: true, cell: v => bytes(v.bytes_rx) },
				{ title: 'Up', num: true, cell: v => bytes(v.bytes_tx) },
				{ title: 'Total', num: true, cell: v => bytes(v.total_bytes) },
				{ title: 'Connections', num: true, cell: v => count(v.connections) },
				{ title: 'Share', cell: v => [ percent(part(v)), share(part(v)) ] }
			], list) : h('p', { class: 'empty' }, 'It used no service yet.'),
				data.total_services > list.length && h('p', { class: 'quiet' }, `${count(list.length)} of ${count(data.total_services)} services, the largest.`));
		});
	}

	const loadUsage = () => usage.load(signal, () => relay.get('/api/device-usage/history', { ...query, mac, days: state.days, resolution: state.days == 1 ? '1h' : '1d' }, signal), ({ data: past, meta }) => {
		const sum = past.buckets.reduce((s, b) => ({ rx: s.rx + b.bytes_rx, tx: s.tx + b.bytes_tx }), { rx: 0, tx: 0 });
		if (!past.buckets.length) {
			usage.show(staleness(meta), h('p', { class: 'empty' }, 'It moved nothing in this time.'));
			return;
		}
		usage.show(staleness(meta),
			h('p', { class: 'total' }, h('strong', {}, bytes(sum.rx + sum.tx)), ' ', both(sum.rx, sum.tx),
				h('small', {}, ` by the router's own ${state.days == 1 ? 'hours' : 'days'}, ${zoneName(state.router?.timezone, past.from)}`)),
			chart('Usage over time', spanOf(state.days, past), state.days == 1 ? 'Hour' : 'Day'));
	});

	/* The router's name and zone, for what is written of its days. */
	const loadPlace = () => relay.get('/api/routers/' + id, {}, signal).then(({ data }) => {
		state.router = data;
		place.replaceChildren(h('a', { href: '#/router/' + id }, named(routerName(data))));
	}, () => {}); // what is asked next says why

	const all = () => loadPlace().then(() => { if (!signal.aborted) { loadHead(); loadUsage(); } });
	const pushes = throttle(PUSHES, signal, all);
	let opened = false;
	follow(query, name => {
		if (name == 'online' || name == 'offline')
			all();
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
		element: h('div', {}, crumbs(h('a', { href: '#/' }, 'Fleet'), place), head.element, usage.element, services.element),
		refresh: all,
		titled: f => { titled = f; }
	};
}
