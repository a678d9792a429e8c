/* Bars of what was moved in slots of time: down below, up on top of it. */

import { h, svg, bytes } from './dom.js';

const HEIGHT = 220, TOP = 12, BOTTOM = 26, LEFT = 68, RIGHT = 4, HOUR = 3_600_000;

/* The step of a scale of at most four: 1, 2 or 5 times a power of ten, of the
   unit that the largest value has. */
function step(most) {
	let unit = 1;
	while (most / unit >= 1024)
		unit *= 1024;
	const raw = most / unit / 4, power = Math.pow(10, Math.floor(Math.log10(raw)));
	return Math.max([ 1, 2, 5, 10 ].find(f => f * power >= raw * 0.9999) * power * unit, 1);
}

const describe = slot => `${slot.name}: ${bytes(slot.rx)} down, ${bytes(slot.tx)} up` + (slot.gap ? ', part of it was not counted' : '');

function draw(slots, width, title, point) {
	const most = Math.max(...slots.map(s => s.rx + s.tx), 1);
	const by = step(most), top = Math.ceil(most / by) * by;
	const y = v => TOP + (HEIGHT - TOP - BOTTOM) * (1 - v / top);
	const pitch = (width - LEFT - RIGHT) / slots.length, bar = Math.max(Math.min(pitch * 0.7, 44), 1), each = Math.ceil(46 / pitch);
	const root = svg('svg', { class: 'chart', width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: 'img', 'aria-label': title });
	for (let v = 0; v <= top * 1.0001; v += by)
		root.append(
			svg('line', { class: 'grid', x1: LEFT, x2: width - RIGHT, y1: y(v), y2: y(v) }),
			svg('text', { class: 'tick', x: LEFT - 8, y: y(v) + 4, 'text-anchor': 'end' }, bytes(v)));
	slots.forEach((slot, i) => {
		const left = LEFT + pitch * i, x = left + (pitch - bar) / 2;
		root.append(svg('g', { class: 'slot', onpointerenter: () => point(slot), onclick: () => point(slot), onpointerleave: () => point(null) },
			svg('title', {}, describe(slot)),
			svg('rect', { class: 'hit', x: left, y: TOP, width: pitch, height: HEIGHT - TOP - BOTTOM }),
			svg('rect', { class: 'down', x, y: y(slot.rx), width: bar, height: Math.max(y(0) - y(slot.rx), 0) }),
			svg('rect', { class: 'up', x, y: y(slot.rx + slot.tx), width: bar, height: Math.max(y(slot.rx) - y(slot.rx + slot.tx), 0) }),
			slot.gap && svg('rect', { class: 'gap', x: left, y: y(0) + 1, width: pitch, height: 4 }),
			i % each == 0 && svg('text', { class: 'tick', x: left + pitch / 2, y: HEIGHT - 6, 'text-anchor': 'middle' }, slot.label)));
	});
	return root;
}

/* A chart as wide as there is room, and the same numbers as a table.
   slots: { label, name, rx, tx, gap } in order of time. */
export function chart(title, slots, unit) {
	const caption = h('span', { class: 'caption' }), frame = h('div', { class: 'frame' });
	let drawn = 0;
	new ResizeObserver(() => {
		const width = Math.floor(frame.clientWidth);
		if (width < 100 || width == drawn)
			return;
		drawn = width;
		frame.replaceChildren(draw(slots, width, title, slot => { caption.textContent = slot ? describe(slot) : ''; }));
	}).observe(frame);
	const gaps = slots.some(s => s.gap);
	return h('div', {}, frame,
		h('div', { class: 'legend' },
			h('span', { class: 'swatch down' }), 'Down', h('span', { class: 'swatch up' }), 'Up',
			gaps && [ h('span', { class: 'swatch gap' }), 'Part of it was not counted' ], caption),
		h('details', { class: 'numbers' }, h('summary', {}, 'The numbers'),
			h('table', {}, h('caption', { class: 'unseen' }, title),
				h('thead', {}, h('tr', {}, [ unit, 'Down', 'Up' ].map((t, i) => h('th', { scope: 'col', class: i ? 'num' : null }, t)))),
				h('tbody', {}, slots.map(s => h('tr', { 'data-slot': s.label },
					h('th', { scope: 'row', 'data-title': unit }, s.name + (s.gap ? ' (part of it was not counted)' : '')),
					h('td', { class: 'num', 'data-title': 'Down' }, bytes(s.rx)),
					h('td', { class: 'num', 'data-title': 'Up' }, bytes(s.tx))))))));
}

const minutes = stamp => {
	const m = /([+-])(\d\d):(\d\d)$/.exec(stamp);
	return m ? (m[1] == '-' ? -1 : 1) * (60 * m[2] + Number(m[3])) : 0;
};

/* What the router's clock showed at an instant, as if its zone were UTC: days
   then have 24 hours. Only the stamps of an answer, in order of time, know the
   zone's offset, which changes when clocks are set. */
function clockOf(stamps) {
	const known = stamps.map(stamp => [ Date.parse(stamp), minutes(stamp) * 60_000 ]);
	return text => {
		const at = Date.parse(text);
		let offset = known[0][1];
		for (const [ from, then ] of known)
			if (from <= at)
				offset = then;
		return at + offset;
	};
}

/* Marks the slots of which something was not counted. */
function gaps(slots, list, clock) {
	for (const gap of list || [])
		for (const slot of slots)
			slot.gap ||= clock(gap.from) < slot.at + slot.length && clock(gap.to) > slot.at;
	return slots;
}

const stamps = history => [ history.from, ...history.buckets.map(b => b.start) ];

/* The hours of a day, of a history by the hour since midnight, as the router's
   clock showed them: the hour that it shows twice in autumn is one bar, and the
   one that it leaves out in spring stays empty. */
export function hours(history) {
	const slots = [], wall = clockOf(stamps(history)), from = wall(history.from);
	for (let i = 0; i < 24; i++) {
		const name = String(i).padStart(2, '0') + ':00';
		slots.push({ at: from + i * HOUR, length: HOUR, label: name, name, rx: 0, tx: 0 });
	}
	for (const bucket of history.buckets) {
		const slot = slots[new Date(wall(bucket.start)).getUTCHours()];
		slot.rx += bucket.bytes_rx;
		slot.tx += bucket.bytes_tx;
	}
	return gaps(slots, history.gaps, wall);
}

/* The n days from a date on, of totals by date. */
export function days(first, n, totals) {
	const start = Date.parse(first + 'T00:00:00Z'), slots = [];
	for (let i = 0; i < n; i++) {
		const day = new Date(start + i * 24 * HOUR), total = totals.get(day.toISOString().slice(0, 10));
		slots.push({
			at: day.getTime(), length: 24 * HOUR,
			label: day.toLocaleDateString([], { timeZone: 'UTC', day: 'numeric', month: 'numeric' }),
			name: day.toLocaleDateString([], { timeZone: 'UTC', weekday: 'short', day: 'numeric', month: 'short' }),
			rx: total ? total.bytes_rx : 0, tx: total ? total.bytes_tx : 0
		});
	}
	return slots;
}

/* The n days of a history by the day. */
export function daysOf(n, history) {
	const totals = new Map();
	for (const b of history.buckets) {
		const date = b.start.slice(0, 10), day = totals.get(date) || { bytes_rx: 0, bytes_tx: 0 };
		day.bytes_rx += b.bytes_rx;
		day.bytes_tx += b.bytes_tx;
		totals.set(date, day);
	}
	/* Midnights by the offset of the day; the last day has the hours that it has. */
	const slots = days(history.from.slice(0, 10), n, totals), said = stamps(history);
	slots.forEach(slot => { slot.at -= 60_000 * minutes(said.findLast(stamp => Date.parse(stamp.slice(0, 10)) <= slot.at) || history.from); });
	slots.forEach((slot, i) => { slot.length = i + 1 < n ? slots[i + 1].at - slot.at : slot.length; });
	return gaps(slots, history.gaps, Date.parse);
}
