'use strict';
'require baseclass';
'require netpilot.agent as agent';

/* Bars of what was moved in slots of time: down below, up on top of it. */

const HEIGHT = 200, TOP = 12, BOTTOM = 26, LEFT = 66, RIGHT = 4;

function svg(tag, attrs, children) {
	const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
	for (const name in attrs)
		node.setAttribute(name, attrs[name]);
	for (const child of children || [])
		node.appendChild(typeof(child) == 'object' ? child : document.createTextNode(child));
	return node;
}

/* The step of a scale of at most four: 1, 2 or 5 times a power of ten, of the
   unit that the largest value has. */
function step(most) {
	let unit = 1;
	while (most / unit >= 1024)
		unit *= 1024;
	const raw = most / unit / 4, power = Math.pow(10, Math.floor(Math.log10(raw)));
	const factor = [ 1, 2, 5, 10 ].find(f => f * power >= raw);
	return Math.max(factor * power * unit, 1);
}

/* What the router's clock showed at a time, as if its zone were UTC: days then
   have 24 hours. The agent writes each time in the router's zone. */
function wall(time) {
	return Date.parse(time.slice(0, 19) + 'Z');
}

function describe(slot) {
	const text = _('%s: %s down, %s up').format(slot.name, agent.bytes(slot.rx), agent.bytes(slot.tx));
	return slot.gap ? '%s, %s'.format(text, _('part of it was not counted')) : text;
}

function draw(slots, width, caption) {
	const most = Math.max(...slots.map(s => s.rx + s.tx), 1);
	const by = step(most), top = Math.ceil(most / by) * by;
	const y = v => TOP + (HEIGHT - TOP - BOTTOM) * (1 - v / top);
	const pitch = (width - LEFT - RIGHT) / slots.length, bar = Math.max(Math.min(pitch * 0.72, 44), 1);
	const each = Math.ceil(46 / pitch);
	const root = svg('svg', { width, height: HEIGHT, viewBox: '0 0 %s %s'.format(width, HEIGHT), role: 'img', 'class': 'np-chart' },
		[ svg('title', {}, [ _('Usage over time') ]) ]);

	for (let v = 0; v <= top; v += by) {
		root.appendChild(svg('line', { 'class': 'np-grid', x1: LEFT, x2: width - RIGHT, y1: y(v), y2: y(v) }));
		root.appendChild(svg('text', { 'class': 'np-tick', x: LEFT - 8, y: y(v) + 4, 'text-anchor': 'end' }, [ agent.bytes(v) ]));
	}
	slots.forEach((slot, i) => {
		const x = LEFT + pitch * i + (pitch - bar) / 2;
		const group = svg('g', { 'class': 'np-slot' }, [
			svg('title', {}, [ describe(slot) ]),
			svg('rect', { 'class': 'np-hit', x: LEFT + pitch * i, y: TOP, width: pitch, height: HEIGHT - TOP - BOTTOM }),
			svg('rect', { 'class': 'np-down', x, y: y(slot.rx), width: bar, height: Math.max(y(0) - y(slot.rx), 0) }),
			svg('rect', { 'class': 'np-up', x, y: y(slot.rx + slot.tx), width: bar, height: Math.max(y(slot.rx) - y(slot.rx + slot.tx), 0) })
		]);
		if (slot.gap)
			group.appendChild(svg('rect', { 'class': 'np-gap', x: LEFT + pitch * i, y: y(0) + 1, width: pitch, height: 4 }));
		if (i % each == 0)
			group.appendChild(svg('text', { 'class': 'np-tick', x: LEFT + pitch * (i + 0.5), y: HEIGHT - 6, 'text-anchor': 'middle' }, [ slot.label ]));
		for (const event of [ 'pointerenter', 'click' ])
			group.addEventListener(event, () => { caption.textContent = describe(slot); });
		root.appendChild(group);
	});
	return root;
}

return baseclass.extend({
	/* slots: [{ label, name, rx, tx, gap }] in order of time. */
	render(slots) {
		const caption = E('div', { 'class': 'np-caption', 'aria-live': 'polite' }, [ ' ' ]);
		const frame = E('div', { 'class': 'np-frame' }, []);
		let drawn = 0;
		const fit = () => {
			const width = Math.floor(frame.clientWidth);
			if (width < 100 || width == drawn)
				return;
			drawn = width;
			frame.replaceChildren(draw(slots, width, caption));
		};
		new ResizeObserver(fit).observe(frame);
		return E('div', {}, [
			frame,
			E('div', { 'class': 'np-legend' }, [
				E('span', { 'class': 'np-key np-key-down' }, []), _('Down'),
				E('span', { 'class': 'np-key np-key-up' }, []), _('Up'),
				slots.some(s => s.gap) ? E('span', { 'class': 'np-key np-key-gap' }, []) : '',
				slots.some(s => s.gap) ? _('Part of it was not counted') : '',
				caption
			])
		]);
	},

	/* The hours of a day from the history since midnight, as the router's
	   clock shows them: the hour that it shows twice in autumn is one bar, and
	   the one that it leaves out in spring stays empty. */
	hours(history) {
		const from = wall(history.from), slots = [];
		for (let i = 0; i < 24; i++)
			slots.push({ at: from + i * 3600000, end: from + (i + 1) * 3600000, label: '%s:00'.format(i), name: '%s:00'.format(i), rx: 0, tx: 0 });
		for (const bucket of history.buckets) {
			const slot = slots[new Date(wall(bucket.start)).getUTCHours()];
			slot.rx += bucket.bytes_rx;
			slot.tx += bucket.bytes_tx;
		}
		return this.gaps(slots, history.gaps);
	},

	/* The days of a summary. Its "from" is midnight in the router's zone. */
	days(summary) {
		const [ y, m, d ] = summary.from.slice(0, 10).split('-').map(Number), from = wall(summary.from), slots = [];
		const totals = new Map(summary.daily_totals.map(t => [ t.date, t ]));
		for (let i = 0; i < summary.period_days; i++) {
			const day = new Date(Date.UTC(y, m - 1, d + i)), total = totals.get(day.toISOString().slice(0, 10));
			slots.push({
				at: from + i * 86400000, end: from + (i + 1) * 86400000,
				label: day.toLocaleDateString([], { timeZone: 'UTC', day: 'numeric', month: 'numeric' }),
				name: day.toLocaleDateString([], { timeZone: 'UTC', weekday: 'short', day: 'numeric', month: 'short' }),
				rx: total ? total.bytes_rx : 0, tx: total ? total.bytes_tx : 0
			});
		}
		return this.gaps(slots, summary.gaps);
	},

	gaps(slots, gaps) {
		for (const gap of gaps || []) {
			const from = wall(gap.from), to = Math.max(wall(gap.to), from + 1);
			for (const slot of slots)
				slot.gap = slot.gap || from < slot.end && to > slot.at;
		}
		return slots;
	}
});
